"""Exact frames by PyAV.

Where the packets of a file tell when its frames are shown (`timing` "packets"), the frames to decode are chosen by the times of
their packets, and no more is decoded than they need. Other files are decoded from the start. See timing.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from worldmodel.video import orientation
from worldmodel.video.backends.in_order import Shown, damaged_frame, frames_from_start
from worldmodel.video.backends.seeking import CannotSeek, read_by_seeking
from worldmodel.video.container.opening import Video, open_video
from worldmodel.video.container.timeline import Timeline, check_end, check_numbers, scan, ticks_of_times
from worldmodel.video.container.timing import Timing, timing_of
from worldmodel.video.resize import Film, Size


def read(
    path: Path | str,
    member: str | None,
    times_s: Sequence[float] | None,
    indices: Sequence[int] | None,
    size: Size,
    timing: Timing | None = None,
) -> np.ndarray:
    """Frames uint8 [T, H, W, 3] at the times, or else with the numbers, given. Raises VideoError."""
    timing = timing or timing_of(path, member)
    count = len(times_s if times_s is not None else indices or ())
    if timing == "packets":
        try:
            with open_video(path, member) as video:
                film = Film(count, size)
                read_by_seeking(video, times_s, indices, film)
                return film.frames
        except CannotSeek:
            pass  # the same frames, decoded from the start
    film = Film(count, size)
    if timing == "frames":
        with open_video(path, member) as video:
            if times_s is None:
                _read_by_number(video, list(indices or ()), None, film)
            else:
                _read_by_time(video, times_s, film)
        return film.frames
    with open_video(path, member) as video:
        timeline = scan(video)
        numbers = _numbers(video, timeline, times_s, indices)
    with open_video(path, member) as video:
        if timing == "packets":
            _read_by_tick(video, timeline.ticks[numbers].tolist(), film)
        else:
            _read_by_number(video, numbers, timeline, film)
    return film.frames


def _numbers(video: Video, timeline: Timeline, times_s: Sequence[float] | None, indices: Sequence[int] | None) -> list[int]:
    """Numbers of the frames asked for, in the order shown. Raises VideoError for those that the video does not have."""
    if times_s is None:
        check_numbers(video.name, indices or (), len(timeline.ticks))
        return list(indices or ())
    start, rate = int(timeline.ticks[0]), video.ticks_per_s
    wanted = ticks_of_times(video, times_s, start)
    check_end(video.name, (max(wanted) - start) / rate, (timeline.end_tick - start) / rate)
    return np.maximum(np.searchsorted(timeline.ticks, wanted, side="right") - 1, 0).tolist()


def _read_by_tick(video: Video, ticks: list[int], film: Film) -> None:
    """Decode from the start and take the frames with the presentation times given."""
    slots = _slots(ticks)
    for number, shown in enumerate(frames_from_start(video)):
        if shown.timed and shown.tick in slots:
            _draw(video, film, slots.pop(shown.tick), shown, number)
        if not slots:
            return
    at_s = (min(slots) - video.start_tick) / video.ticks_per_s
    raise video.error("corrupt", f"the frame at {at_s:.3f} s is damaged: it cannot be decoded")


def _read_by_number(video: Video, numbers: list[int], timeline: Timeline | None, film: Film) -> None:
    """Decode from the start and count."""
    slots = _slots(numbers)
    check_numbers(video.name, numbers, max(numbers) + 1)  # none is below 0; one past the end is found at the end
    count = 0
    for count, shown in enumerate(frames_from_start(video, None if timeline is None else timeline.ticks), start=1):
        if count - 1 in slots:
            _draw(video, film, slots[count - 1], shown, count - 1)
        if not film.left:
            return
    if timeline is not None:
        raise video.error("corrupt", f"it has packets of {len(timeline.ticks)} frames, {count} can be decoded")
    check_numbers(video.name, numbers, count)


def _read_by_time(video: Video, times_s: Sequence[float], film: Film) -> None:
    """Decode from the start. Each time gets the last frame shown by then, by the times of the decoded frames."""
    waiting: list[tuple[int, list[int]]] = []
    last: Shown | None = None
    number, start = -1, 0
    for number, shown in enumerate(frames_from_start(video)):
        if last is None:
            start = shown.tick
            waiting = sorted(_slots(ticks_of_times(video, times_s, start)).items())
        while waiting and last is not None and waiting[0][0] < shown.tick:
            _draw(video, film, waiting.pop(0)[1], last, number - 1)
        if not waiting:
            return
        last = shown
    if last is None:
        raise video.error("zero frames", "it has a video stream, but no frame in it")
    check_end(video.name, (waiting[-1][0] - start) / video.ticks_per_s, (last.end_tick - start) / video.ticks_per_s)
    for _, slots in waiting:
        _draw(video, film, slots, last, number)


def _slots(keys: Sequence[int]) -> dict[int, list[int]]:
    """Frame number or tick -> places in the output."""
    slots: dict[int, list[int]] = {}
    for place, key in enumerate(keys):
        slots.setdefault(key, []).append(place)
    return slots


def _draw(video: Video, film: Film, slots: list[int], shown: Shown, number: int) -> None:
    if shown.damaged:
        raise damaged_frame(video, number)
    film.put(slots, shown.frame, orientation.of(shown.frame, video.stream))
