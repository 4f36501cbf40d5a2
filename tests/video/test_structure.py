"""Truncated files are recognised by their structure. Whole files are not called truncated because of their header."""

from __future__ import annotations

import av
import pytest

from worldmodel.video import VideoError, inspect_video
from worldmodel.video.container.structure import is_cut_off


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv", "webm", "avi"])
def test_a_whole_file_is_whole_and_any_shorter_one_is_cut_off(tmp_path, numbered, make_video, ending):
    codec = {"webm": "libvpx-vp9", "avi": "mpeg4"}.get(ending, "libx264")
    path = make_video(tmp_path / f"a.{ending}", numbered(20), codec=codec)
    data = path.read_bytes()
    with open(path, "rb", buffering=0) as file:
        assert is_cut_off(file) is False
    for fraction in (0.5, 0.97):
        path.write_bytes(data[: int(len(data) * fraction)])
        with open(path, "rb", buffering=0) as file:
            assert is_cut_off(file)


def test_a_large_file_is_checked_like_a_small_one(tmp_path, numbered):
    """Padding makes the file 70 MB: the result of the check must not change."""
    infos = []
    for padding in (0, 70 << 20):
        path = tmp_path / f"{padding}.mp4"
        with av.open(str(path), "w", options={"movflags": "faststart"}) as out:
            stream = out.add_stream("libx264", rate=25, options={"g": "10", "bf": "2"})
            stream.pix_fmt, stream.height, stream.width = "yuv420p", 48, 64
            for image in numbered(50):
                out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            out.mux(stream.encode(None))
        with open(path, "ab") as file:
            file.write((8 + padding).to_bytes(4, "big") + b"free")
            file.truncate(file.tell() + padding)
        infos.append(inspect_video(path))
    assert infos[0] == infos[1]


def test_a_file_that_lacks_only_the_index_behind_its_frames_is_usable(tmp_path, numbered, make_video):
    path = make_video(tmp_path / "a.avi", numbered(30), codec="mpeg4")
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(b"idx1")])
    assert inspect_video(path).frames == 30


@pytest.mark.parametrize("fraction", [0.4, 0.9])
def test_a_truncated_recording_of_unknown_length_is_never_usable(tmp_path, numbered, make_video, fraction):
    """An AVI whose header was never completed states no size. Its count of frames or its last frame shows that it is cut."""
    path = make_video(tmp_path / "a.avi", numbered(100), codec="mpeg4")
    data = bytearray(path.read_bytes())
    data[4:8] = bytes(4)
    path.write_bytes(data[: int(len(data) * fraction)])
    with pytest.raises(VideoError) as error:
        inspect_video(path)
    assert error.value.reason in ("truncated", "corrupt")
