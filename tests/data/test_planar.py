"""Frames as planes: known colours, agreement with the default reader, batches of unequal sizes, and a short training."""

from pathlib import Path

import made_training
import numpy as np
import pytest
import torch
import yaml
from made_clips import FPS, write_clips

from worldmodel.data.batch_reader import BatchReader
from worldmodel.data.loader import DataConfig, WindowDataset, read_fixed_batch, training_batches
from worldmodel.data.planar.convert import _area_weights, _bilinear_weights, _weights, rgb_of_planes
from worldmodel.data.window_config import WindowConfig
from worldmodel.manifest import Clip, Manifest, write_manifest
from worldmodel.video import read_frames, write_video
from worldmodel.video.planes import FrameLayout, planes_bytes
from worldmodel.video.read import read_planes

SIDE = 32


def uniform(y: int, u: int, v: int, layout: FrameLayout) -> list[int]:
    """The colour of a frame of one value."""
    chroma = layout.chroma_px[0] * layout.chroma_px[1]
    planes = torch.tensor([[y] * (layout.height * layout.width) + [u] * chroma + [v] * chroma], dtype=torch.uint8)
    rgb = rgb_of_planes(planes, layout, (layout.height, layout.width))
    assert rgb.shape == (1, layout.height, layout.width, 3)
    assert (rgb == rgb[:, :1, :1]).all()
    return rgb[0, 0, 0].tolist()


def test_colours_are_those_of_the_standards():
    """ITU-R BT.601 and BT.709: black, white, red and blue, in limited and full range."""
    bt601, bt709 = FrameLayout(3, 5, "bt601"), FrameLayout(4, 6, "bt709")
    assert uniform(16, 128, 128, bt601) == [0, 0, 0]
    assert uniform(235, 128, 128, bt601) == [255, 255, 255]
    assert uniform(81, 90, 240, bt601) == pytest.approx([255, 0, 0], abs=2)
    assert uniform(63, 102, 240, bt709) == pytest.approx([255, 0, 0], abs=2)
    assert uniform(41, 240, 110, bt601) == pytest.approx([0, 0, 255], abs=2)
    assert uniform(76, 85, 255, FrameLayout(2, 2, "bt601", full_range=True)) == pytest.approx([254, 0, 0], abs=2)
    assert uniform(255, 128, 128, FrameLayout(2, 2, "bt601", full_range=True)) == [255, 255, 255]


def test_weights_of_a_resize_by_hand():
    assert np.allclose(_area_weights(3, 2), [[2 / 3, 1 / 3, 0], [0, 1 / 3, 2 / 3]])
    assert np.allclose(_bilinear_weights(2, 4), [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])
    chroma = _weights(5, 3, 5, True, torch.device("cpu"))  # each sample stands for two pixels, the last one for one
    assert chroma.tolist() == [[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1]]
    assert _weights(7, 7, 7, True, torch.device("cpu")) is None


