"""Ways to read a clip: this project, four other libraries, and the decoder alone. See `loader.py`.

Each function reads the frames shown at the given times and returns uint8 [T, H, W, 3], except for `decode_only`. Each of the
other libraries opens the file for every clip, as it does in data loaders, uses one thread, and resizes in the fastest way that
it offers for this task.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import av
import numpy as np
from av.codec.context import CodecContext
from av.packet import Packet
from av.video.reformatter import VideoReformatter

from worldmodel.video import VideoInfo, read_frames
from worldmodel.video.container.reuse import KEPT
from worldmodel.video.planes import FrameLayout, planes_bytes
from worldmodel.video.read import read_planes

Read = Callable[[Sequence[float]], object]


@dataclass(frozen=True)
class Source:
    """A video with a constant frame rate, and the size at which its frames are read."""

    path: Path
    info: VideoInfo
    height: int
    width: int
    packet_index: str | None = None  # None: its packets cannot be read directly

    def numbers(self, times_s: Sequence[float]) -> list[int]:
        """Frame numbers at the given times."""
        return [int(time * self.info.fps + 1e-3) for time in times_s]


def contenders_of(source: Source) -> dict[str, Read]:
    """All contenders whose library is installed, by name."""
    found: dict[str, Read] = {
        "ours": lambda times_s: _ours(source, times_s, opened_before=False),
        "ours, file read before": lambda times_s: _ours(source, times_s, opened_before=True),
        "ours, planes": Planes(source, None).run,
        "PyAV": lambda times_s: _pyav(source, times_s),
        "decode only": DecodeOnly(source).run,
    }
    if source.packet_index is not None:
        found["ours, packet index"] = lambda times_s: _indexed(source, times_s)
        found["ours, planes, packet index"] = Planes(source, source.packet_index).run
    if find_spec("decord"):
        found["decord, size in reader"] = lambda times_s: _decord(source, times_s, in_reader=True)
    if find_spec("decord") and find_spec("cv2"):
        found["decord, cv2"] = lambda times_s: _decord(source, times_s, in_reader=False)
    if find_spec("cv2"):
        found["OpenCV"] = lambda times_s: _opencv(source, times_s)
    if find_spec("torchcodec"):
        found["torchcodec"] = lambda times_s: _torchcodec(source, times_s)
    return found


def _ours(source: Source, times_s: Sequence[float], opened_before: bool) -> np.ndarray:
    if not opened_before:
        KEPT.close_all()
    return read_frames(source.path, times_s=times_s, size=(source.height, source.width), timing="packets")


def _indexed(source: Source, times_s: Sequence[float]) -> np.ndarray:
    size = source.height, source.width
    return read_frames(source.path, times_s=times_s, size=size, timing="packets", packet_index=source.packet_index)


class Planes:
    """Ours, with planes Y, U and V at the size of the file: colour conversion and resize are left to the device.

    They are written to memory that is used again, as data workers write to memory that they share.
    """

    def __init__(self, source: Source, packet_index: str | None) -> None:
        self._source, self._packet_index = source, packet_index
        self._out = np.zeros(0, np.uint8)

    def run(self, times_s: Sequence[float]) -> FrameLayout:
        """Read, and return the layout of the planes. Without an index the file is opened."""
        if self._packet_index is None:
            KEPT.close_all()
        info = self._source.info
        nbytes = len(times_s) * planes_bytes(info.height, info.width)
        if len(self._out) != nbytes:
            self._out = np.ones(nbytes, np.uint8)
        found = read_planes(self._source.path, self._out, times_s=times_s, timing="packets", packet_index=self._packet_index)
        assert isinstance(found, FrameLayout)
        return found


def _decord(source: Source, times_s: Sequence[float], in_reader: bool) -> np.ndarray:
    import decord

    size = {"width": source.width, "height": source.height} if in_reader else {}
    reader = decord.VideoReader(str(source.path), num_threads=1, **size)
    frames: np.ndarray = reader.get_batch(source.numbers(times_s)).asnumpy()
    return frames if in_reader else np.stack([_cv2_resized(source, frame) for frame in frames])


def _cv2_resized(source: Source, frame: np.ndarray) -> np.ndarray:
    import cv2

    cv2.setNumThreads(1)
    return cv2.resize(frame, (source.width, source.height), interpolation=cv2.INTER_AREA)


def _opencv(source: Source, times_s: Sequence[float]) -> np.ndarray:
    import cv2

    numbers = source.numbers(times_s)
    video = cv2.VideoCapture(str(source.path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    video.set(cv2.CAP_PROP_POS_FRAMES, numbers[0])
    frames = []
    for number in range(numbers[0], numbers[-1] + 1):
        video.grab()
        if number in numbers:
            frames.append(cv2.cvtColor(_cv2_resized(source, video.retrieve()[1]), cv2.COLOR_BGR2RGB))
    video.release()
    return np.stack(frames)


def _torchcodec(source: Source, times_s: Sequence[float]) -> np.ndarray:
    from torchcodec.decoders import VideoDecoder
    from torchcodec.transforms import Resize

    size = Resize((source.height, source.width))
    decoder = VideoDecoder(str(source.path), dimension_order="NHWC", num_ffmpeg_threads=1, transforms=[size])
    found: np.ndarray = decoder.get_frames_at(source.numbers(times_s)).data.numpy()
    return found


def _pyav(source: Source, times_s: Sequence[float]) -> np.ndarray:
    """Seek, decode everything up to the last frame, convert and resize in one step."""
    with av.open(str(source.path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        assert stream.time_base is not None
        ticks = [round(number / source.info.fps / stream.time_base) for number in source.numbers(times_s)]
        half = round(0.5 / source.info.fps / stream.time_base)
        start = stream.start_time or 0
        container.seek(ticks[0] + start, stream=stream)
        wanted, reformatter, frames = iter(ticks), VideoReformatter(), []
        next_tick = next(wanted)
        for frame in container.decode(stream):
            if frame.pts is None or frame.pts - start < next_tick - half:
                continue
            rgb = reformatter.reformat(frame, source.width, source.height, "rgb24", threads=1)
            frames.append(rgb.to_ndarray())
            if len(frames) == len(ticks):
                break
            next_tick = next(wanted)
    return np.stack(frames)


class DecodeOnly:
    """The floor: decode the frames that a clip needs, from packets in memory, with a decoder that exists already.

    Frames that no other frame refers to are skipped unless they are wanted. Nothing is opened, converted or resized.
    """

    def __init__(self, source: Source) -> None:
        with av.open(str(source.path)) as container:
            stream = container.streams.video[0]
            assert stream.time_base is not None
            self._packets = [packet for packet in container.demux(stream) if packet.size]
            self._codec: CodecContext = CodecContext.create(stream.codec_context.name, "r")
            self._codec.extradata = stream.codec_context.extradata
            self._codec.thread_count = 1
        self._fps, self._source = source.info.fps, source
        self._ticks = sorted(_tick(packet) for packet in self._packets)
        self._skips = source.info.codec == "h264"

    def run(self, times_s: Sequence[float]) -> int:
        """Decode, and return the number of frames that were decoded."""
        numbers = self._source.numbers(times_s)
        wanted = {self._ticks[number] for number in numbers}
        keys = [index for index, p in enumerate(self._packets) if p.is_keyframe and _tick(p) <= self._ticks[numbers[0]]]
        last = max(index for index, packet in enumerate(self._packets) if packet.pts in wanted)
        codec, count = self._codec, 0
        codec.flush_buffers()
        for packet in self._packets[keys[-1] : last + 1]:
            if self._skips:
                codec.skip_frame = "DEFAULT" if packet.pts in wanted else "NONREF"
            count += len(codec.decode(packet))  # type: ignore[attr-defined]
        return count + len(codec.decode(None))  # type: ignore[attr-defined]


def _tick(packet: Packet) -> int:
    assert packet.pts is not None
    return packet.pts
