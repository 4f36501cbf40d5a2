"""Frames are returned as shown: mirrored, turned, and with square pixels."""

import shutil
import struct
import subprocess
from fractions import Fraction

import av
import numpy as np
import pytest

from data_prep.transcoding.encode import TranscodeConfig, transcode_video
from worldmodel.video import VideoError, inspect_video, read_frames
from worldmodel.video.orientation import Orientation, usable_aspect
from worldmodel.video.resize import FrameConverter

# By name: (a, b, c, d) of a display matrix, which shows a stored point (x, y) at (a x + c y, b x + d y); what that does to a
# stored picture; the turn that is reported.
MATRICES = {
    "as stored": ((1, 0, 0, 1), lambda stored: stored, 0),
    "mirrored": ((-1, 0, 0, 1), np.fliplr, 0),
    "upside down, mirrored": ((1, 0, 0, -1), np.flipud, 180),
    "turned by 180": ((-1, 0, 0, -1), lambda stored: np.rot90(stored, 2), 180),
    "turned by 90": ((0, 1, -1, 0), lambda stored: np.rot90(stored, -1), 90),
    "turned by 270": ((0, -1, 1, 0), lambda stored: np.rot90(stored, 1), 270),
    "transposed": ((0, 1, 1, 0), lambda stored: stored.transpose(1, 0, 2), 270),
    "transposed the other way": ((0, -1, -1, 0), lambda stored: stored[::-1, ::-1].transpose(1, 0, 2), 90),
}


def with_matrix(path, matrix):
    """Write a display matrix into the track header of an MP4."""
    data = path.read_bytes()
    at = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in matrix)
    path.write_bytes(data[:at] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + data[at + 36 :])
    return path


def with_container_aspect(path, across, down):
    """Rewrite the pixel aspect that an MP4 states beside that of its codec."""
    data = path.read_bytes()
    at = data.index(b"pasp") + 4
    path.write_bytes(data[:at] + struct.pack(">2I", across, down) + data[at + 8 :])
    return path


