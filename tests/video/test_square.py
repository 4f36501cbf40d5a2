"""One way to make square frames, with two choices."""

import numpy as np
import pytest
import torch

from worldmodel.video import read_frames, write_video
from worldmodel.video.square import cut_square, read_square


@pytest.mark.parametrize(
    ("shape", "at", "top", "left"),
    [
        ((2, 4, 9, 3), None, 0, 2),  # 5 to spare, half of it rounded down
        ((2, 4, 9, 3), 0.0, 0, 0),
        ((2, 4, 9, 3), 1.0, 0, 5),
        ((2, 4, 9, 3), 0.3, 0, 2),  # 1.5 is rounded to the even number
        ((2, 11, 4, 3), None, 3, 0),
        ((2, 4, 4, 3), 0.7, 0, 0),
    ],
)
def test_the_square_is_cut_where_it_should_be(shape, at, top, left):
    frames = np.arange(np.prod(shape)).reshape(shape)
    wanted = frames[:, top : top + 4, left : left + 4]
    np.testing.assert_array_equal(cut_square(frames, at), wanted)
    np.testing.assert_array_equal(cut_square(torch.from_numpy(frames)[None], at)[0], wanted)


def test_a_crop_loses_the_sides_and_a_squeeze_shows_them(tmp_path):
    frames = np.zeros((3, 32, 64, 3), np.uint8)
    frames[:, :, :12], frames[:, 14:18] = 255, 128  # a white left edge, a grey bar across
    write_video(tmp_path / "a.mp4", frames, 10.0, lossless=True)
    crop, squeeze = (read_square(tmp_path / "a.mp4", 16, how, indices=[0, 2]) for how in ("crop", "squeeze"))
    assert crop.shape == squeeze.shape == (2, 16, 16, 3)
    assert (crop[:, 0] == 0).all()
    assert (squeeze[:, 0, :3] == 255).all()
    assert (squeeze[:, 0, 4:] == 0).all()


def test_both_choices_are_those_of_read_frames(tmp_path, numbered):
    write_video(tmp_path / "a.mp4", numbered(3, 48, 64), 10.0, lossless=True)
    path = tmp_path / "a.mp4"
    np.testing.assert_array_equal(read_square(path, 24, "squeeze", indices=[1]), read_frames(path, indices=[1], size=(24, 24)))
    sized = read_frames(path, times_s=[0.1], size=24)  # 24 x 32
    np.testing.assert_array_equal(read_square(path, 24, "crop", times_s=[0.1]), sized[:, :, 4:28])
    np.testing.assert_array_equal(read_square(path, 24, "crop", times_s=[0.1], at=1.0), sized[:, :, 8:])


def test_square_frames_are_the_same_by_either_choice(tmp_path, numbered):
    write_video(tmp_path / "a.mp4", numbered(3, 48, 48), 10.0)
    frames = [read_square(tmp_path / "a.mp4", 24, how, indices=[0]) for how in ("crop", "squeeze")]
    np.testing.assert_array_equal(*frames)
