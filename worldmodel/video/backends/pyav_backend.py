"""PyAV backend: read exact frames.

If the packets of a file state when its frames are shown (timing "packets"), the frames are found by the times of their
packets, and no more is decoded than they need. Other files are decoded from the start. See container/timing.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from worldmodel.video.backends._seeking import CannotSeek, frames_needed, read_by_seeking
from worldmodel.video.container.decode_in_order import TimedFrame, damaged_frame, frames_from_start
from worldmodel.video.container.opening import Video, open_video
from worldmodel.video.container.reuse import reused_video
from worldmodel.video.container.timeline import Timeline, scan_packets, selected_numbers, ticks_of_times
from worldmodel.video.container.timing import Timing, timing_of
from worldmodel.video.orientation import orientation_of
from worldmodel.video.resize import Buffer, FrameBuffer, Size
from worldmodel.video.selection import Selection, check_frame_numbers, check_time, output_slots

BufferT = TypeVar("BufferT", bound=Buffer)


def read(path: Path | str, member: str | None, selection: Selection, size: Size, timing: Timing | None = None) -> np.ndarray:
    """Read the selected frames, uint8 [T, H, W, 3]. Raises VideoError."""
    return read_into(lambda: FrameBuffer(len(selection), size), path, member, selection, timing).frames


def read_into(
    new_buffer: Callable[[], BufferT], path: Path | str, member: str | None, selection: Selection, timing: Timing | None = None
) -> BufferT:
    """Write the selected frames into a new buffer. Raises VideoError."""
    timing = timing or timing_of(path, member)
    if timing == "packets":
        try:
            with reused_video(path, member, frames_needed(selection)) as opened:
                buffer = new_buffer()
                read_by_seeking(opened, selection, buffer)
            return buffer
        except CannotSeek:
            pass  # decode the same frames from the start
    buffer = new_buffer()
    if timing == "frames":
        with open_video(path, member) as video:
            if selection.times_s is None:
                _read_by_number(video, selection.indices or (), None, buffer)
            else:
                _read_by_time(video, selection.times_s, buffer)
        return buffer
    with open_video(path, member) as video:
        timeline = scan_packets(video)
        numbers = selected_numbers(video, timeline, selection)
    with open_video(path, member) as video:
        if timing == "packets":
            _read_by_tick(video, timeline.ticks[numbers].tolist(), buffer)
        else:
            _read_by_number(video, numbers, timeline, buffer)
    return buffer


def _read_by_tick(video: Video, ticks: list[int], buffer: Buffer) -> None:
    """Decode from the start and take the frames with the given presentation times."""
    slots = output_slots(ticks)
    for number, shown in enumerate(frames_from_start(video)):
        if shown.timed and shown.tick in slots:
            _put(video, buffer, slots.pop(shown.tick), shown, number)
        if not slots:
            return
    at_s = (min(slots) - video.start_tick) / video.ticks_per_s
    raise video.error("corrupt", f"the frame at {at_s:.3f} s is damaged: it cannot be decoded")


def _read_by_number(video: Video, numbers: Sequence[int], timeline: Timeline | None, buffer: Buffer) -> None:
    """Decode from the start and count."""
    slots = output_slots(numbers)
    check_frame_numbers(video.name, numbers, max(numbers) + 1)  # no number is negative; one past the end is found at the end
    count = 0
    for count, shown in enumerate(frames_from_start(video, None if timeline is None else timeline.ticks), start=1):
        if count - 1 in slots:
            _put(video, buffer, slots[count - 1], shown, count - 1)
        if not buffer.missing:
            return
    if timeline is not None:
        raise video.error("corrupt", f"it has packets of {len(timeline.ticks)} frames, {count} can be decoded")
    check_frame_numbers(video.name, numbers, count)


def _read_by_time(video: Video, times_s: Sequence[float], buffer: Buffer) -> None:
    """Decode from the start. Each time gets the last frame shown by then, by the times of the decoded frames."""
    waiting: list[tuple[int, list[int]]] = []  # (tick, slots), sorted
    last: TimedFrame | None = None
    number, start = -1, 0
    for number, shown in enumerate(frames_from_start(video)):
        if last is None:
            start = shown.tick
            waiting = sorted(output_slots(ticks_of_times(video, times_s, start)).items())
        while waiting and last is not None and waiting[0][0] < shown.tick:
            _put(video, buffer, waiting.pop(0)[1], last, number - 1)
        if not waiting:
            return
        last = shown
    if last is None:
        raise video.no_frames()
    check_time(video.name, (waiting[-1][0] - start) / video.ticks_per_s, (last.end_tick - start) / video.ticks_per_s)
    for _, slots in waiting:
        _put(video, buffer, slots, last, number)


def _put(video: Video, buffer: Buffer, slots: list[int], shown: TimedFrame, number: int) -> None:
    if shown.damaged:
        raise damaged_frame(video, number)
    buffer.put(slots, shown.frame, orientation_of(shown.frame, video.stream))
