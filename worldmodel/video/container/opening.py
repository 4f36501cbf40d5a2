"""Opening a container with PyAV: the best video stream, one thread, no other file or address, always closed again."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from worldmodel.video import errors
from worldmodel.video.container.formats import is_pattern, options, playlist
from worldmodel.video.container.source import locate, open_bytes, shown_name
from worldmodel.video.container.structure import container_by_head, is_cut_off
from worldmodel.video.errors import VideoError, check_pixels

STATES_ITS_START = {"mov", "matroska"}  # containers whose statement of the first frame's time is right
# Containers that store when each frame is shown. The others store one time a packet, at which it is decoded, or none at all;
# what FFmpeg then reports as presentation time is a guess, which is wrong where frames are reordered.
STORES_PRESENTATION_TIMES = {"mov", "matroska", "flv", "mpegts", "mpeg", "nut"}
FIRST_KEYFRAME_WITHIN_S = 30.0  # seconds of packets that are searched for the first keyframe
HEAD_BYTES = 4096  # of a file, in which a playlist is looked for
REORDERS = 8  # FFmpeg's AV_CODEC_PROP_REORDER: frames of this codec may be decoded in another order than they are shown


@dataclass(frozen=True)
class Video:
    """An open container and the video stream chosen in it."""

    name: str  # for messages
    container: InputContainer
    stream: VideoStream
    start_tick: int  # presentation time of the first frame, in ticks of the stream

    @cached_property
    def ticks_per_s(self) -> float:
        assert self.stream.time_base is not None
        return 1.0 / float(self.stream.time_base)

    @cached_property
    def frame_ticks(self) -> float:
        """How long a frame is shown on average, in ticks, as the container states it."""
        return self.ticks_per_s / float(self.stream.average_rate or 25)

    def packets(self) -> Iterator[Packet]:
        """The packets of the stream from here on, an empty one at the end."""
        return _packets(self.container, self.stream)

    def frames(self) -> Iterator[VideoFrame]:
        """Frames decoded from here on."""
        for packet in self.packets():
            yield from self.stream.codec_context.decode(packet)

    def shown_for(self, duration: int | None) -> float:
        """How long, in ticks, a last frame of the stated duration is shown: not shorter than frames are on average."""
        return max(duration or 0, self.frame_ticks)

    @property
    def kind(self) -> str:
        """FFmpeg's name of the container, the first of several: "mov" for MP4, "matroska" for WebM."""
        return self.container.format.name.split(",")[0]

    @property
    def states_its_start(self) -> bool:
        return self.kind in STATES_ITS_START

    @property
    def stores_presentation_times(self) -> bool:
        return self.kind in STORES_PRESENTATION_TIMES

    @property
    def may_reorder(self) -> bool:
        """Whether frames of this codec can be decoded in another order than they are shown."""
        return bool(self.stream.codec_context.codec.properties & REORDERS)

    @property
    def codec(self) -> str:
        """The name of the codec, whichever library decodes it."""
        return self.stream.codec_context.codec.canonical_name

    def error(self, reason: str, detail: str = "") -> VideoError:
        return VideoError(self.name, reason, detail)


@contextmanager
def open_video(path: Path | str, member: str | None = None) -> Iterator[Video]:
    """Open a video file or tar member for reading. Raises VideoError for anything that cannot be opened as a video."""
    name = shown_name(path, member)
    locate(path, member)
    with _opened(name, path, member) as (container, stream):
        if container.format.name.split(",")[0] in STATES_ITS_START:
            yield Video(name, container, stream, stream.start_time or 0)
            return
        start_tick = _first_tick(container, stream)
    with _opened(name, path, member) as (container, stream):
        yield Video(name, container, stream, start_tick)


@contextmanager
def _opened(name: str, path: Path | str, member: str | None) -> Iterator[tuple[InputContainer, VideoStream]]:
    if member is None and not is_pattern(path):
        with _container(name, path, os.path.abspath(path)) as container:  # absolute: "http:x.mp4" is a file, too
            yield container, _best_stream(name, container, path, member)
        return
    with open_bytes(path, member) as file, _container(name, path, file) as container:
        yield container, _best_stream(name, container, path, member)


def _packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet]:
    """`container.demux`, closed also where its reader stops early: PyAV 18.1 then frees its packet only if it is closed."""
    with closing(container.demux(stream)) as packets:  # type: ignore[type-var]  # it is a generator
        yield from packets


def _first_tick(container: InputContainer, stream: VideoStream) -> int:
    """Presentation time of the first frame, from the first packets: AVI states 0 also where B frames delay it.

    In a recording that begins in the middle of a broadcast, nothing before the first keyframe can be decoded.
    """
    first = None
    for packet in _packets(container, stream):
        if packet.pts is None:
            break
        if packet.is_keyframe:
            return packet.pts
        first = packet.pts if first is None else min(first, packet.pts)
        if packet.dts is not None and packet.dts - first > FIRST_KEYFRAME_WITHIN_S / float(stream.time_base or 1):
            break
    return first if first is not None else stream.start_time or 0


@contextmanager
def _container(name: str, path: Path | str, source: Any) -> Iterator[InputContainer]:
    try:
        only = options("file" if isinstance(source, str) else "none")
        container = av.open(source, options=only, metadata_errors="replace")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise _why_unreadable(name, path, source, error) from None
    try:
        yield container
    except av.error.FFmpegError as error:
        raise VideoError(name, "corrupt", f"the decoder gave up ({error.strerror or error})") from None
    finally:
        container.close()


def _why_unreadable(name: str, path: Path | str, source: Any, error: Exception) -> VideoError:
    """A file that FFmpeg cannot open, or must not: a playlist; cut short, if its head is that of a container; else no video."""
    if isinstance(source, str):
        with open_bytes(path, None) as file:
            kind, listing = container_by_head(file), _playlist(file)
    else:
        kind, listing = container_by_head(source), _playlist(source)
    if listing is not None:
        detail = f"it is a playlist ({listing}), which names other files, and not a video; give the videos themselves"
        return VideoError(name, "playlist", detail)
    if kind is not None:
        return VideoError(name, "truncated", f"begins like {kind}, but its index is missing or cut off ({error})")
    return VideoError(
        name, "not a video", "it is none of the kinds of video that are read (worldmodel/video/container/formats.py)"
    )


def _playlist(file: io.RawIOBase) -> str | None:
    file.seek(0)
    return playlist(file.read(HEAD_BYTES) or b"")


def _best_stream(name: str, container: InputContainer, path: Path | str, member: str | None) -> VideoStream:
    """FFmpeg's choice among the video streams, cover pictures left out. Decodes with one thread."""
    moving = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not moving and container.format.name.startswith("mov"):
        with open_bytes(path, member) as file:
            if is_cut_off(file):
                raise VideoError(name, "truncated", "begins like mp4, but its index is cut off")
    if not moving:
        raise VideoError(name, "no video stream", "it has no video stream (audio only?)")
    best = container.streams.best("video")
    stream = best if isinstance(best, VideoStream) and best in moving else moving[0]
    if stream.codec_context is None:
        raise VideoError(name, "unreadable codec", "this build of FFmpeg has no decoder for its video stream")
    check_pixels(name, stream.codec_context.height, stream.codec_context.width)
    stream.codec_context.options = {"max_pixels": str(errors.MAX_PIXELS)}  # its size may change within the stream
    stream.codec_context.thread_count = 1
    return stream
