"""Packets that are not read to the end leave no memory behind."""

import ctypes
import gc
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from av.container import InputContainer
from av.video.stream import VideoStream

from worldmodel.video import read_frames, write_video
from worldmodel.video.container.opening import open_video

IN_USE = getattr(ctypes.CDLL(None), "mallinfo2", None) if os.name == "posix" else None


class Packets:
    """The iterator of `container.demux`, which also records whether it was closed."""

    def __init__(self, packets: Iterator[object]) -> None:
        self.packets, self.closed = packets, False

    def __iter__(self) -> Iterator[object]:
        return self.packets

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    write_video(tmp_path / "a.mp4", np.zeros((40, 32, 32, 3), np.uint8), 10)
    return tmp_path / "a.mp4"


def test_packets_that_are_not_read_to_the_end_are_closed_at_once(clip: Path):
    made: list[Packets] = []

    class Container:
        def __init__(self, container: InputContainer) -> None:
            self.container = container

        def demux(self, stream: VideoStream) -> Packets:
            made.append(Packets(self.container.demux(stream)))
            return made[-1]

    with open_video(clip) as video:
        traced = replace(video, container=Container(video.container))
        for _packet in traced.packets():
            break
        assert next(traced.frames()).width == 32
        assert [entry.closed for entry in made] == [True, True]


@pytest.mark.skipif(IN_USE is None, reason="glibc 2.33 tells how much memory is in use")
def test_repeated_partial_reads_need_no_more_memory(clip: Path):
    class Counts(ctypes.Structure):
        _fields_ = tuple((f"field_{number}", ctypes.c_size_t) for number in range(10))  # number 7: bytes in use

    IN_USE.restype = Counts

    def in_use_after(reads: int) -> int:
        for _ in range(reads):
            read_frames(clip, indices=(2, 3), timing="packets")
        gc.collect()
        return IN_USE().field_7

    before = in_use_after(100)
    assert (in_use_after(1000) - before) / 1000 < 70  # bytes a read; 150 and more where packets are not freed
