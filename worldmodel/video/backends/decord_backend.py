"""The same frames by decord, for who has pipelines built on it. It decodes; which frames, is decided as for PyAV.

decord finds keyframes by their place in decoding order. Where that is not their place in the order shown (open GOPs,
common in HEVC) its seeks land on wrong frames, so such files are read through from the start.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from av import VideoFrame

from worldmodel.video import orientation
from worldmodel.video.container.formats import is_pattern
from worldmodel.video.container.opening import Video, open_video
from worldmodel.video.container.source import open_bytes, shown_name
from worldmodel.video.container.timeline import Timeline, check_end, check_numbers, scan, ticks_of_times
from worldmodel.video.container.timing import Timing, timing_of
from worldmodel.video.errors import VideoError
from worldmodel.video.orientation import Orientation
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
    name, decord = shown_name(path, member), _decord(shown_name(path, member))
    with open_video(path, member) as video:
        if video.container.format.name == "mpegts":
            raise _refusal(name, "decord returns wrong frames from MPEG-TS")
        if (timing or timing_of(path, member)) != "packets":
            raise _refusal(name, "its packets do not tell when its frames are shown")
        timeline = scan(video)
        places = _places(video, timeline, times_s, indices)
    how = _orientation(path, member)
    film = Film(len(places), size)
    slots = {place: [slot for slot, other in enumerate(places) if other == place] for place in sorted(set(places))}
    try:
        reader = _reader(decord, path, member)
        if len(reader) != len(timeline.ticks):
            raise _refusal(name, f"decord counts {len(reader)} frames, the file shows {len(timeline.ticks)}")
        seeks_land = np.array_equal(reader.get_key_indices(), _shown_places(timeline))
        for place, image in _images(reader, list(slots), seeks_land):
            film.put(slots[place], VideoFrame.from_numpy_buffer(image), how)
    except (decord.DECORDError, RuntimeError, StopIteration) as error:
        raise _refusal(name, f"decord gave up, as on AV1 and on rotated videos ({_first_line(error)})") from None
    return film.frames


def _orientation(path: Path | str, member: str | None) -> Orientation:
    """How to show what decord returns: it has turned frames, and not stretched them. Raises VideoError for mirrored ones."""
    with open_video(path, member) as video:
        frame = next(video.frames(), None)
        if frame is None:
            raise video.error("zero frames", "it has a video stream, but no frame in it")
        how = orientation.of(frame, video.stream)
        if how.mirrored:
            raise _refusal(video.name, "decord does not mirror a video that is to be shown mirrored")
        return Orientation(pixel_aspect=how.shown_pixel_aspect)


def _places(video: Video, timeline: Timeline, times_s: Sequence[float] | None, indices: Sequence[int] | None) -> list[int]:
    """Which frames, counted in the order shown."""
    if times_s is None:
        check_numbers(video.name, indices or (), len(timeline.ticks))
        return list(indices or ())
    start, rate = video.start_tick, video.ticks_per_s
    wanted = ticks_of_times(video, times_s, start)
    check_end(video.name, (max(wanted) - start) / rate, (timeline.end_tick - start) / rate)
    return np.maximum(np.searchsorted(timeline.ticks, wanted, side="right") - 1, 0).tolist()


def _shown_places(timeline: Timeline) -> np.ndarray:
    """The numbers of keyframes in the order shown."""
    return np.searchsorted(timeline.ticks, timeline.key_ticks)


def _images(reader: Any, places: list[int], seeks_land: bool) -> Iterator[tuple[int, np.ndarray]]:
    """(place, image [H, W, 3]) for sorted places."""
    if seeks_land:
        yield from zip(places, reader.get_batch(places).asnumpy(), strict=True)
        return
    for place in range(places[-1] + 1):
        image = reader.get_batch([place])  # the next one: decord does not seek for it
        if place in places:
            yield place, image.asnumpy()[0]


def _decord(name: str) -> ModuleType:
    try:
        import decord
    except ImportError:
        raise _refusal(name, "decord is not installed (it has no wheels for macOS and ARM)") from None
    decord.logging.set_level(decord.logging.QUIET)  # what matters, it raises
    return decord


def _reader(decord: ModuleType, path: Path | str, member: str | None) -> Any:
    if member is None and not is_pattern(path):
        return decord.VideoReader(os.path.abspath(path), num_threads=1)  # absolute: "http:x.mp4" is a file, too
    with open_bytes(path, member) as file:
        return decord.VideoReader(io.BytesIO(file.read()), num_threads=1)


def _refusal(name: str, why: str) -> VideoError:
    return VideoError(name, "decord cannot read", f'{why}; use backend="pyav"')


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)[:200]
