"""Parts of a video hold whole frames, at constant and at variable frame rates."""

import numpy as np
import pytest

from data_prep.frame_ranges import FrameRange, frames_of_copy, held_out_frame, segment_frames
from data_prep.sources.item import Segment
from worldmodel.video.frame_times import FrameTimes

TIMES = FrameTimes(np.array([0, 4, 9, 14]), 10.0, 2.0, 2.5)  # frames begin at 0, 0.4, 0.9 and 1.4 s; the last one ends at 1.6 s
CONSTANT = FrameTimes(np.arange(10), 10.0, 1.0, 10.0)


@pytest.mark.parametrize(
    ("start_s", "stop_s", "found"),
    [
        (0.3, 1.4, FrameRange(0.4, 1.4, 1, 2)),
        (0.0, 1.6, FrameRange(0.0, 1.6, 0, 4)),
        (0.4001, 1.4, FrameRange(0.4, 1.4, 1, 2)),  # lists round their times
        (0.5, 1.3, None),
        (1.4, 9.0, FrameRange(1.4, 1.6, 3, 1)),
        (2.0, 3.0, None),
    ],
)
def test_a_segment_holds_the_frames_that_it_shows_with_their_whole_duration(start_s, stop_s, found):
    assert segment_frames(TIMES, 1.6, Segment(start_s, stop_s)) == found


@pytest.mark.parametrize(
    ("start_s", "stop_s", "found"),
    [
        (0.0, 1.0, FrameRange(0.0, 1.0, 0, 10)),
        (0.25, 0.61, FrameRange(0.3, 0.61, 3, 4)),
        (0.31, 0.39, None),
        (0.75, 1.2, FrameRange(0.8, 1.0, 8, 2)),
    ],
)
def test_a_clip_of_a_copy_starts_with_a_frame_that_begins_in_the_clip(start_s, stop_s, found):
    assert frames_of_copy(CONSTANT, 1.0, start_s, stop_s) == found


@pytest.mark.parametrize(("frames", "first"), [(2, 1), (3, 2), (5, 4), (12, 10), (100, 80)])
def test_a_fifth_of_the_frames_but_never_all_are_held_out(frames: int, first: int):
    assert held_out_frame(frames) == first
