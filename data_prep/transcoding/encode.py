"""Transcoding of one video into a small, upright copy that decodes fast."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from worldmodel.files.atomic import atomic_path
from worldmodel.files.output_errors import output_errors
from worldmodel.video import VideoError
from worldmodel.video.container.decode_in_order import damaged_frame, frames_from_start
from worldmodel.video.container.opening import Video, open_video
from worldmodel.video.container.timeline import scan_packets
from worldmodel.video.container.timing import analyse_timing, reason_by_kind
from worldmodel.video.frame_folder.frames import FOLDER_FPS, frame_names, open_frame
from worldmodel.video.orientation import Orientation, orientation_of
from worldmodel.video.resize import AS_STORED, FrameConverter, target_size
from worldmodel.video.write import mux, open_output

# tune fastdecode: no CABAC, no loop filter, no weighted prediction
X264 = {"preset": "fast", "crf": "18", "tune": "fastdecode", "bf": "0", "refs": "1"}
if platform.machine().lower() in ("x86_64", "amd64"):
    # x264's code for AVX-512 gives other bytes in some processes. Without AVX2 all processors give
    # the same bytes.
    X264["x264-params"] = "asm=mmx2,sse2,sse2fast,ssse3,sse4.2"
CLOCK_HZ = 90_000  # unit of the time stamps of the copies


@dataclass(frozen=True)
class TimedFrame:
    """A frame as it is stored, shown from `start_s` to `stop_s` (seconds since the first frame)."""

    start_s: float
    stop_s: float
    frame: VideoFrame
    orientation: Orientation = AS_STORED


@dataclass(frozen=True)
class TranscodeConfig:
    """Properties of the copies."""

    short_side_px: int  # upper bound, since videos are not enlarged
    max_fps: float | None
    gop: int  # frames from one keyframe to the next


def transcode_video(
    path: str, member: str | None, target: Path, config: TranscodeConfig, folder_fps: float = FOLDER_FPS
) -> None:
    """Write a copy of a video. It appears complete or not at all.

    Frames keep their times, relative to the first frame.

    The copy has every frame of the source. Where the source has a higher rate than `max_fps`, the
    copy has the frames shown at 0, 1/max_fps, 2/max_fps, ... s. folder_fps: the rate of a folder of
    frames. Raises VideoError for a source that cannot be read to its end, or whose frames are not
    all in the copy; OutputError for a copy that cannot be written.
    """
    with output_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    if member is None and Path(path).is_dir():
        _write(path, target, _folder_frames(Path(path), folder_fps), folder_fps, config)
        return
    times = _times_of_packets(path, member)
    if times is not None:
        try:
            with open_video(path, member) as video:
                _write(video.name, target, _file_frames(video, times), times.fps, config)
            return
        except VideoError:
            pass  # the analysis tells what is wrong, or finds the times
    times = _analysed_times(path, member)
    with open_video(path, member) as video:
        _write(video.name, target, _file_frames(video, times), times.fps, config)


@dataclass(frozen=True)
class _Times:
    """When the frames of a video are shown, before they are decoded."""

    ticks: np.ndarray | None  # int64 [F]; None: only decoded frames state it
    frames: int
    fps: float
    exact: bool  # each frame must be shown at its tick, else the times are not reliable


def _times_of_packets(path: str, member: str | None) -> _Times | None:
    """The times that the packets state; None if they have to be analysed.

    `analyse_timing` decodes some frames to check such times. Here all frames are decoded afterwards and checked.
    """
    with open_video(path, member) as video:
        timeline = scan_packets(video)
        if timeline.cut_off or not len(timeline.ticks) or reason_by_kind(video, timeline):
            return None
        start_s, stop_s = timeline.span_s(video.ticks_per_s)
    return _Times(timeline.ticks, len(timeline.ticks), len(timeline.ticks) / (stop_s - start_s), exact=True)


def _analysed_times(path: str, member: str | None) -> _Times:
    """The times that an analysis finds. Raises VideoError."""
    found = analyse_timing(path, member)
    frames = len(found.ticks)
    ticks = None if found.timing == "frames" else found.ticks
    return _Times(ticks, frames, frames / (found.stop_s - found.start_s), exact=found.timing == "packets")


def _write(name: str, target: Path, frames: Iterator[TimedFrame], fps: float, config: TranscodeConfig) -> None:
    if config.max_fps is not None and fps > config.max_fps:
        frames, fps = _at_reduced_rate(frames, config.max_fps), config.max_fps
    with atomic_path(target) as part:
        with open_output(part, format="mp4", options={"movflags": "faststart"}) as out:
            written = _encode(out, target, frames, fps, config)
        with open_video(part) as video:  # copies have no B frames: a packet is a frame
            copied = sum(packet.size > 0 for packet in video.packets())
        if copied != written:
            raise VideoError(name, "frames lost", f"{written} frames were written to its copy, which has {copied}")


def _encode(out: OutputContainer, target: Path, frames: Iterator[TimedFrame], fps: float, config: TranscodeConfig) -> int:
    """Encode all frames, each shown for as long as in the source. Returns their number."""
    rate = Fraction(fps).limit_denominator(1001) or Fraction(1, 1001)  # of a time lapse; times are those of the frames
    stream = out.add_stream("libx264", rate=rate, options=X264)
    stream.pix_fmt, clock = "yuv420p", Fraction(1, CLOCK_HZ)
    stream.codec_context.time_base, stream.codec_context.gop_size, stream.codec_context.thread_count = clock, config.gop, 1
    durations: dict[int, int] = {}  # of the frames in the encoder, by presentation time
    # The encoder would also convert the colours itself, with as many threads as there are cores.
    reformatter, converter = VideoReformatter(), None
    count = 0
    for timed in frames:
        count += 1
        if converter is None:
            shown = timed.orientation.shown_size(timed.frame.height, timed.frame.width)
            stream.height, stream.width = size = _copy_size(*shown, config.short_side_px)
            converter = FrameConverter(size)
        image = converter.convert(timed.frame, timed.orientation)
        rgb = VideoFrame.from_numpy_buffer(np.ascontiguousarray(image), format="rgb24")
        frame = reformatter.reformat(rgb, format="yuv420p", threads=1)
        frame.pts, frame.time_base = round(timed.start_s * CLOCK_HZ), clock
        durations[frame.pts] = max(1, round(timed.stop_s * CLOCK_HZ) - frame.pts)
        mux(out, _with_durations(stream.encode(frame), durations), target)
    mux(out, _with_durations(stream.encode(None), durations), target)
    return count


def _with_durations(packets: list[Packet], durations: dict[int, int]) -> list[Packet]:
    """The packets with the durations of their frames."""
    for packet in packets:
        assert packet.pts is not None
        packet.duration = durations.pop(packet.pts)
    return packets


def _file_frames(video: Video, times: _Times) -> Iterator[TimedFrame]:
    first, count = 0, 0
    waiting: TimedFrame | None = None  # the last frame, until the time of the next one is known
    for count, shown in enumerate(frames_from_start(video, times.ticks), start=1):
        if shown.damaged:
            raise damaged_frame(video, count - 1)
        if times.exact and not shown.timed:
            raise video.error("unreliable times", f"frame {count - 1} is not shown at the time of its packet")
        if count == 1:
            first = shown.tick
        start_s, stop_s = (shown.tick - first) / video.ticks_per_s, (shown.end_tick - first) / video.ticks_per_s
        if waiting is not None:
            yield replace(waiting, stop_s=start_s)
        waiting = TimedFrame(start_s, stop_s, shown.frame, orientation_of(shown.frame, video.stream))
    if waiting is not None:
        yield waiting
    if count != times.frames:
        raise video.error("frames lost", f"{times.frames} frames were counted, {count} can be decoded")


def _folder_frames(folder: Path, fps: float) -> Iterator[TimedFrame]:
    for index, name in enumerate(frame_names(folder)):
        yield TimedFrame(index / fps, (index + 1) / fps, VideoFrame.from_ndarray(open_frame(folder / name), format="rgb24"))


def _copy_size(height: int, width: int, short_side_px: int) -> tuple[int, int]:
    """(height, width) of the copy: not enlarged, and even numbers, as H.264 requires."""
    height, width = target_size(height, width, min(short_side_px, height, width))
    return max(2, height // 2 * 2), max(2, width // 2 * 2)


def _at_reduced_rate(frames: Iterator[TimedFrame], max_fps: float) -> Iterator[TimedFrame]:
    """The frames shown at the times 0, 1/max_fps, 2/max_fps and so on, in seconds.

    Each frame occurs once, with its own start time.
    """
    step = 0  # the next of these times, in units of 1/max_fps
    waiting: TimedFrame | None = None
    end_s = 0.0
    for timed in frames:
        end_s = timed.stop_s
        if not _before(step, max_fps, timed.stop_s):
            continue
        while _before(step, max_fps, timed.stop_s):
            step += 1
        if waiting is not None:
            yield replace(waiting, stop_s=timed.start_s)
        waiting = timed
    if waiting is not None:
        yield replace(waiting, stop_s=end_s)


def _before(step: int, max_fps: float, time_s: float) -> bool:
    return step / max_fps + 1e-6 < time_s
