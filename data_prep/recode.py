"""One video -> one small copy that decodes fast: short GOPs, no B frames, no loop filter, rotation applied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.container import OutputContainer
from av.video.frame import VideoFrame

from worldmodel.video.container import Video, open_video, turn_deg
from worldmodel.video.errors import output_errors
from worldmodel.video.frame_folder import frame_names, open_frame
from worldmodel.video.resize import Drawer, target_size
from worldmodel.video.write import beside, mux, open_output

# tune fastdecode: no CABAC, no loop filter, no weighted prediction
X264 = {"preset": "fast", "crf": "18", "tune": "fastdecode", "bf": "0", "refs": "1"}
CLOCK_HZ = 90_000  # the clock of the copies

Timed = Iterator[tuple[float, np.ndarray]]  # seconds since the first frame, image uint8 [H, W, 3]


@dataclass(frozen=True)
class Recipe:
    """What the copies are like."""

    short_side_px: int  # never enlarged
    max_fps: float | None
    gop: int  # frames from keyframe to keyframe


def recode(path: str, member: str | None, target: Path, recipe: Recipe, folder_fps: float = 10.0) -> None:
    """Write the copy; it appears whole or not at all. Frames keep their times, counted from the first frame.

    Where the source has more than `max_fps`, the copy has the frames that it shows at 0, 1/max_fps, 2/max_fps, ... s.
    Raises VideoError for a source that cannot be read to its end, OutputError for a copy that cannot be written.
    """
    with output_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    if member is None and Path(path).is_dir():
        _write(target, _folder_frames(Path(path), folder_fps, recipe), folder_fps, recipe)
        return
    with open_video(path, member) as video:
        _write(target, _file_frames(video, recipe), float(video.stream.average_rate or 25), recipe)


def _write(target: Path, frames: Timed, fps: float, recipe: Recipe) -> None:
    if recipe.max_fps is not None and fps > recipe.max_fps:
        frames, fps = _thinned(frames, fps, recipe.max_fps), recipe.max_fps
    with beside(target) as part, open_output(part, format="mp4", options={"movflags": "faststart"}) as out:
        _encode(out, target, frames, fps, recipe.gop)


def _encode(out: OutputContainer, target: Path, frames: Timed, fps: float, gop: int) -> None:
    stream = out.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options=X264)
    stream.pix_fmt, clock = "yuv420p", Fraction(1, CLOCK_HZ)
    stream.codec_context.time_base, stream.codec_context.gop_size, stream.codec_context.thread_count = clock, gop, 1
    for place, (time_s, image) in enumerate(frames):
        if place == 0:
            stream.height, stream.width = image.shape[:2]
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame.pts, frame.time_base, frame.duration = round(time_s * CLOCK_HZ), clock, round(CLOCK_HZ / fps)
        mux(out, stream.encode(frame), target)
    mux(out, stream.encode(None), target)


def _file_frames(video: Video, recipe: Recipe) -> Timed:
    first, last, drawer = None, -1, None
    for frame in video.container.decode(video.stream):
        if frame.is_corrupt:
            raise video.error("corrupt", f"the frame at tick {frame.pts} is damaged")
        turn = turn_deg(frame)
        if drawer is None:
            height, width = (frame.width, frame.height) if turn % 180 == 90 else (frame.height, frame.width)
            drawer = Drawer(_copy_size(height, width, recipe.short_side_px))
        tick = frame.pts if frame.pts is not None else last + round(video.frame_ticks)
        first = tick if first is None else first
        if tick > last or last < 0:  # a clock that stands still shows nothing new
            yield (tick - first) / video.ticks_per_s, drawer.draw(frame, turn)
        last = tick


def _folder_frames(folder: Path, fps: float, recipe: Recipe) -> Timed:
    drawer = None
    for place, name in enumerate(frame_names(folder)):
        image = open_frame(folder / name)
        drawer = drawer or Drawer(_copy_size(image.shape[0], image.shape[1], recipe.short_side_px))
        yield place / fps, drawer.draw(VideoFrame.from_ndarray(image, format="rgb24"), turn_deg=0)


def _copy_size(height: int, width: int, short_side_px: int) -> tuple[int, int]:
    """(height, width) of the copy: not enlarged, even, as H.264 wants them."""
    height, width = target_size(height, width, min(short_side_px, height, width))
    return max(2, height // 2 * 2), max(2, width // 2 * 2)


def _thinned(frames: Timed, fps: float, max_fps: float) -> Timed:
    """The frames shown at 0, 1/max_fps, 2/max_fps, ... s, each once and at its own time."""
    moment, shown = 0, None  # the next of those moments, the frame that may be shown at it
    for time_s, image in frames:
        if shown is not None and _before(moment, max_fps, time_s):
            yield shown
        while _before(moment, max_fps, time_s):
            moment += 1
        shown = time_s, image
    if shown is not None and _before(moment, max_fps, shown[0] + 1 / fps):
        yield shown


def _before(moment: int, max_fps: float, time_s: float) -> bool:
    return moment / max_fps + 1e-6 < time_s
