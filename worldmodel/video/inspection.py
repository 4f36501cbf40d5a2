"""probe: what a video is. All packets are read and a few frames decoded; all of them where packets do not tell their times."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from worldmodel.video import orientation
from worldmodel.video.container.opening import open_video
from worldmodel.video.container.source import open_bytes, shown_name
from worldmodel.video.container.structure import is_cut_off
from worldmodel.video.container.timeline import Timeline
from worldmodel.video.container.timing import Timing, examine
from worldmodel.video.errors import VideoError, reading_errors
from worldmodel.video.frame_folder import frames as frame_folder


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
    timing: Timing = "packets"  # how frames are found: by the times of packets, or decoded from the start (see timing.py)


def probe(path: Path | str, member: str | None = None, thorough: bool = False, folder_fps: float = 10.0) -> VideoInfo:
    """Raises VideoError, with the reason, for whatever is no usable video.

    thorough: every frame is decoded, so that damage in the middle is found too.
    """
    with reading_errors(shown_name(path, member)):
        if member is None and os.path.isdir(path):
            return _probe_folder(Path(path), thorough, folder_fps)
        return _probe_file(path, member, thorough)


def _probe_file(path: Path | str, member: str | None, thorough: bool) -> VideoInfo:
    with open_bytes(path, member) as file:
        cut_off = is_cut_off(file)
    try:
        stated = _look(path, member)
        examined = examine(path, member, thorough)
    except VideoError as error:
        raise _truncated(path, member, error.detail) if cut_off else error from None
    if cut_off and not 0 < stated.frames <= examined.timeline.packets:  # else only an index behind the frames is missing
        raise _truncated(path, member, f"{examined.timeline.packets} frames are there, of {stated.frames or 'more'}")
    if cut_off is None:  # a header may also count frames that are left out, or that an edit list hides: structure goes first
        _check_promises(path, member, examined.timeline)
    duration_s = examined.stop_s - examined.start_s
    agrees = abs(stated.fps * duration_s - examined.frames) < 0.5
    fps = stated.fps if agrees else examined.frames / duration_s
    facts = (stated.width, stated.height, stated.rotation, stated.codec)
    return VideoInfo(duration_s, fps, examined.frames, *facts, examined.start_s, examined.timing)


@dataclass(frozen=True)
class _Stated:
    """What the header and the first frame say."""

    codec: str
    width: int
    height: int
    rotation: int
    fps: float  # 0: nothing
    frames: int  # 0: nothing


def _look(path: Path | str, member: str | None) -> _Stated:
    with open_video(path, member) as video:
        stated = video.stream.frames
        frame = next(video.frames(), None)
        if frame is None and stated:
            raise video.error("truncated", f"its header promises {stated} frames, none is there")
        if frame is None:
            raise video.error("zero frames", "it has a video stream, but no frame in it")
        how = orientation.of(frame, video.stream)
        height, width = how.shown_size(frame.height, frame.width)
        return _Stated(video.codec, width, height, how.turn_deg, float(video.stream.average_rate or 0), stated)


def _truncated(path: Path | str, member: str | None, detail: str) -> VideoError:
    return VideoError(shown_name(path, member), "truncated", f"the file is shorter than its structure says ({detail})")


def _check_promises(path: Path | str, member: str | None, timeline: Timeline) -> None:
    """Raises VideoError for a file that ends before its header says it does, where its structure does not tell that."""
    with open_video(path, member) as video:
        stated = video.stream.frames
        found_s = (timeline.end_tick - timeline.ticks[0]) / video.ticks_per_s
        until_s = timeline.end_tick / video.ticks_per_s  # some containers count their duration from 0, not from the first frame
        alone = len(video.container.streams) == 1  # sound may last longer than the pictures
        stated_s = (video.container.duration or 0) / 1e6 if alone else (video.stream.duration or 0) / video.ticks_per_s
        too_short = max(found_s, until_s) < 0.98 * stated_s - 0.5
        too_few = timeline.packets < 0.98 * stated - 1
        if too_short or (too_few and not stated_s):
            raise video.error(
                "truncated", f"its header promises {stated_s:.1f} s and {stated} frames; {found_s:.1f} s are there"
            )


def _probe_folder(folder: Path, thorough: bool, fps: float) -> VideoInfo:
    names = frame_folder.frame_names(folder)
    height, width = frame_folder.open_frame(folder / names[0]).shape[:2]
    for name in names[1:] if thorough else ():
        frame_folder.open_frame(folder / name)
    codec = Path(names[0]).suffix.lower().lstrip(".").replace("jpeg", "jpg")
    return VideoInfo(len(names) / fps, fps, len(names), width, height, 0, codec, 0.0)
