"""probe: what a video is. Its packets are counted and its first frame is decoded; the rest only when asked."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from worldmodel.video import frame_folder, orientation
from worldmodel.video.container import Video, open_video
from worldmodel.video.source import locate
from worldmodel.video.timeline import Timeline, Untimed, scan

COUNT_UP_TO_BYTES = 64 << 20  # beyond, the count that the container states is believed and only the end is read


@dataclass(frozen=True)
class VideoInfo:
    """What a video is. Width and height in px as shown: mirrored and turned as the file says, with square pixels.

    `rotation` is the turn from stored to shown in degrees clockwise. Of a video that is also mirrored it is the turn that
    follows the mirroring from left to right; that it is mirrored is not told here.
    """

    duration_s: float  # from the first frame's appearance to the last one's end
    fps: float  # average
    frames: int
    width: int
    height: int
    rotation: int
    codec: str
    start_s: float  # presentation time of the first frame in the file; read_frames counts from there


@dataclass(frozen=True)
class _Extent:
    """When the frames are shown: `frames` of them between two times in the file's clock."""

    frames: int
    start_s: float
    stop_s: float
    stated_fps: float  # what the container says; 0 if nothing


def probe(path: Path | str, member: str | None = None, thorough: bool = False, folder_fps: float = 10.0) -> VideoInfo:
    """Raises VideoError, with the reason, for whatever is no usable video.

    thorough: every frame is decoded, so that damage in the middle is found too.
    """
    if member is None and os.path.isdir(path):
        return _probe_folder(Path(path), thorough, folder_fps)
    codec, width, height, turn = _look(path, member)
    try:
        extent = _by_packets(path, member)
        timed = True
    except Untimed:
        timed = False
    if thorough or not timed:
        extent = _by_decoding(path, member)
    duration_s = extent.stop_s - extent.start_s
    agrees = abs(extent.stated_fps * duration_s - extent.frames) < 0.5
    fps = extent.stated_fps if agrees else extent.frames / duration_s
    return VideoInfo(duration_s, fps, extent.frames, width, height, turn, codec, extent.start_s)


def _look(path: Path | str, member: str | None) -> tuple[str, int, int, int]:
    """(codec, width, height, rotation) of the first frame, which is decoded."""
    with open_video(path, member) as video:
        frame = next(video.container.decode(video.stream), None)
        if frame is None:
            raise video.error("zero frames", "it has a video stream, but no frame in it")
        how = orientation.of(frame, video.stream)
        height, width = how.shown_size(frame.height, frame.width)
        return video.codec, width, height, how.turn_deg


def _by_packets(path: Path | str, member: str | None) -> _Extent:
    """Raises Untimed where packets do not tell."""
    with open_video(path, member) as video:
        stream = video.stream
        if stream.frames and stream.duration and locate(path, member)[1] > COUNT_UP_TO_BYTES:
            video.container.seek(video.start_tick + stream.duration, stream=stream)
            return _extent(video, stream.frames, video.start_tick, scan(video).end_tick)
        timeline = scan(video)
        _check_whole(video, timeline)
        first = timeline.ticks[0] if len(timeline.ticks) else 0
        return _extent(video, len(timeline.ticks), first, timeline.end_tick)


def _by_decoding(path: Path | str, member: str | None) -> _Extent:
    """Decode every frame. Raises VideoError at damage."""
    with open_video(path, member) as video:
        count, first, end = 0, video.start_tick, float(video.start_tick)
        for frame in video.container.decode(video.stream):
            if frame.is_corrupt:
                raise video.error("corrupt", f"frame {count} is damaged")
            tick = frame.pts if frame.pts is not None else round(end)
            first, end, count = min(first, tick) if count else tick, tick + video.shown_for(frame.duration), count + 1
        return _extent(video, count, first, end)


def _extent(video: Video, frames: int, first_tick: int, end_tick: float) -> _Extent:
    if not frames:
        raise video.error("zero frames", "it has a video stream, but no frame in it")
    start_s, stop_s = first_tick / video.ticks_per_s, end_tick / video.ticks_per_s
    return _Extent(frames, float(start_s), float(stop_s), float(video.stream.average_rate or 0))


def _check_whole(video: Video, timeline: Timeline) -> None:
    """Raises VideoError for a file that ends well before its header says it does."""
    stated, found = video.stream.frames, timeline.packets
    if timeline.cut_off or found < 0.98 * stated - 1:
        raise video.error("truncated", f"its header promises {stated or 'more'} frames, {found} are there")
    stated_s, found_s = (video.container.duration or 0) / 1e6, (timeline.end_tick - video.start_tick) / video.ticks_per_s
    if len(video.container.streams) == 1 and found_s < 0.98 * stated_s - 0.5:  # sound may last longer, pictures not
        raise video.error("truncated", f"its header promises {stated_s:.1f} s, {found_s:.1f} s are there")


def _probe_folder(folder: Path, thorough: bool, fps: float) -> VideoInfo:
    names = frame_folder.frame_names(folder)
    height, width = frame_folder.open_frame(folder / names[0]).shape[:2]
    for name in names[1:] if thorough else ():
        frame_folder.open_frame(folder / name)
    codec = Path(names[0]).suffix.lower().lstrip(".").replace("jpeg", "jpg")
    return VideoInfo(len(names) / fps, fps, len(names), width, height, 0, codec, 0.0)
