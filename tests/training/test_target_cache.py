"""Stored targets are those that were computed, are read for the same pixels only, and change no loss."""

from pathlib import Path

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
