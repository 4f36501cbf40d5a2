"""The benchmarks of reading and transcoding: all contenders do the same work."""

import shutil

import numpy as np
import pytest

from benchmarks import loader, transcode
from benchmarks.loader_contenders import Source, contenders_of
from worldmodel.video import inspect_video
from worldmodel.video.planes import FrameLayout


@pytest.fixture
def clip(tmp_path, numbered, make_video):
    return make_video(tmp_path / "a.mp4", numbered(80), fps=30, g=24, bf=3)


def test_all_contenders_read_the_same_frames(clip, number_of):
    source = Source(clip, inspect_video(clip), 48, 64, loader.make_index(clip, clip.parent))
    times_s = [(13 + 4 * k + 0.25) / 30 for k in range(16)]
    found = {name: read(times_s) for name, read in contenders_of(source).items()}
    assert {"ours", "ours, file read before", "PyAV", "decode only"} <= found.keys()
    decoded = found.pop("decode only")
    assert 16 <= decoded <= 74
    for name in ("ours, planes", "ours, planes, packet index"):
        assert found.pop(name) == FrameLayout(48, 64, "bt601")
    assert "ours, packet index" in found
    for name, frames in found.items():
        assert [number_of(frame) for frame in np.asarray(frames)] == list(range(13, 77, 4)), name


def test_a_clip_of_each_video_is_measured_and_the_floor_is_below(clip, tmp_path):
    result = loader.measure(clip, rounds=2, folder=tmp_path)
    assert loader.table({"a": result}).startswith("| video | ours, CPU ms |")
    assert result.cpu_s("decode only") < result.cpu_s("ours")


def test_copies_are_as_long_and_as_large_as_stated(clip, tmp_path, monkeypatch):
    monkeypatch.setattr(loader, "COPY_FRAMES", 100)
    loader.make_copy(clip, tmp_path / "copy.mp4", 96, 80)
    info = inspect_video(tmp_path / "copy.mp4")
    assert (info.frames, info.width, info.height, info.fps) == (100, 96, 80, 30)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the ffmpeg command line tool")
def test_both_transcoders_write_every_frame_at_the_same_size(clip, tmp_path, monkeypatch):
    monkeypatch.setattr(transcode, "SHORT_SIDE_PX", 32)
    transcode.ours(clip, tmp_path / "ours.mp4")
    transcode.ffmpeg(clip, tmp_path / "theirs.mp4", portrait=False)
    ours, theirs = (inspect_video(tmp_path / name) for name in ("ours.mp4", "theirs.mp4"))
    assert (ours.frames, ours.height, ours.width) == (theirs.frames, theirs.height, theirs.width) == (80, 32, 42)