def smooth(count: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Frames of slow waves of colour, uint8 [count, height, width, 3]."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    phase = seed + np.arange(count)[:, None, None, None] / 10
    waves = np.sin(2 * np.pi * (np.stack([x + y, x - y, 2 * y], -1)[None] + phase))
    return (128 + 100 * waves).astype(np.uint8)


@pytest.mark.parametrize("stored", [(64, 96), (32, 32), (36, 40), (20, 24)], ids=["halved", "equal", "shrunk", "enlarged"])
def test_planes_give_the_frames_of_the_default_reader_on_a_smooth_picture(tmp_path: Path, stored):
    path = tmp_path / "a.mp4"
    write_video(path, smooth(8, *stored), FPS)
    out = np.zeros(8 * planes_bytes(*stored), np.uint8)
    layout = read_planes(path, out, indices=range(8))
    assert layout == FrameLayout(*stored, "bt601")
    expected = read_frames(path, indices=range(8), size=(SIDE, SIDE)).astype(int)
    found = rgb_of_planes(torch.from_numpy(out).view(8, -1), layout, (SIDE, SIDE)).numpy().astype(int)
    assert np.abs(found - expected).max() <= 2
    assert np.abs(found - expected).mean() < 1


def test_frames_that_are_not_plain_come_as_rgb(tmp_path: Path, numbered, make_video):
    """Turned, lossless RGB, or more bytes than there is room for."""
    turned = make_video(tmp_path / "turned.mp4", numbered(8), rotation=90)
    write_video(tmp_path / "rgb.mp4", numbered(8), FPS, lossless=True)
    plain = make_video(tmp_path / "plain.mp4", numbered(8))
    for path, room in ((turned, 1 << 20), (tmp_path / "rgb.mp4", 1 << 20), (plain, 100)):
        out = np.zeros(room, np.uint8)
        found = read_planes(path, out, indices=[2, 5], size=24)
        assert np.array_equal(found, read_frames(path, indices=[2, 5], size=24))
        assert not out.any()


SIZES = ((48, 64), (64, 40), (32, 32), (96, 96))


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """The manifest of eight videos of four sizes; the last two are lossless RGB."""
    clips = []
    for number in range(8):
        height, width = SIZES[number % 4]
        name = f"{number}.mp4"
        write_video(tmp_path / name, smooth(12, height, width, number), FPS, lossless=number >= 6)
        size = (FPS, 12, width, height, 0, "h264")
        split = "val" if number in (0, 6) else "train"
        clips.append(Clip(str(number), name, None, 0.0, 1.2, *size, split, None, None, "test", str(number), "packets"))
    write_manifest(tmp_path / "m.parquet", clips, command="test", config={})
    return tmp_path / "m.parquet"


def windows_of(manifest: Path, pixel_format: str, split: str = "train", **config: object) -> WindowDataset:
    data = DataConfig(manifest=str(manifest), batch_size=6, pixel_format=pixel_format, **{"workers": 0, **config})
    return WindowDataset(data, WindowConfig(frames=6, fps=FPS, size_px=SIDE), split, 0, SIDE)


def test_a_batch_of_unequal_sizes_has_the_windows_of_the_default(mixed: Path):
    """The same order, augmentation and crops; frames differ by rounding. Workers change nothing."""
    default = [batch for (batch,) in training_batches(windows_of(mixed, "rgb24"), 0, 3)]
    planar = [batch for (batch,) in training_batches(windows_of(mixed, "yuv420p"), 0, 3)]
    with BatchReader(1) as reader:
        by_worker = [batch for (batch,) in training_batches(windows_of(mixed, "yuv420p"), 0, 3, reader=reader)]
    cpu = torch.device("cpu")
    for expected, batch, other in zip(default, planar, by_worker, strict=True):
        found = batch.to(cpu)
        assert found.planes is None
        assert found.frames.shape == (6, 6, SIDE, SIDE, 3)
        assert torch.equal(found.ids, expected.ids)
        assert torch.equal(found.uniforms, expected.uniforms)
        assert (found.frames.int() - expected.frames.int()).abs().max() <= 3
        assert torch.equal(other.to(cpu).frames, found.frames)
    assert {layout.matrix for batch in planar for layout in batch.planes.layouts} == {"bt601", None}


def test_held_out_windows_are_rgb_frames(mixed: Path):
    found, expected = (read_fixed_batch(windows_of(mixed, kind, "val"), 4).frames for kind in ("yuv420p", "rgb24"))
    assert (found.int() - expected.int()).abs().max() <= 3


def test_a_replacement_that_does_not_fit_comes_as_rgb(tmp_path: Path):
    """The only readable video is larger than those that the manifest promises for the others."""
    manifest = Manifest.open(write_clips(tmp_path, 4))
    write_video(tmp_path / "clips" / "large.mp4", smooth(12, 128, 128), FPS)
    size = {"path": "clips/large.mp4", "width": 128, "height": 128, "clip_id": "large", "content_hash": "large"}
    clips = [manifest.clip(number) for number in range(4)]
    clips.append(Clip(**{**clips[0].__dict__, **size}))
    write_manifest(tmp_path / "m2.parquet", clips, command="test", config={})
    for number in range(4):
        (tmp_path / "clips" / f"{number:03d}.mp4").write_bytes(b"damaged")
    (batch,) = next(training_batches(windows_of(tmp_path / "m2.parquet", "yuv420p", max_failed_fraction=1.0), 0, 1))
    assert batch.bad
    assert batch.to(torch.device("cpu")).frames.shape == (6, 6, SIDE, SIDE, 3)


def test_decord_is_refused():
    with pytest.raises(ValueError, match="pixel_format yuv420p needs backend pyav"):
        DataConfig(manifest="m.parquet", pixel_format="yuv420p", backend="decord")


def test_a_training_with_planes_records_them(mixed: Path, tmp_path: Path):
    recipe = {
        **made_training.RECIPE,
        "data": {"manifest": str(mixed), "batch_size": 4, "workers": 1, "pixel_format": "yuv420p"},
    }
    recipe["model"] = {name: value for name, value in recipe["model"].items() if name != "condition"}
    recipe["model"]["rollout_steps"] = 0
    recipe["train"] = {"max_steps": 2, "log_every": 1}
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(recipe))
    run = tmp_path / "run"
    assert made_training.run_training(path, f"run={run}") == 0
    assert [step for step, *_ in made_training.losses(run)] == [1, 2]
    recorded = yaml.safe_load((run / "recipe.yaml").read_text())
    assert recorded["data"]["pixel_format"] == "yuv420p"
