"""Open a container with PyAV: choose the best video stream, decode with one thread, open no other file, always close."""

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

from worldmodel.storage.urls import is_url
from worldmodel.video import errors
from worldmodel.video.container.formats import is_pattern, open_options, playlist_kind
from worldmodel.video.container.source import locate, open_bytes, shown_name
from worldmodel.video.container.structure import container_by_head, is_cut_off
from worldmodel.video.errors import VideoError, check_pixels

STATES_START_TIME = {"mov", "matroska"}  # containers that state the time of the first frame correctly
# Containers that store when each frame is shown. The others store one time per packet, at which it is decoded, or none at
# all. FFmpeg then guesses the presentation times, and the guess is wrong if frames are reordered.
STORES_PRESENTATION_TIMES = {"mov", "matroska", "flv", "mpegts", "mpeg", "nut"}
FIRST_KEYFRAME_WITHIN_S = 30.0  # seconds of packets that are searched for the first keyframe
HEAD_BYTES = 4096  # bytes at the start of a file that are searched for a playlist
REORDERS = 8  # FFmpeg's AV_CODEC_PROP_REORDER: frames of the codec may be decoded in another order than they are shown


@dataclass(frozen=True)
class Video:
    """An open container and the chosen video stream."""

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
        """Average duration of a frame in ticks, as the container states it."""
        return self.ticks_per_s / float(self.stream.average_rate or 25)

    def packets(self) -> Iterator[Packet]:
        """Packets of the stream from the current position on, with an empty one at the end."""
        return _packets(self.container, self.stream)

    def frames(self) -> Iterator[VideoFrame]:
        """Frames decoded from the current position on."""
        for packet in self.packets():
            yield from self.stream.codec_context.decode(packet)

    def last_frame_ticks(self, stated: int | None) -> float:
        """Duration of a last frame with the stated duration, in ticks: not shorter than the average duration."""
        return max(stated or 0, self.frame_ticks)

    @property
    def kind(self) -> str:
        """FFmpeg's name of the container, the first of several: "mov" for MP4, "matroska" for WebM."""
        return self.container.format.name.split(",")[0]

    @property
    def states_start_time(self) -> bool:
        """Whether the container states the time of the first frame correctly."""
        return self.kind in STATES_START_TIME

    @property
    def stores_presentation_times(self) -> bool:
        """Whether the container stores when each frame is shown."""
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
        """A VideoError about this video."""
        return VideoError(self.name, reason, detail)

    def no_frames(self) -> VideoError:
        """The VideoError for a stream without frames."""
        return self.error("zero frames", "it has a video stream, but no frame in it")


@contextmanager
def open_video(path: Path | str, member: str | None = None) -> Iterator[Video]:
    """Open a video file or tar member for reading. Raises VideoError for everything that cannot be opened as a video."""
    name = shown_name(path, member)
    locate(path, member)
    with _opened(name, path, member) as (container, stream):
        if container.format.name.split(",")[0] in STATES_START_TIME:
            yield Video(name, container, stream, stream.start_time or 0)
            return
        start_tick = _first_tick(container, stream)
    with _opened(name, path, member) as (container, stream):
        yield Video(name, container, stream, start_tick)


@contextmanager
def _opened(name: str, path: Path | str, member: str | None) -> Iterator[tuple[InputContainer, VideoStream]]:
    if member is None and not is_pattern(path) and not is_url(path):
        with _container(name, path, os.path.abspath(path)) as container:  # absolute: a file may be named "http:x.mp4"
            yield container, _best_stream(name, container, path, member)
        return
    with open_bytes(path, member) as file, _container(name, path, file) as container:
        yield container, _best_stream(name, container, path, member)


def _packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet]:
    """`container.demux`, closed even if its reader stops early: PyAV 18.1 frees its packet only when it is closed."""
    with closing(container.demux(stream)) as packets:  # type: ignore[type-var]  # it is a generator
        yield from packets


def _first_tick(container: InputContainer, stream: VideoStream) -> int:
    """Presentation time of the first frame, from the first packets. AVI states 0 even if B frames delay the first frame.

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
        options = open_options("file" if isinstance(source, str) else "none")
        container = av.open(source, options=options, metadata_errors="replace")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise _open_error(name, path, source, error) from None
    try:
        yield container
    except av.error.FFmpegError as error:
        raise VideoError(name, "corrupt", f"the decoder failed ({error.strerror or error})") from None
    finally:
        container.close()


def _open_error(name: str, path: Path | str, source: Any, error: Exception) -> VideoError:
    """Why FFmpeg cannot open a file, or must not.

    It is a playlist; or it is cut off, if its head is that of a container; else it is not a video.
    """
    if isinstance(source, str):
        with open_bytes(path, None) as file:
            kind, playlist = container_by_head(file), _playlist_of(file)
    else:
        kind, playlist = container_by_head(source), _playlist_of(source)
    if playlist is not None:
        detail = f"it is a playlist ({playlist}), which names other files, not a video; give the videos themselves"
        return VideoError(name, "playlist", detail)
    if kind is not None:
        return VideoError(name, "truncated", f"it begins like {kind}, but its index is missing or cut off ({error})")
    return VideoError(
        name, "not a video", "its format is not supported; worldmodel/video/container/formats.py lists those that are"
    )


def _playlist_of(file: io.RawIOBase) -> str | None:
    file.seek(0)
    return playlist_kind(file.read(HEAD_BYTES) or b"")


def _best_stream(name: str, container: InputContainer, path: Path | str, member: str | None) -> VideoStream:
    """FFmpeg's choice among the video streams, without cover pictures. Sets the decoder to one thread."""
    candidates = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not candidates and container.format.name.startswith("mov"):
        with open_bytes(path, member) as file:
            if is_cut_off(file):
                raise VideoError(name, "truncated", "it begins like mp4, but its index is cut off")
    if not candidates:
        raise VideoError(name, "no video stream", "it has no video stream (audio only?)")
    best = container.streams.best("video")
    stream = best if isinstance(best, VideoStream) and best in candidates else candidates[0]
    if stream.codec_context is None:
        raise VideoError(name, "unreadable codec", "this build of FFmpeg has no decoder for its video stream")
    check_pixels(name, stream.codec_context.height, stream.codec_context.width)
    stream.codec_context.options = {"max_pixels": str(errors.MAX_PIXELS)}  # the size may change within the stream
    stream.codec_context.thread_count = 1
    return stream
