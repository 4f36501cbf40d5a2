"""Files keep the permissions that the user's umask gives, so that a group can read what its members trained."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_all_files_of_training_and_rollout_have_the_permissions_of_the_umask(trainer, tmp_path: Path):
    run = tmp_path / "run"
    before = os.umask(0o002)  # the children inherit it
    try:
        done = trainer(run, "train.max_steps=4", "decoder.max_steps=2")
        assert done.returncode == 0, done.stderr
        command = [sys.executable, "-m", "worldmodel.rollout", str(run), "--count", "1", "--device", "cpu"]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=240)
        assert shown.returncode == 0, shown.stderr
    finally:
        os.umask(before)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [run, *run.rglob("*")]}
    assert {run / "recipe.yaml", run / "rollouts" / "gallery.html"} < modes.keys()
    assert any(path.name.startswith("decoder-") for path in modes)
    expected = {path: 0o775 if path.is_dir() else 0o664 for path in modes}
    wrong = {str(path.relative_to(run)): oct(mode) for path, mode in modes.items() if mode != expected[path]}
    assert wrong == {}
    assert [path.name for path in modes if path.name.endswith(".part") or path.name.startswith(".tmp")] == []
