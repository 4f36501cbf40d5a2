"""Write videos atomically: an .mp4 that plays everywhere, a lossless .mp4, or a .gif."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import OutputContainer
from av.filter import Graph
from av.packet import Packet
from av.video.format import VideoFormat
from av.video.frame import VideoFrame

from worldmodel.files.atomic import atomic_path
from worldmodel.files.output_errors import output_errors

LOSSY: dict[str, object] = {"crf": "18", "preset": "medium"}
LOSSLESS: dict[str, object] = {"qp": "0", "preset": "veryfast", "tune": "fastdecode"}


def write_video(path: Path | str, frames: np.ndarray, fps: float, *, lossless: bool = False) -> None:
    """Write frames uint8 [T, H, W, 3] in the format of the suffix of `path`; the file appears whole or not at all.

    .mp4: H.264 yuv420p (odd sizes are padded by repeating the edge), or with lossless=True H.264 in RGB, which decodes to equal
    frames. .gif: one palette for the whole video, times rounded to 10 ms, the resolution of a GIF.
    Raises OutputError if the file cannot be written, ValueError for other arrays or suffixes.
    """
    path, frames = Path(path), np.asarray(frames)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or not frames.size:
        raise ValueError(f"write_video: expected uint8 [T, H, W, 3], got {frames.dtype} {list(frames.shape)}")
    if path.suffix.lower() == ".gif" and not lossless:
        _write_gif(path, frames, _rational(fps))
    elif path.suffix.lower() == ".mp4":
        _write_mp4(path, frames, _rational(fps), lossless)
    else:
        raise ValueError(f"write_video: {path.name}: expected a name ending in .mp4, or in .gif for a lossy video")


def _rational(fps: float) -> Fraction:
    """The exact frame rate: 29.97 stands for 30000/1001, as in cameras. A whole number is used as it is."""
    if not 0 < fps < 1e5:
        raise ValueError(f"write_video: fps={fps!r}: expected frames per second, more than 0")
    nominal = round(fps * 1.001)
    ntsc = Fraction(nominal * 1000, 1001)
    if nominal >= 24 and nominal % 6 == 0 and abs(float(ntsc) - fps) < 0.005:  # 23.976, 29.97, 47.952, 59.94, ...
        return ntsc
    return Fraction(fps).limit_denominator(1001) or 1 / Fraction(1 / fps).limit_denominator(1001)


@contextmanager
def open_output(path: Path, **options: Any) -> Iterator[OutputContainer]:
    """Open a container to write a video with `av.open`. Raises OutputError if it cannot be opened or finished."""
    with output_errors(path):
        container = av.open(path, "w", **options)
    try:
        yield container
    except BaseException:
        with suppress(Exception):  # the first error is reported, and the file is discarded
            container.close()
        raise
    with output_errors(path):
        container.close()


def mux(container: OutputContainer, packets: list[Packet], path: Path) -> None:
    """Write packets. Raises OutputError if the file `path` cannot be written."""
    with output_errors(path):
        container.mux(packets)


def _write_mp4(path: Path, frames: np.ndarray, fps: Fraction, lossless: bool) -> None:
    if not lossless:
        frames = np.pad(frames, [(0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0)], mode="edge")
    with atomic_path(path) as part, open_output(part, format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264rgb" if lossless else "libx264", rate=fps)
        stream.options = LOSSLESS if lossless else LOSSY
        stream.pix_fmt = "rgb24" if lossless else "yuv420p"
        stream.height, stream.width = frames.shape[1:3]
        stream.codec_context.gop_size = 24
        stream.codec_context.thread_count = 1 if frames[0].size < 1 << 18 else 0  # threads do not speed up a small video
        for frame in _timed(frames, fps):
            mux(container, stream.encode(frame), path)
        mux(container, stream.encode(None), path)


def _write_gif(path: Path, frames: np.ndarray, fps: Fraction) -> None:
    with atomic_path(path) as part, open_output(part, format="gif") as container:
        stream = container.add_stream("gif", rate=fps)
        stream.pix_fmt = "pal8"
        stream.height, stream.width = frames.shape[1:3]
        for frame in _with_palette(_timed(frames, fps), stream.width, stream.height, fps):
            mux(container, stream.encode(frame), path)
        mux(container, stream.encode(None), path)


def _timed(frames: np.ndarray, fps: Fraction) -> Iterator[VideoFrame]:
    for index, image in enumerate(frames):
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame.pts, frame.time_base = index, 1 / fps
        yield frame


def _with_palette(frames: Iterable[VideoFrame], width: int, height: int, fps: Fraction) -> Iterator[VideoFrame]:
    """The frames in the 256 colours that fit the whole video best."""
    graph = Graph()
    source = graph.add_buffer(width=width, height=height, format=VideoFormat("rgb24"), time_base=1 / fps)
    split, palette = graph.add("split"), graph.add("palettegen", "stats_mode=full")
    use, sink = graph.add("paletteuse", "dither=sierra2_4a"), graph.add("buffersink")
    source.link_to(split)
    split.link_to(palette, output_idx=0)
    split.link_to(use, output_idx=1)
    palette.link_to(use, input_idx=1)
    use.link_to(sink)
    graph.configure()
    for frame in frames:
        source.push(frame)
    source.push(None)
    while True:
        try:
            converted = sink.pull()
        except (av.error.EOFError, av.error.BlockingIOError):
            return
        assert isinstance(converted, VideoFrame)
        yield converted
