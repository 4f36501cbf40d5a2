"""Stored targets are those that were computed, are read for the same pixels only, and change no loss."""

import errno
import shutil
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from worldmodel.config import ConfigError, parse_config
from worldmodel.recipe import Recipe
from worldmodel.training.target_cache import TargetCache

MODEL = (
    "model={kind: masked, encoder: {patch_px: 8, tubelet_size: 2, width: 24, depth: 1, heads: 2}, "
    "predictor: {width: 24, depth: 1, heads: 2}, masks: [{blocks: 2, area: 0.3}], target: {kind: ema}}"
)
OF_A_VIDEO = "window.frames=14"  # as long as a video of the tests
PLAIN = "augment={crop_area_min: 1, crop_aspect_max: 1, hflip_prob: 0.5}"


class Teacher:
    """Doubles what it sees, and counts windows."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype, self.windows = dtype, 0

    def __call__(self, frames: torch.Tensor) -> torch.Tensor:
        self.windows += len(frames)
        return (2 * frames).to(self.dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_only_windows_with_new_pixels_are_computed(tmp_path: Path, dtype: torch.dtype):
    teacher, cache = Teacher(dtype), TargetCache(tmp_path)
    frames = torch.randn(4, 2, 3, 8, 8)
    expected = (2 * frames).to(dtype)
    assert torch.equal(cache(frames[:3], teacher), expected[:3])
    assert torch.equal(cache(frames, teacher), expected)
    assert teacher.windows == 4
    again = TargetCache(tmp_path)  # of another run
    assert len(again) == 4
    assert torch.equal(again(frames.flip(0), teacher), expected.flip(0))
    assert (teacher.windows, again.found, again.computed) == (4, 4, 0)
    frames[2, 1, 0, 5, 5] += 1e-6
    assert not torch.equal(again(frames, teacher)[2], expected[2]) or dtype == torch.bfloat16
    assert teacher.windows == 5


def test_a_damaged_file_is_named(tmp_path: Path):
    TargetCache(tmp_path)(torch.randn(2, 2, 3, 8, 8), Teacher(torch.float32))
    (file,) = tmp_path.glob("*.npy")
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(ConfigError, match=f"{file.name} is damaged .* remove it"):
        TargetCache(tmp_path)


def test_a_file_that_cannot_be_read_is_not_called_damaged_and_the_field_is_named(tmp_path: Path):
    (tmp_path / "folder.npy").mkdir()
    with pytest.raises(ConfigError, match=r"model\.frozen_encoder\.cache: .*folder\.npy cannot be read"):
        TargetCache(tmp_path, field="model.frozen_encoder.cache")


def test_no_file_stays_open(tmp_path: Path):
    teacher, cache = Teacher(torch.float32), TargetCache(tmp_path)
    before, batches = psutil.Process().num_fds(), torch.arange(20 * 2 * 3.0).view(20, 2, 3)
    for frames in batches:
        cache(frames, teacher)
    again = TargetCache(tmp_path)
    assert torch.equal(again(batches.flatten(0, 1), teacher), 2 * batches.flatten(0, 1))
    assert (again.computed, teacher.windows, len(list(tmp_path.iterdir()))) == (0, 40, 20)
    assert psutil.Process().num_fds() <= before


def test_targets_that_were_removed_meanwhile_are_computed_again(tmp_path: Path):
    teacher, cache, frames = Teacher(torch.float32), TargetCache(tmp_path / "cache"), torch.randn(4, 3)
    cache(frames[:2], teacher)
    cache(frames[2:], teacher)
    shutil.rmtree(tmp_path / "cache")
    for count in (8, 8):  # stored again
        assert torch.equal(cache(frames, teacher), 2 * frames)
        assert teacher.windows == count


def test_the_limit_is_of_all_processes_of_a_run(tmp_path: Path):
    """A target has 100 numbers and a key of 32 bytes. There is place for 10 of them, one is there, and 4 processes share 9."""

    def compute(frames: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(frames), 100)

    limit, frames = 10 * 432, torch.arange(100.0).view(4, 25, 1)
    TargetCache(tmp_path)(torch.full((1, 1), -1.0), compute)
    for cache, own in zip([TargetCache(tmp_path, limit, processes=4) for _ in frames], frames, strict=True):
        for window in own:
            cache(window[None], compute)
        assert len(cache) == 1 + 2
    assert len(TargetCache(tmp_path)) == 9


def test_a_full_disk_gives_one_warning_and_the_targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    attempts = []

    def save(*_: object, **__: object) -> None:
        attempts.append(1)
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(np, "save", save)
    cache, frames = TargetCache(tmp_path), torch.randn(2, 3)
    for _ in range(3):
        assert torch.equal(cache(frames, Teacher(torch.float32)), 2 * frames)
    assert (len(attempts), len(cache), list(tmp_path.iterdir())) == (1, 0, [])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: model.target.cache: ")
    assert "cannot be written" in line


def test_training_with_stored_targets_has_the_losses_of_training_without(trainer, read_rows, tmp_path: Path):
    short = (MODEL, OF_A_VIDEO, PLAIN, "objectives={forecast: {kind: forecast, distance: l1}}", "train.max_steps=6")
    assert trainer(tmp_path / "teacher", *short, "checkpoint.every=5").returncode == 0
    cache, found = tmp_path / "cache", []
    for name, folder in (("without", None), ("first", cache), ("second", cache)):
        target = f"model.target={{kind: frozen, run: {tmp_path / 'teacher'}{f', cache: {folder}' if folder else ''}}}"
        done = trainer(tmp_path / name, *short, target, "seed=1")
        assert done.returncode == 0, done.stderr
        found.append([row["loss"] for row in read_rows(tmp_path / name)])
    assert "targets of 0 windows" not in done.stdout
    assert "windows are stored in" in done.stdout
    assert found[1] == pytest.approx(found[0], rel=1e-6)
    assert found[2] == pytest.approx(found[0], rel=1e-6)

    done = trainer(tmp_path / "random", *short, target, "window.frames=12")
    assert done.returncode != 0
    assert "model.target.cache: 100% of the clips are longer than a window" in done.stderr


def test_a_cache_with_random_crops_is_refused():
    model = {"kind": "masked", "target": {"kind": "frozen", "run": "runs/teacher", "cache": "cache"}}
    fields = {"model": model, "objectives": {"forecast": {"kind": "forecast", "distance": "l1"}}}
    with pytest.raises(ConfigError, match="stored targets would never be read"):
        parse_config(Recipe, fields, "x.yaml")
