"""A rectangle of the frames is read as if it were a video of its own: no pixel from outside has any weight."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from worldmodel.video import read_frames
from worldmodel.video.crop_rectangle import CropRectangle
from worldmodel.video.geometry import read_square_frames, read_square_planes
from worldmodel.video.resize import Cover, Inside

LETTERBOX = CropRectangle(0, 7 / 60, 1, 53 / 60)
TIMES = [0.0, 0.35, 1.1]


@pytest.fixture
def video(tmp_path, make_video) -> Path:
    """Noise of 84 x 46 px with black borders of 7 rows above and below."""
    frames = np.random.default_rng(0).integers(0, 256, (12, 60, 84, 3), dtype=np.uint8)
    frames[:, :7], frames[:, 53:] = 0, 0
    return make_video(tmp_path / "a.mp4", frames, crf=10)


def as_folder(frames: np.ndarray, folder: Path) -> Path:
    folder.mkdir()
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{number:03d}.png")
    return folder


def test_the_pixels_of_the_rectangle_are_read(video):
    whole = read_frames(video, times_s=TIMES)
    np.testing.assert_array_equal(read_frames(video, times_s=TIMES, size=Inside(LETTERBOX, None)), whole[:, 7:53])


@pytest.mark.parametrize("size", [16, 64, (20, 30), Cover(24, 20)])
def test_resized_frames_are_those_of_a_video_of_the_rectangle_alone(video, tmp_path, size):
    alone = as_folder(read_frames(video, indices=range(12))[:, 7:53], tmp_path / "alone")
    expected = read_frames(alone, indices=[3, 11, 0], size=size)
    np.testing.assert_array_equal(read_frames(video, indices=[3, 11, 0], size=Inside(LETTERBOX, size)), expected)


@pytest.mark.parametrize("geometry", ["center_crop", "resize"])
def test_squares_are_cut_out_of_the_rectangle(video, tmp_path, geometry):
    alone = as_folder(read_frames(video, indices=range(12))[:, 7:53], tmp_path / "alone")
    expected = read_square_frames(alone, 24, geometry, indices=[5], position=0.9)
    found = read_square_frames(video, 24, geometry, indices=[5], position=0.9, rectangle=LETTERBOX)
    np.testing.assert_array_equal(found, expected)


def test_a_rectangle_of_a_turned_video_is_one_of_the_frame_as_shown(tmp_path, make_video, numbered):
    path = make_video(tmp_path / "turned.mp4", numbered(12), rotation=90)
    whole = read_frames(path, times_s=TIMES)
    part = CropRectangle(0.25, 0, 0.75, 0.5)
    height, width = whole.shape[1:3]
    expected = whole[:, : height // 2, width // 4 : width * 3 // 4]
    np.testing.assert_array_equal(read_frames(path, times_s=TIMES, size=Inside(part, None)), expected)


def test_a_rectangle_of_a_folder_of_frames_is_read(video, tmp_path):
    folder = as_folder(read_frames(video, indices=range(12)), tmp_path / "frames")
    whole = read_frames(folder, indices=[2, 3])
    np.testing.assert_array_equal(read_frames(folder, indices=[2, 3], size=Inside(LETTERBOX, None)), whole[:, 7:53])


def test_planes_are_not_used_for_a_rectangle(video):
    out = np.zeros(12 * 3 * 24 * 24, np.uint8)
    layout = read_square_planes(video, 24, out, times_s=TIMES, rectangle=LETTERBOX)
    assert layout.matrix is None
    expected = read_square_frames(video, 24, "center_crop", times_s=TIMES, rectangle=LETTERBOX)
    np.testing.assert_array_equal(out[: expected.size].reshape(expected.shape), expected)


@pytest.mark.parametrize(
    ("height", "width", "rows", "columns"),
    [(60, 84, (7, 53), (0, 84)), (30, 42, (4, 26), (0, 42)), (1080, 1920, (126, 954), (0, 1920)), (1, 1, (0, 1), (0, 1))],
)
def test_only_pixels_that_lie_inside_whole_are_read_at_any_size(height, width, rows, columns):
    found = LETTERBOX.pixels(height, width)
    assert [(part.start, part.stop) for part in found] == [rows, columns]


def test_the_text_of_a_manifest_gives_the_same_pixels_of_8k_video():
    top = 131 / 4320
    parsed = CropRectangle.parse(CropRectangle(0, top, 1, 1 - top).text())
    assert parsed.pixels(4320, 7680)[0] == slice(131, 4320 - 131)
    assert CropRectangle(0, 0.125, 1, 0.875).text() == "0 0.125 1 0.875"


@pytest.mark.parametrize("text", ["", "0 0 1", "0 0.9 1 0.1", "0 0 1.5 1", "a b c d", "nan 0 1 1"])
def test_other_texts_are_refused(text):
    with pytest.raises(ValueError, match="expected left, top, right and bottom as shares"):
        CropRectangle.parse(text)
