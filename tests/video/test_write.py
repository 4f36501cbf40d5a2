"""write_video writes the given frames, atomically."""

from fractions import Fraction

import av
import numpy as np
import pytest

from worldmodel.video import inspect_video, read_frames, write_video


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)


@pytest.mark.parametrize("size", [(48, 64), (33, 47)])
def test_lossless_means_equal_after_decoding_by_both_backends(tmp_path, size):
    frames = noise(30, *size)
    write_video(tmp_path / "a.mp4", frames, 12, lossless=True)
    np.testing.assert_array_equal(read_frames(tmp_path / "a.mp4", indices=range(30)), frames)
    pytest.importorskip("decord")
    np.testing.assert_array_equal(read_frames(tmp_path / "a.mp4", indices=range(30), backend="decord"), frames)


def test_mp4_plays_everywhere_and_odd_sizes_repeat_their_edge(tmp_path, numbered):
    frames = numbered(20, 45, 61)
    write_video(tmp_path / "a.mp4", frames, 29.97)
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate == Fraction(30000, 1001)
    back = read_frames(tmp_path / "a.mp4", indices=range(20))
    assert back.shape == (20, 46, 62, 3)
    assert np.abs(back[:, :45, :61].astype(int) - frames).mean() < 4
    assert np.abs(back[:, 45].astype(int) - back[:, 44]).mean() < 8


@pytest.mark.parametrize(
    ("fps", "rate"),
    [
        *((whole, whole) for whole in (1, 4, 5, 12, 24, 30)),
        (0.001, Fraction(1, 1000)),
        (0.5, Fraction(1, 2)),
        (7.5, Fraction(15, 2)),
        (23.976, Fraction(24000, 1001)),
        (29.97, Fraction(30000, 1001)),
        (30000 / 1001, Fraction(30000, 1001)),
    ],
)
def test_the_rate_of_a_file_is_the_rate_that_was_given(tmp_path, fps, rate):
    """Only rates of cameras are taken for NTSC: a video at 5 fps that is written at 4.995 loses a frame every 200 s."""
    write_video(tmp_path / "a.mp4", np.zeros((3, 16, 16, 3), np.uint8), fps, lossless=True)
    with av.open(str(tmp_path / "a.mp4")) as file:
        times = [packet.pts * packet.time_base for packet in file.demux(video=0) if packet.size]
    assert times == pytest.approx([0, 1 / rate, 2 / rate], rel=1e-6)


def test_gif_keeps_frames_and_times(tmp_path, numbered, number_of):
    write_video(tmp_path / "a.gif", numbered(24), 12)
    assert inspect_video(tmp_path / "a.gif").frames == 24
    assert inspect_video(tmp_path / "a.gif").duration_s == pytest.approx(2.0, abs=0.02)
    back = read_frames(tmp_path / "a.gif", times_s=np.arange(24) / 12)
    assert [number_of(frame) for frame in back] == list(range(24))


def test_a_failed_write_leaves_what_was_there_and_nothing_else(tmp_path, numbered, monkeypatch):
    path = tmp_path / "a.mp4"
    write_video(path, numbered(5), 10)
    before = path.read_bytes()

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_video(path, numbered(9), 10)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize(
    ("name", "frames", "fps"),
    [
        ("a.mp4", np.zeros((3, 8, 8, 3), np.float32), 10),
        ("a.mp4", np.zeros((0, 8, 8, 3), np.uint8), 10),
        ("a.mp4", np.zeros((3, 8, 8), np.uint8), 10),
        ("a.mp4", np.zeros((3, 8, 8, 3), np.uint8), 0),
        ("a.webm", np.zeros((3, 8, 8, 3), np.uint8), 10),
    ],
)
def test_arrays_and_names_that_are_no_video_are_refused(tmp_path, name, frames, fps):
    with pytest.raises(ValueError, match="write_video"):
        write_video(tmp_path / name, frames, fps)
    assert not list(tmp_path.iterdir())