def write(path, frames, aspect=None, lossless=True):
    """H.264 with a pixel aspect."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264rgb" if lossless else "libx264", rate=10, options={"qp": "0"} if lossless else {})
        stream.pix_fmt, (stream.height, stream.width) = "rgb24" if lossless else "yuv420p", frames.shape[1:3]
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        for image in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        out.mux(stream.encode(None))
    return path


def disc(height, width, aspect, radius):
    """A frame whose white ellipse is a circle where pixels are `aspect` times as wide as high."""
    y, x = np.mgrid[:height, :width]
    inside = ((x + 0.5 - width / 2) * float(aspect)) ** 2 + (y + 0.5 - height / 2) ** 2 < radius**2
    return np.repeat((255 * inside)[..., None], 3, -1).astype(np.uint8)


def roundness(image):
    """Width of the bright part divided by its height."""
    bright = image[..., 0] > 128
    return bright.any(0).sum() / bright.any(1).sum()


@pytest.mark.parametrize("name", MATRICES)
def test_a_display_matrix_is_followed_with_its_mirror(tmp_path, numbered, name):
    matrix, shows, turn_deg = MATRICES[name]
    stored = numbered(4)
    path = with_matrix(write(tmp_path / "a.mp4", stored), matrix)
    np.testing.assert_array_equal(read_frames(path, indices=range(4)), [shows(image) for image in stored])
    height, width = shows(stored[0]).shape[:2]
    info = inspect_video(path)
    assert (info.height, info.width, info.rotation) == (height, width, turn_deg)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg here to compare with")
@pytest.mark.parametrize("name", MATRICES)
def test_a_display_matrix_is_followed_as_ffmpeg_does(tmp_path, numbered, name):
    path = with_matrix(write(tmp_path / "a.mp4", numbered(2)), MATRICES[name][0])
    command = ["ffmpeg", "-v", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    shown = np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, np.uint8)
    np.testing.assert_array_equal(read_frames(path, indices=[0, 1]).ravel(), shown)


def test_resized_frames_and_copies_are_mirrored_as_well(tmp_path, numbered):
    stored = numbered(12)
    path = with_matrix(write(tmp_path / "a.mp4", stored), MATRICES["transposed"][0])
    plain = write(tmp_path / "plain.mp4", stored.transpose(0, 2, 1, 3))
    sized = (read_frames(file, indices=[3], size=24).astype(int) for file in (path, plain))
    assert abs(np.subtract(*sized)).mean() < 2
    transcode_video(str(path), None, tmp_path / "copy.mp4", TranscodeConfig(short_side_px=48, max_fps=None, gop=12))
    copied = read_frames(tmp_path / "copy.mp4", indices=[3])[0].astype(int)
    assert abs(copied - stored[3].transpose(1, 0, 2)).mean() < 12


@pytest.mark.parametrize(
    ("orientation", "stored", "shown"),
    [
        (Orientation(pixel_aspect=Fraction(64, 45)), (576, 720), (576, 1024)),  # PAL DV, 16:9
        (Orientation(pixel_aspect=Fraction(16, 15)), (576, 720), (576, 768)),
        (Orientation(pixel_aspect=Fraction(8, 9)), (480, 720), (480, 640)),
        (Orientation(pixel_aspect=Fraction(40, 33)), (480, 720), (480, 873)),  # 872.7
        (Orientation(90, pixel_aspect=Fraction(64, 45)), (576, 720), (720, 405)),  # the long side of a pixel now is its height
        (Orientation(180, pixel_aspect=Fraction(4, 3)), (1080, 1440), (1080, 1920)),
        (Orientation(270), (48, 64), (64, 48)),
    ],
)
def test_the_shown_size_worked_by_hand(orientation, stored, shown):
    assert orientation.shown_size(*stored) == shown


@pytest.mark.parametrize(
    ("stated", "used"),
    [(None, 1), (0, 1), ("1/11", 1), (11, 1), ("1280/1281", 1), ("64/45", "64/45"), ("8/9", "8/9"), (10, 10), ("1/10", "1/10")],
)
def test_absurd_pixel_aspects_and_rounding_errors_are_ignored(stated, used):
    assert usable_aspect(None if stated is None else Fraction(stated)) == Fraction(used)


@pytest.mark.parametrize("aspect", [Fraction(64, 45), Fraction(8, 9), Fraction(1, 2)])
def test_a_circle_is_round_at_every_size_and_in_the_copy(tmp_path, aspect):
    path = write(tmp_path / "a.mp4", np.stack([disc(144, 180, aspect, 40)] * 12), aspect)
    shown = (144, round(180 * aspect))
    info = inspect_video(path)
    assert (info.height, info.width) == shown
    for size, expected in [(None, shown), (72, None), (shown, shown)]:
        image = read_frames(path, indices=[3], size=size)[0]
        assert expected is None or image.shape[:2] == expected
        assert min(image.shape[:2]) == (size if isinstance(size, int) else min(shown))
        assert roundness(image) == pytest.approx(1, abs=0.04)
    transcode_video(str(path), None, tmp_path / "copy.mp4", TranscodeConfig(short_side_px=80, max_fps=None, gop=12))
    copy = inspect_video(tmp_path / "copy.mp4")
    assert copy.width / copy.height == pytest.approx(shown[1] / shown[0], abs=0.03)
    assert roundness(read_frames(tmp_path / "copy.mp4", indices=[3])[0]) == pytest.approx(1, abs=0.05)


def test_a_circle_is_round_in_a_video_that_is_also_turned_and_mirrored(tmp_path):
    aspect = Fraction(64, 45)
    for name in ("turned by 90", "transposed"):
        path = with_matrix(write(tmp_path / "a.mp4", np.stack([disc(144, 180, aspect, 40)] * 2), aspect), MATRICES[name][0])
        for size in (None, 100):
            assert roundness(read_frames(path, indices=[1], size=size)[0]) == pytest.approx(1, abs=0.03)
        assert (inspect_video(path).height, inspect_video(path).width) == (180, 101)  # 144 * 45 / 64 = 101.25


def test_the_pixel_aspect_of_the_container_takes_precedence_over_the_codec(tmp_path, numbered):
    path = write(tmp_path / "a.mp4", numbered(2), Fraction(64, 45))
    assert inspect_video(path).width == 91  # 64 * 64 / 45 = 91.02
    assert inspect_video(with_container_aspect(path, 2, 1)).width == 128
    assert inspect_video(with_container_aspect(path, 100, 1)).width == 64  # absurd


def test_square_pixels_are_not_resampled(tmp_path, numbered):
    frames = numbered(3)
    np.testing.assert_array_equal(read_frames(write(tmp_path / "a.mp4", frames, Fraction(1)), indices=range(3)), frames)


@pytest.mark.parametrize("size", [None, 30, (40, 50)])
@pytest.mark.parametrize("name", ["as stored", "turned by 180"])
def test_decord_gives_the_same_frames_of_non_square_pixels(tmp_path, numbered, name, size):
    pytest.importorskip("decord")
    path = write(tmp_path / "a.mp4", numbered(4), Fraction(64, 45), lossless=False)
    with_matrix(path, MATRICES[name][0])
    ours, theirs = (read_frames(path, indices=[0, 3], size=size, backend=backend) for backend in ("pyav", "decord"))
    assert ours.shape == theirs.shape
    assert abs(ours.astype(int) - theirs).max() <= (0 if name == "as stored" else 12)  # another order of turning and resizing


@pytest.mark.parametrize("name", [name for name, (m, _, _) in MATRICES.items() if m[0] * m[3] - m[1] * m[2] < 0])
def test_decord_refuses_mirrored_videos(tmp_path, numbered, name):
    pytest.importorskip("decord")
    path = with_matrix(write(tmp_path / "a.mp4", numbered(2), lossless=False), MATRICES[name][0])
    with pytest.raises(VideoError, match=r'mirrored; use backend="pyav"'):
        read_frames(path, indices=[0], backend="decord")


def test_decord_refuses_videos_that_it_cannot_turn(tmp_path, numbered):
    pytest.importorskip("decord")
    path = with_matrix(write(tmp_path / "a.mp4", numbered(2), lossless=False), MATRICES["turned by 90"][0])
    with pytest.raises(VideoError, match=r'rotated videos.*use backend="pyav"'):
        read_frames(path, indices=[0], backend="decord")


def test_frames_whose_orientation_changes_midway_get_the_size_of_the_first(numbered):
    converter, frame = FrameConverter(None), av.VideoFrame.from_ndarray(numbered(1)[0], format="rgb24")
    orientations = (Orientation(), Orientation(90), Orientation(180, mirrored=True), Orientation(pixel_aspect=Fraction(2)))
    assert {converter.convert(frame, orientation).shape for orientation in orientations} == {(48, 64, 3)}
