"""The soak test with a few training steps."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SOAK = [sys.executable, "-m", "benchmarks.soak"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="process groups and SIGKILL exist on Unix only")
def test_a_run_that_is_killed_twice_ends_with_the_weights_of_an_undisturbed_run(tmp_path: Path):
    command = [*SOAK, "--out", str(tmp_path / "soak"), "--steps", "60", "--kills", "2"]
    done = subprocess.run([*command, "--figure", str(tmp_path / "soak.png")], capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "soak" / "soak.json").read_text(encoding="utf-8"))
    assert (found["equal"], found["kills"], found["orphans"]) == (True, 2, 0)
    assert {entry["restarts"] for entry in found["samples"]["killed"]} <= {0, 1, 2}
    assert (tmp_path / "soak.png").stat().st_size > 0
