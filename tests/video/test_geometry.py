"""One function makes frames square, in one of two geometries."""

import numpy as np
import pytest
import torch
from av import VideoFrame

from worldmodel.video import read_frames, write_video
from worldmodel.video.crop_rectangle import CropRectangle
from worldmodel.video.geometry import SquareBuffer, crop_square, read_square_frames


@pytest.mark.parametrize(
    ("shape", "position", "top", "left"),
    [
        ((2, 4, 9, 3), None, 0, 2),  # 5 columns are left over; half of them, rounded down
        ((2, 4, 9, 3), 0.0, 0, 0),
        ((2, 4, 9, 3), 1.0, 0, 5),
        ((2, 4, 9, 3), 0.3, 0, 2),  # 1.5 is rounded to the even number
        ((2, 11, 4, 3), None, 3, 0),
        ((2, 4, 4, 3), 0.7, 0, 0),
    ],
)
def test_the_square_is_cut_out_at_the_given_position(shape, position, top, left):
    frames = np.arange(np.prod(shape)).reshape(shape)
    expected = frames[:, top : top + 4, left : left + 4]
    np.testing.assert_array_equal(crop_square(frames, position), expected)
    np.testing.assert_array_equal(crop_square(torch.from_numpy(frames)[None], position)[0], expected)


def test_center_crop_cuts_off_the_sides_and_resize_keeps_them(tmp_path):
    frames = np.zeros((3, 32, 64, 3), np.uint8)
    frames[:, :, :12], frames[:, 14:18] = 255, 128  # a white left edge, a grey bar across
    write_video(tmp_path / "a.mp4", frames, 10.0, lossless=True)
    crop, resize = (
        read_square_frames(tmp_path / "a.mp4", 16, geometry, indices=[0, 2]) for geometry in ("center_crop", "resize")
    )
    assert crop.shape == resize.shape == (2, 16, 16, 3)
    assert (crop[:, 0] == 0).all()
    assert (resize[:, 0, :3] == 255).all()
    assert (resize[:, 0, 4:] == 0).all()


def test_both_geometries_agree_with_read_frames(tmp_path, numbered):
    write_video(tmp_path / "a.mp4", numbered(3, 48, 64), 10.0, lossless=True)
    path = tmp_path / "a.mp4"
    np.testing.assert_array_equal(
        read_square_frames(path, 24, "resize", indices=[1]), read_frames(path, indices=[1], size=(24, 24))
    )
    sized = read_frames(path, times_s=[0.1], size=24)  # 24 x 32
    np.testing.assert_array_equal(read_square_frames(path, 24, "center_crop", times_s=[0.1]), sized[:, :, 4:28])
    np.testing.assert_array_equal(read_square_frames(path, 24, "center_crop", times_s=[0.1], position=1.0), sized[:, :, 8:])


def test_frames_that_are_square_are_equal_in_both_geometries(tmp_path, numbered):
    write_video(tmp_path / "a.mp4", numbered(3, 48, 48), 10.0)
    frames = [read_square_frames(tmp_path / "a.mp4", 24, geometry, indices=[0]) for geometry in ("center_crop", "resize")]
    np.testing.assert_array_equal(*frames)


def test_a_rectangle_is_cut_out_of_the_smallest_size_that_covers_it(tmp_path):
    """Of 64 x 32 px, 32 x 8 (width x height) needs half the size: 32 x 16, so only rows are cut off."""
    frames = np.zeros((3, 32, 64, 3), np.uint8)
    frames[:, :, :12], frames[:, 14:18] = 255, 128
    write_video(tmp_path / "a.mp4", frames, 10.0, lossless=True)
    wide = read_square_frames(tmp_path / "a.mp4", (8, 32), "center_crop", indices=[0, 2])
    whole = read_frames(tmp_path / "a.mp4", indices=[0, 2], size=(16, 32))
    np.testing.assert_array_equal(wide, whole[:, 4:12])
    tall = read_square_frames(tmp_path / "a.mp4", (32, 16), "center_crop", indices=[0, 2])
    np.testing.assert_array_equal(tall, read_frames(tmp_path / "a.mp4", indices=[0, 2])[:, :, 24:40])


@pytest.mark.parametrize(
    "how",
    [
        {"times_s": [0.1, 0.0, 0.1]},
        {"indices": [2, 0, 2], "position": 0.9},
        {"indices": [0, 1, 2], "timing": "frames"},
        {"indices": [0, 1, 2], "rectangle": CropRectangle.parse("0 0 1 0.5")},
    ],
    ids=["times", "numbers", "decoded from the start", "a rectangle"],
)
@pytest.mark.parametrize("geometry", ["center_crop", "resize"])
def test_frames_that_are_cut_out_into_given_memory_are_the_same(tmp_path, numbered, geometry, how):
    write_video(tmp_path / "a.mp4", numbered(3, 48, 64), 10.0)
    memory = np.zeros((3, 24, 24, 3), np.uint8)
    found = read_square_frames(tmp_path / "a.mp4", 24, geometry, **how, out=memory)
    assert found is memory
    np.testing.assert_array_equal(found, read_square_frames(tmp_path / "a.mp4", 24, geometry, **how))


def test_a_square_that_does_not_fit_its_memory_is_refused(tmp_path, numbered):
    """numpy would repeat one row to fill the memory."""
    frame = VideoFrame.from_ndarray(numbered(1, 1, 24)[0], format="rgb24")
    with pytest.raises(ValueError, match=r"a frame of \[1, 24, 3\], expected \[24, 24, 3\]"):
        SquareBuffer(None, None, np.zeros((1, 24, 24, 3), np.uint8)).put([0], frame)
