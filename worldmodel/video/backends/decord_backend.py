"""decord backend. It only decodes; which frames to read is decided by the same code as for PyAV.

decord finds keyframes by their position in decoding order. If that is not their position in the order shown (open GOPs,
common in HEVC), its seeks lead to wrong frames, so such files are decoded from the start.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from av import VideoFrame

from worldmodel.storage.urls import is_url
from worldmodel.video.container.formats import is_pattern
from worldmodel.video.container.opening import open_video
from worldmodel.video.container.source import open_bytes, shown_name
from worldmodel.video.container.timeline import Timeline, scan_packets, selected_numbers
from worldmodel.video.container.timing import Timing, timing_of
from worldmodel.video.errors import VideoError
from worldmodel.video.orientation import Orientation, orientation_of
from worldmodel.video.resize import FrameBuffer, Size
from worldmodel.video.selection import Selection, output_slots


def read(path: Path | str, member: str | None, selection: Selection, size: Size, timing: Timing | None = None) -> np.ndarray:
    """Read the selected frames, uint8 [T, H, W, 3]. Raises VideoError, also for videos that decord reads incorrectly."""
    name, decord = shown_name(path, member), _import_decord(shown_name(path, member))
    with open_video(path, member) as video:
        if video.container.format.name == "mpegts":
            raise _refusal(name, "decord returns wrong frames from MPEG-TS")
        if (timing or timing_of(path, member)) != "packets":
            raise _refusal(name, "its packets do not state when its frames are shown")
        timeline = scan_packets(video)
        numbers = selected_numbers(video, timeline, selection)
    orientation = _remaining_orientation(path, member)
    buffer = FrameBuffer(len(numbers), size)
    slots = dict(sorted(output_slots(numbers).items()))
    try:
        reader = _reader(decord, path, member)
        if len(reader) != len(timeline.ticks):
            raise _refusal(name, f"decord counts {len(reader)} frames, the file has {len(timeline.ticks)}")
        can_seek = np.array_equal(reader.get_key_indices(), _key_numbers(timeline))
        for number, image in _images(reader, list(slots), can_seek):
            buffer.put(slots[number], VideoFrame.from_numpy_buffer(image), orientation)
    except (decord.DECORDError, RuntimeError, StopIteration) as error:
        raise _refusal(name, f"decord failed, as it does on AV1 and on rotated videos ({_first_line(error)})") from None
    return buffer.frames


def _remaining_orientation(path: Path | str, member: str | None) -> Orientation:
    """The stretch that decord omits: it returns turned, unstretched frames. Raises VideoError for mirrored videos."""
    with open_video(path, member) as video:
        frame = next(video.frames(), None)
        if frame is None:
            raise video.no_frames()
        orientation = orientation_of(frame, video.stream)
        if orientation.mirrored:
            raise _refusal(video.name, "decord does not mirror a video that is to be shown mirrored")
        return Orientation(pixel_aspect=orientation.shown_pixel_aspect)


def _key_numbers(timeline: Timeline) -> np.ndarray:
    """The numbers of keyframes in the order shown."""
    return np.searchsorted(timeline.ticks, timeline.key_ticks)


def _images(reader: Any, numbers: list[int], can_seek: bool) -> Iterator[tuple[int, np.ndarray]]:
    """(number, image [H, W, 3]) for sorted frame numbers."""
    if can_seek:
        yield from zip(numbers, reader.get_batch(numbers).asnumpy(), strict=True)
        return
    for number in range(numbers[-1] + 1):
        image = reader.get_batch([number])  # decord does not seek for the next frame
        if number in numbers:
            yield number, image.asnumpy()[0]


def _import_decord(name: str) -> ModuleType:
    try:
        import decord
    except ImportError:
        raise _refusal(name, "decord is not installed (it has no wheels for macOS and ARM)") from None
    decord.logging.set_level(decord.logging.QUIET)  # errors that matter are raised
    return decord


def _reader(decord: ModuleType, path: Path | str, member: str | None) -> Any:
    if member is None and not is_pattern(path) and not is_url(path):
        return decord.VideoReader(os.path.abspath(path), num_threads=1)  # absolute: a file may be named "http:x.mp4"
    with open_bytes(path, member) as file:
        return decord.VideoReader(io.BytesIO(file.read()), num_threads=1)


def _refusal(name: str, why: str) -> VideoError:
    return VideoError(name, "decord cannot read", f'{why}; use backend="pyav"')


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)[:200]
