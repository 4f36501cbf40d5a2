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
from worldmodel.video import VideoError, inspect_video
from worldmodel.video.container.decode_in_order import damaged_frame, frames_from_start
from worldmodel.video.container.opening import Video, open_video
from worldmodel.video.container.timing import TimingAnalysis, analyse_timing
from worldmodel.video.frame_folder.frames import frame_names, open_frame
from worldmodel.video.orientation import orientation_of
from worldmodel.video.resize import FrameConverter, target_size
from worldmodel.video.write import mux, open_output

# tune fastdecode: no CABAC, no loop filter, no weighted prediction
X264 = {"preset": "fast", "crf": "18", "tune": "fastdecode", "bf": "0", "refs": "1"}
if platform.machine().lower() in ("x86_64", "amd64"):
    # x264's code for AVX-512 gives other bytes in some processes. Without AVX2 all processors give
    # the same bytes.
    X264["x264-params"] = "asm=mmx2,sse2,sse2fast,ssse3,sse4.2"
CLOCK_HZ = 90_000  # unit of the time stamps of the copies


@dataclass(frozen=True)
class TimedImage:
    """An image, uint8 [H, W, 3], shown from `start_s` to `stop_s` (seconds since the first frame)."""

    start_s: float
    stop_s: float
    image: np.ndarray


@dataclass(frozen=True)
class TranscodeConfig:
    """Properties of the copies."""

    short_side_px: int  # upper bound, since videos are not enlarged
    max_fps: float | None
    gop: int  # frames from one keyframe to the next


def transcode_video(path: str, member: str | None, target: Path, config: TranscodeConfig, folder_fps: float = 10.0) -> None:
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
        _write(path, target, _folder_frames(Path(path), folder_fps, config), folder_fps, config)
        return
    analysis = analyse_timing(path, member)
    fps = analysis.frames / (analysis.stop_s - analysis.start_s)
    with open_video(path, member) as video:
        _write(video.name, target, _file_frames(video, analysis, config), fps, config)


def _write(name: str, target: Path, frames: Iterator[TimedImage], fps: float, config: TranscodeConfig) -> None:
    if config.max_fps is not None and fps > config.max_fps:
        frames, fps = _at_reduced_rate(frames, config.max_fps), config.max_fps
    with atomic_path(target) as part:
        with open_output(part, format="mp4", options={"movflags": "faststart"}) as out:
            written = _encode(out, target, frames, fps, config.gop)
        copied = inspect_video(part).frames
        if copied != written:
            raise VideoError(name, "frames lost", f"{written} frames were written to its copy, which has {copied}")


def _encode(out: OutputContainer, target: Path, frames: Iterator[TimedImage], fps: float, gop: int) -> int:
    """Encode all frames, each shown for as long as in the source. Returns their number."""
    stream = out.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options=X264)
    stream.pix_fmt, clock = "yuv420p", Fraction(1, CLOCK_HZ)
    stream.codec_context.time_base, stream.codec_context.gop_size, stream.codec_context.thread_count = clock, gop, 1
    durations: dict[int, int] = {}  # of the frames in the encoder, by presentation time
    # The encoder would also convert the colours itself, with as many threads as there are cores.
    reformatter = VideoReformatter()
    count = 0
    for count, timed in enumerate(frames, start=1):
        if count == 1:
            stream.height, stream.width = timed.image.shape[:2]
        rgb = VideoFrame.from_numpy_buffer(np.ascontiguousarray(timed.image), format="rgb24")
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


def _file_frames(video: Video, analysis: TimingAnalysis, config: TranscodeConfig) -> Iterator[TimedImage]:
    ticks = None if analysis.timing == "frames" else analysis.timeline.ticks
    first, count, converter = 0, 0, None
    waiting: TimedImage | None = None  # the last frame, until the time of the next one is known
    for count, shown in enumerate(frames_from_start(video, ticks), start=1):
        if shown.damaged:
            raise damaged_frame(video, count - 1)
        if analysis.timing == "packets" and not shown.timed:
            raise video.error("unreliable times", f"frame {count - 1} is not shown at the time of its packet")
        orientation = orientation_of(shown.frame, video.stream)
        if converter is None:
            first = shown.tick
            size = orientation.shown_size(shown.frame.height, shown.frame.width)
            converter = FrameConverter(_copy_size(*size, config.short_side_px))
        start_s, stop_s = (shown.tick - first) / video.ticks_per_s, (shown.end_tick - first) / video.ticks_per_s
        if waiting is not None:
            yield replace(waiting, stop_s=start_s)
        waiting = TimedImage(start_s, stop_s, converter.convert(shown.frame, orientation))
    if waiting is not None:
        yield waiting
    if count != analysis.frames:
        raise video.error("frames lost", f"{analysis.frames} frames were counted, {count} can be decoded")


def _folder_frames(folder: Path, fps: float, config: TranscodeConfig) -> Iterator[TimedImage]:
    converter = None
    for index, name in enumerate(frame_names(folder)):
        image = open_frame(folder / name)
        converter = converter or FrameConverter(_copy_size(image.shape[0], image.shape[1], config.short_side_px))
        yield TimedImage(index / fps, (index + 1) / fps, converter.convert(VideoFrame.from_ndarray(image, format="rgb24")))


def _copy_size(height: int, width: int, short_side_px: int) -> tuple[int, int]:
    """(height, width) of the copy: not enlarged, and even numbers, as H.264 requires."""
    height, width = target_size(height, width, min(short_side_px, height, width))
    return max(2, height // 2 * 2), max(2, width // 2 * 2)


def _at_reduced_rate(frames: Iterator[TimedImage], max_fps: float) -> Iterator[TimedImage]:
    """The frames shown at the times 0, 1/max_fps, 2/max_fps and so on, in seconds.

    Each frame occurs once, with its own start time.
    """
    step = 0  # the next of these times, in units of 1/max_fps
    waiting: TimedImage | None = None
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
