"""Parts of a video hold whole frames, at constant and at variable frame rates."""

from dataclasses import replace

import numpy as np
import pytest

from data_prep.frame_ranges import FrameRange, frames_of_clip, frames_of_copy, held_out_frame, segment_frames
from data_prep.sources.item import Segment
from worldmodel.manifest import Clip
from worldmodel.video.frame_times import FrameTimes

TIMES = FrameTimes(np.array([0, 4, 9, 14]), 10.0, 2.0, 2.5)  # frames begin at 0, 0.4, 0.9 and 1.4 s; the last one ends at 1.6 s
WHOLE = Clip("0", "a.mkv", None, 0.0, 0.3, 30.0, 9, 64, 48, 0, "h264", "train", None, None, "test", "0")
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


SLOWER = FrameTimes(np.array([0, 3, 5, 8]), 10.0, 2.5, 4.0)  # a copy of CONSTANT that has frames 0, 3, 5 and 8 of it


@pytest.mark.parametrize(
    ("first", "stop", "found"),
    [
        (0, 10, FrameRange(0.0, 1.0, 0, 4)),
        (2, 6, FrameRange(0.3, 0.8, 1, 2)),
        (4, 5, None),
        (8, 10, FrameRange(0.8, 1.0, 3, 1)),
    ],
)
def test_a_clip_of_a_copy_has_the_frames_that_it_has_in_the_source(first, stop, found):
    assert frames_of_copy(SLOWER, 1.0, CONSTANT, first, stop) == found


@pytest.mark.parametrize("cut", range(1, 9))
def test_a_copy_of_a_source_whose_times_are_rounded_has_the_same_frames(cut: int):
    """Matroska rounds to milliseconds; the copy keeps these times, a manifest states multiples of a frame."""
    source = FrameTimes(np.array([0, 33, 67, 100, 133, 167, 200, 233, 267]), 1000.0, 100 / 3, 30.0)
    copy = FrameTimes(source.ticks * 90, 90_000.0, 3000.0, 30.0049)
    clip = replace(WHOLE, start_s=cut / 30, stop_s=0.3)
    assert frames_of_clip(source, clip) == (cut, 9)
    found = frames_of_copy(copy, 0.3, source, cut, 9)
    assert found is not None
    assert (found.first_frame, found.frames) == (cut, 9 - cut)


@pytest.mark.parametrize(("frames", "first"), [(2, 1), (3, 2), (5, 4), (12, 10), (100, 80)])
def test_a_fifth_of_the_frames_but_never_all_are_held_out(frames: int, first: int):
    assert held_out_frame(frames) == first
