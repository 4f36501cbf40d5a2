"""Inspect a video: size, duration, frame rate, codec, rotation and timing.

All packets are read and a few frames are decoded. If the packets do not state when frames are shown, all frames are decoded.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from worldmodel.video.container.opening import open_video
from worldmodel.video.container.source import open_bytes, shown_name
from worldmodel.video.container.structure import is_cut_off
from worldmodel.video.container.timeline import Timeline
from worldmodel.video.container.timing import Timing, analyse_timing
from worldmodel.video.errors import VideoError, reading_errors
from worldmodel.video.frame_folder.frames import FOLDER_FPS, frame_names, open_frame
from worldmodel.video.frame_times import FrameTimes, folder_times
from worldmodel.video.orientation import orientation_of


@dataclass(frozen=True)
class VideoInfo:
    """Properties of a video. Width and height are in px as shown: mirrored, turned and with square pixels.

    `rotation` is the turn from stored to shown frames in degrees clockwise. If a video is mirrored as well, the turn follows
    the mirroring from left to right; whether it is mirrored is not part of VideoInfo.
    """

    duration_s: float  # from the start of the first frame to the end of the last one
    fps: float  # average
    frames: int
    width: int
    height: int
    rotation: int
    codec: str
    start_s: float  # presentation time of the first frame in the file; times of read_frames count from it
    timing: Timing = "packets"  # how frames are found: by the times of packets, or decoded from the start (see timing.py)


def inspect_video(
    path: Path | str, member: str | None = None, thorough: bool = False, folder_fps: float = FOLDER_FPS
) -> VideoInfo:
    """Return the properties of a video. Raises VideoError, with the reason, for everything that is not a usable video.

    thorough: decode every frame, so that damage in the middle of the video is found as well.
    """
    return inspect_times(path, member, thorough, folder_fps)[0]


def inspect_times(
    path: Path | str, member: str | None = None, thorough: bool = False, folder_fps: float = FOLDER_FPS
) -> tuple[VideoInfo, FrameTimes]:
    """As `inspect_video`; also when each frame is shown."""
    with reading_errors(shown_name(path, member)):
        if member is None and os.path.isdir(path):
            return _inspect_folder(Path(path), thorough, folder_fps)
        return _inspect_file(path, member, thorough)


def _inspect_file(path: Path | str, member: str | None, thorough: bool) -> tuple[VideoInfo, FrameTimes]:
    with open_bytes(path, member) as file:
        cut_off = is_cut_off(file)
    try:
        header = _read_header(path, member)
        analysis = analyse_timing(path, member, thorough)
    except VideoError as error:
        raise _truncated(path, member, error.detail) if cut_off else error from None
    packets = analysis.timeline.packets
    if cut_off and not 0 < header.frames <= packets:  # else only an index behind the frames is missing
        raise _truncated(path, member, f"it has {packets} of {header.frames or 'more'} frames")
    if cut_off is None:  # the header may count frames that an edit list hides, so the structure is checked first
        _check_header_claims(path, member, analysis.timeline)
    duration_s = analysis.stop_s - analysis.start_s
    frames = len(analysis.ticks)
    agrees = abs(header.fps * duration_s - frames) < 0.5
    fps = header.fps if agrees else frames / duration_s
    info = VideoInfo(
        duration_s=duration_s,
        fps=fps,
        frames=frames,
        width=header.width,
        height=header.height,
        rotation=header.rotation,
        codec=header.codec,
        start_s=analysis.start_s,
        timing=analysis.timing,
    )
    return info, FrameTimes(analysis.ticks - analysis.ticks[0], analysis.ticks_per_s, analysis.frame_ticks, fps)


@dataclass(frozen=True)
class _Header:
    """Properties that the header and the first frame state."""

    codec: str
    width: int
    height: int
    rotation: int
    fps: float  # 0: not stated
    frames: int  # 0: not stated


def _read_header(path: Path | str, member: str | None) -> _Header:
    with open_video(path, member) as video:
        stated = video.stream.frames
        frame = next(video.frames(), None)
        if frame is None and stated:
            raise video.error("truncated", f"its header states {stated} frames, the file has none")
        if frame is None:
            raise video.no_frames()
        orientation = orientation_of(frame, video.stream)
        height, width = orientation.shown_size(frame.height, frame.width)
        return _Header(video.codec, width, height, orientation.turn_deg, float(video.stream.average_rate or 0), stated)


def _truncated(path: Path | str, member: str | None, detail: str) -> VideoError:
    return VideoError(shown_name(path, member), "truncated", f"the file is shorter than its structure states ({detail})")


def _check_header_claims(path: Path | str, member: str | None, timeline: Timeline) -> None:
    """Raise VideoError for a file that is shorter than its header states, if its structure does not show that."""
    with open_video(path, member) as video:
        stated = video.stream.frames
        found_s = (timeline.end_tick - timeline.ticks[0]) / video.ticks_per_s
        until_s = timeline.end_tick / video.ticks_per_s  # some containers count their duration from 0, not from the first frame
        video_only = len(video.container.streams) == 1  # sound may last longer than the frames
        stated_s = (video.container.duration or 0) / 1e6 if video_only else (video.stream.duration or 0) / video.ticks_per_s
        too_short = max(found_s, until_s) < 0.98 * stated_s - 0.5
        too_few = timeline.packets < 0.98 * stated - 1
        if too_short or (too_few and not stated_s):
            raise video.error(
                "truncated", f"its header states {stated_s:.1f} s and {stated} frames; the file has {found_s:.1f} s"
            )


def _inspect_folder(folder: Path, thorough: bool, fps: float) -> tuple[VideoInfo, FrameTimes]:
    names = frame_names(folder)
    height, width = open_frame(folder / names[0]).shape[:2]
    for name in names[1:] if thorough else ():
        open_frame(folder / name)
    codec = Path(names[0]).suffix.lower().lstrip(".").replace("jpeg", "jpg")
    info = VideoInfo(len(names) / fps, fps, len(names), width, height, rotation=0, codec=codec, start_s=0.0)
    return info, folder_times(len(names), fps)
