"""The script for the day when a GPU is at hand: all its parts run to their end, and one that fails stops no other."""

import json
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import gpu
from benchmarks.gpu import Part, parts_of, run_part
from benchmarks.gpu_parts import one_process

ROOT = Path(__file__).resolve().parents[2]


def fail() -> dict:
    raise ValueError("no kernel image")


def test_a_part_that_fails_ends_or_hangs_is_a_result():
    assert run_part(Part("a", 9, fail, {}), 9)["failed"] == "ValueError: no kernel image"
    assert "exit code 3" in run_part(Part("b", 9, os._exit, {"status": 3}), 9)["failed"]
    assert run_part(Part("d", 0.2, lambda: time.sleep(60) or {}, {}), 0.2)["failed"] == "it took longer than 0 s"


def test_a_recipe_is_compiled_as_in_its_own_training():
    """vit_l is compiled by block, because it is sharded; as a whole it would take minutes."""
    assert [one_process(name, miniature=False).train.parallel for name in ("vit_b", "vit_l")] == ["ddp", "fsdp2"]


@pytest.mark.slow
def test_all_parts_run_in_miniature_on_a_cpu(tmp_path: Path):
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--miniature", "--out", str(tmp_path / "gpu.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    parts = json.loads((tmp_path / "gpu.json").read_text())["parts"]
    assert list(parts) == [part.name for part in parts_of("cpu", miniature=True)]
    assert parts["losses vit_s"]["largest"] == 0
    assert parts["recipe vit_l"]["clips_per_s"] > 0
    assert parts["recipe vit_l"]["estimated_gb"] > 0
    assert "| recipe vjepa_vit_l |" in done.stdout


def test_an_estimate_that_takes_too_long_holds_nothing_up(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """The measurement itself is then made without it."""
    monkeypatch.setattr(gpu, "ESTIMATES_S", 0.01)
    before = set(multiprocessing.active_children())
    parts = [part for part in gpu.parts_of("cpu", miniature=True) if part.name == "recipe vit_b"]
    (part,) = gpu.with_estimates(parts)
    assert "expected" not in part.arguments
    assert "recipe vit_b: no estimate (it took longer than 0 s)" in capsys.readouterr().out
    assert set(multiprocessing.active_children()) <= before
