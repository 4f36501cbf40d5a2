"""A damaged frame is never returned, nor is a frame that was predicted from it."""

from __future__ import annotations

import av
import numpy as np
import pytest
from av.video.frame import PictureType

from data_prep.transcoding.encode import TranscodeConfig, transcode_video
from worldmodel.video import VideoError, read_frames

COUNT, FPS, GOP = 60, 25, 20
HIT = 26  # a frame in the second group of pictures (20 to 39)


def noisy(numbered) -> np.ndarray:
    """Numbered frames with noise, so that every frame takes many bytes."""
    frames = numbered(COUNT, 96, 128)
    noise = np.random.default_rng(0).integers(0, 60, frames[:, 48:].shape, dtype=np.uint8)
    frames[:, 48:] = noise
    return frames


@pytest.fixture
def damaged(tmp_path, numbered, make_video):
    """(ending, codec, B frames, which frame) -> a video in which the packet of that frame was overwritten in part."""

    def make(ending: str, codec: str, b_frames: int, hit: int = HIT):
        options = {"x264-params": "b-adapt=0:scenecut=0:keyint=20:min-keyint=20"} if codec == "libx264" else {"q:v": 4}
        path = make_video(tmp_path / f"a.{ending}", noisy(numbered), FPS, codec, g=GOP, bf=b_frames, **options)
        with av.open(str(path)) as file:
            packets = [packet for packet in file.demux(video=0) if packet.size]
            shown = np.argsort([packet.pts for packet in packets], kind="stable")
            offset, size = packets[shown[hit]].pos, packets[shown[hit]].size
            kind = [not packet.is_keyframe and not packet.is_disposable for packet in packets]
            assert kind[shown[hit]]
        data = bytearray(path.read_bytes())
        data[offset + size // 3 : offset + size // 2] = bytes(
            np.random.default_rng(1).integers(0, 256, size // 2 - size // 3).tolist()
        )
        path.write_bytes(data)
        return path

    return make


def frame_or_none(path, number: int, number_of, **options) -> int | None:
    """The number that a frame carries, None where it is refused as corrupt."""
    try:
        return number_of(read_frames(path, indices=[number], **options)[0])
    except VideoError as error:
        if error.reason != "corrupt":
            raise
        return None


@pytest.mark.parametrize(("ending", "codec", "b_frames"), [("mp4", "libx264", 0), ("mkv", "libx264", 2), ("mp4", "mpeg4", 0)])
def test_frames_up_to_the_next_keyframe_are_refused_and_all_others_returned(damaged, number_of, ending, codec, b_frames):
    path = damaged(ending, codec, b_frames)
    for number in range(COUNT):
        given = frame_or_none(path, number, number_of) == number
        if number >= 40 or number <= 20:
            assert given, f"frame {number} does not depend on frame {HIT}"
        if HIT <= number < 40:
            assert not given, f"frame {number} was predicted from frame {HIT}"


def test_a_window_that_depends_on_a_damaged_frame_outside_it_is_refused(damaged):
    path = damaged("mp4", "libx264", 0)
    with pytest.raises(VideoError, match="predicted from a damaged one"):
        read_frames(path, indices=range(30, 38))
    with pytest.raises(VideoError, match="predicted from a damaged one"):
        read_frames(path, times_s=np.arange(30, 38) / FPS)
    read_frames(path, indices=range(40, 60))


def test_b_frames_shown_before_the_damaged_frame_may_be_predicted_from_it(damaged):
    path = damaged("mkv", "libx264", 2, hit=26)
    with av.open(str(path)) as file:
        types = [frame.pict_type for frame in file.decode(video=0)]
    last_before = max(number for number in range(26) if types[number] != PictureType.B)
    assert last_before < 25
    for number in range(last_before + 1, 26):
        with pytest.raises(VideoError):
            read_frames(path, indices=[number])


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_files_read_in_order_are_checked_as_well(damaged, number_of, codec):
    path = damaged("avi", codec, 0)
    given = [frame_or_none(path, number, number_of, timing="order") for number in range(0, COUNT, 3)]
    assert given == [number if number < HIT or number >= 40 else None for number in range(0, COUNT, 3)]


def test_a_damaged_video_is_not_copied(tmp_path, damaged):
    with pytest.raises(VideoError, match="damaged"):
        transcode_video(str(damaged("mp4", "libx264", 0)), None, tmp_path / "copy.mp4", TranscodeConfig(96, None, 12))
    assert not (tmp_path / "copy.mp4").exists()
