"""One video -> one small copy that decodes fast: short GOPs, no B frames, no loop filter, as shown."""

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

from worldmodel.files.atomic import replacing
from worldmodel.files.output_errors import output_errors
from worldmodel.video import VideoError, orientation, probe
from worldmodel.video.backends.in_order import damaged_frame, frames_from_start
from worldmodel.video.container.opening import Video, open_video
from worldmodel.video.container.timing import Examined, examine
from worldmodel.video.frame_folder.frames import frame_names, open_frame
from worldmodel.video.resize import Drawer, target_size
from worldmodel.video.write import mux, open_output

# tune fastdecode: no CABAC, no loop filter, no weighted prediction
X264 = {"preset": "fast", "crf": "18", "tune": "fastdecode", "bf": "0", "refs": "1"}
if platform.machine().lower() in ("x86_64", "amd64"):
    # x264's code for AVX-512 gives other bytes in some processes. Without AVX2 all these processors give the same.
    X264["x264-params"] = "asm=mmx2,sse2,sse2fast,ssse3,sse4.2"
CLOCK_HZ = 90_000  # the clock of the copies


@dataclass(frozen=True)
class Timed:
    """An image, uint8 [H, W, 3], shown from `start_s` to `stop_s` (seconds since the first frame)."""

    start_s: float
    stop_s: float
    image: np.ndarray


@dataclass(frozen=True)
class Recipe:
    """What the copies are like."""

    short_side_px: int  # never enlarged
    max_fps: float | None
    gop: int  # frames from keyframe to keyframe


def recode(path: str, member: str | None, target: Path, recipe: Recipe, folder_fps: float = 10.0) -> None:
    """Write the copy; it appears whole or not at all. Frames keep their times, counted from the first frame.

    The copy has every frame of the source; where the source has more than `max_fps`, those that it shows at 0, 1/max_fps,
    2/max_fps, ... s. Raises VideoError for a source that cannot be read to its end, or whose frames are not all found again;
    OutputError for a copy that cannot be written.
    """
    with output_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    if member is None and Path(path).is_dir():
        _write(path, target, _folder_frames(Path(path), folder_fps, recipe), folder_fps, recipe)
        return
    examined = examine(path, member)
    fps = examined.frames / (examined.stop_s - examined.start_s)
    with open_video(path, member) as video:
        _write(video.name, target, _file_frames(video, examined, recipe), fps, recipe)


def _write(name: str, target: Path, frames: Iterator[Timed], fps: float, recipe: Recipe) -> None:
    if recipe.max_fps is not None and fps > recipe.max_fps:
        frames, fps = _thinned(frames, recipe.max_fps), recipe.max_fps
    with replacing(target) as part:
        with open_output(part, format="mp4", options={"movflags": "faststart"}) as out:
            written = _encode(out, target, frames, fps, recipe.gop)
        copied = probe(part).frames
        if copied != written:
            raise VideoError(name, "frames lost", f"{written} frames were written to its copy, which shows {copied}")


def _encode(out: OutputContainer, target: Path, frames: Iterator[Timed], fps: float, gop: int) -> int:
    """The number of frames written. Every frame is shown for as long as in the source, the last one too."""
    stream = out.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options=X264)
    stream.pix_fmt, clock = "yuv420p", Fraction(1, CLOCK_HZ)
    stream.codec_context.time_base, stream.codec_context.gop_size, stream.codec_context.thread_count = clock, gop, 1
    lengths: dict[int, int] = {}  # of the frames in the encoder, by presentation time
    count = 0
    for count, timed in enumerate(frames, start=1):
        if count == 1:
            stream.height, stream.width = timed.image.shape[:2]
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(timed.image), format="rgb24")
        frame.pts, frame.time_base = round(timed.start_s * CLOCK_HZ), clock
        lengths[frame.pts] = max(1, round(timed.stop_s * CLOCK_HZ) - frame.pts)
        mux(out, _lasting(stream.encode(frame), lengths), target)
    mux(out, _lasting(stream.encode(None), lengths), target)
    return count


def _lasting(packets: list[Packet], lengths: dict[int, int]) -> list[Packet]:
    """The packets, each with the length of its frame."""
    for packet in packets:
        assert packet.pts is not None
        packet.duration = lengths.pop(packet.pts)
    return packets


def _file_frames(video: Video, examined: Examined, recipe: Recipe) -> Iterator[Timed]:
    ticks = None if examined.timing == "frames" else examined.timeline.ticks
    first, count, drawer = 0, 0, None
    waiting: Timed | None = None  # until the next frame tells how long it is shown
    for count, shown in enumerate(frames_from_start(video, ticks), start=1):
        if shown.damaged:
            raise damaged_frame(video, count - 1)
        if examined.timing == "packets" and not shown.timed:
            raise video.error("unreliable times", f"frame {count - 1} is not shown at the time of its packet")
        how = orientation.of(shown.frame, video.stream)
        if drawer is None:
            first = shown.tick
            size = how.shown_size(shown.frame.height, shown.frame.width)
            drawer = Drawer(_copy_size(*size, recipe.short_side_px))
        start_s, stop_s = (shown.tick - first) / video.ticks_per_s, (shown.end_tick - first) / video.ticks_per_s
        if waiting is not None:
            yield replace(waiting, stop_s=start_s)
        waiting = Timed(start_s, stop_s, drawer.draw(shown.frame, how))
    if waiting is not None:
        yield waiting
    if count != examined.frames:
        raise video.error("frames lost", f"{examined.frames} frames were counted, {count} can be decoded")


def _folder_frames(folder: Path, fps: float, recipe: Recipe) -> Iterator[Timed]:
    drawer = None
    for place, name in enumerate(frame_names(folder)):
        image = open_frame(folder / name)
        drawer = drawer or Drawer(_copy_size(image.shape[0], image.shape[1], recipe.short_side_px))
        yield Timed(place / fps, (place + 1) / fps, drawer.draw(VideoFrame.from_ndarray(image, format="rgb24")))


def _copy_size(height: int, width: int, short_side_px: int) -> tuple[int, int]:
    """(height, width) of the copy: not enlarged, even, as H.264 wants them."""
    height, width = target_size(height, width, min(short_side_px, height, width))
    return max(2, height // 2 * 2), max(2, width // 2 * 2)


def _thinned(frames: Iterator[Timed], max_fps: float) -> Iterator[Timed]:
    """The frames shown at 0, 1/max_fps, 2/max_fps, ... s, each once and from its own time on."""
    step = 0  # the next of those times, in units of 1/max_fps
    waiting: Timed | None = None
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
