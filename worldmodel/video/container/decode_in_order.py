"""Decode a video from its start, in the order shown, with the time and the damage of each frame."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from av.video.frame import PictureType, VideoFrame

from worldmodel.video.container.opening import Video
from worldmodel.video.errors import VideoError


@dataclass(frozen=True)
class TimedFrame:
    """A decoded frame, shown from `tick` to `end_tick` (ticks of the stream)."""

    frame: VideoFrame
    tick: int
    end_tick: int
    timed: bool  # `tick` is the presentation time of the frame itself
    damaged: bool  # the frame is damaged, or may be predicted from a damaged one


@dataclass(frozen=True)
class DecodedTimes:
    """Times of all frames of a video, from the decoded frames."""

    ticks: np.ndarray  # int64 [F], increasing
    end_tick: float
    in_order: bool  # every frame has a presentation time, and these increase


def decode_all(video: Video, strict: bool) -> DecodedTimes:
    """Decode every frame. Raises VideoError if there is none, and with `strict` at the first damaged one."""
    ticks, end_tick, in_order = [], video.start_tick, True
    for number, shown in enumerate(frames_from_start(video)):
        if strict and shown.damaged:
            raise damaged_frame(video, number)
        ticks.append(shown.tick)
        end_tick, in_order = shown.end_tick, in_order and shown.timed
    if not ticks:
        raise video.no_frames()
    return DecodedTimes(np.asarray(ticks, np.int64), end_tick, in_order)


def frames_from_start(video: Video, ticks: np.ndarray | None = None) -> Iterator[TimedFrame]:
    """All frames that the decoder returns. `ticks`: the times of the frames in the order shown, if they are known."""
    return _spread_damage(_timed(video, ticks), video)


def damaged_frame(video: Video, number: int) -> VideoError:
    """The VideoError for a damaged frame."""
    return video.error("corrupt", f"frame {number} is damaged, or predicted from a damaged one")


def _timed(video: Video, ticks: np.ndarray | None) -> Iterator[TimedFrame]:
    clock = _FrameClock(video)
    for number, frame in enumerate(video.frames()):
        tick, timed = clock.tick(frame)
        if ticks is not None and number < len(ticks):
            tick, timed = int(ticks[number]), frame.pts == ticks[number]
        yield TimedFrame(frame, tick, tick + round(video.last_frame_ticks(frame.duration)), timed, frame.is_corrupt)


class _FrameClock:
    """The time of each decoded frame: its presentation time or, if those go back, the decoding time of its packet.

    Which of the two is right is guessed from how often each has gone back so far, as the ffmpeg command line tool does.
    """

    def __init__(self, video: Video) -> None:
        self._frame_ticks = max(1, round(video.frame_ticks))
        self._next = video.start_tick
        self._last_pts: int | None = None
        self._last_dts: int | None = None
        self._faulty_pts = self._faulty_dts = 0
        self._last: int | None = None

    def tick(self, frame: VideoFrame) -> tuple[int, bool]:
        """(tick, whether it is the frame's own presentation time). Ticks increase."""
        self._faulty_pts += _goes_back(self._last_pts, frame.pts)
        self._faulty_dts += _goes_back(self._last_dts, frame.dts)
        self._last_pts = self._last_pts if frame.pts is None else frame.pts
        self._last_dts = self._last_dts if frame.dts is None else frame.dts
        trusts_pts = frame.pts is not None and (self._faulty_pts <= self._faulty_dts or frame.dts is None)
        tick = frame.pts if trusts_pts else frame.dts
        if tick is None or (self._last is not None and tick <= self._last):
            tick = self._next
        self._last, self._next = tick, tick + (frame.duration or self._frame_ticks)
        return tick, tick == frame.pts


def _goes_back(last: int | None, tick: int | None) -> bool:
    return last is not None and tick is not None and tick <= last


def _spread_damage(frames: Iterator[TimedFrame], video: Video) -> Iterator[TimedFrame]:
    """Mark all frames that may be predicted from a damaged one.

    These are all frames up to the next keyframe, and the B frames shown just before the damaged frame. B frames are therefore
    held back, as many as the codec reorders, until the next frame is known.
    """
    held: deque[TimedFrame] = deque()
    damaged = False
    for shown in frames:
        if shown.damaged:
            damaged = True
            held = deque(replace(earlier, damaged=True) for earlier in held)
        elif shown.frame.key_frame:
            damaged = False
        shown = replace(shown, damaged=damaged)
        if shown.frame.pict_type == PictureType.B:
            held.append(shown)
            if len(held) > video.stream.codec_context.reorder_depth:
                yield held.popleft()
            continue
        yield from held
        held.clear()
        yield shown
    yield from held
