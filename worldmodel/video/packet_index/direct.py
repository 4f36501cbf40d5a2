"""Decode selected frames of a file from its table of packets. Nothing is opened but the file, and only needed bytes are read.

Whatever is unusual raises CannotReadDirectlyError, and the frames are read through the container, which tells what is wrong.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from io import FileIO
from pathlib import Path

import av
import numpy as np
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext

from worldmodel.video import errors
from worldmodel.video.container.timeline import ticks_at
from worldmodel.video.orientation import turn_of_matrix
from worldmodel.video.packet_index.table import KEYFRAME, SIZE, UNREFERENCED, DecoderSettings, PacketTable
from worldmodel.video.resize import Buffer
from worldmodel.video.selection import Selection, output_slots

MAX_DECODERS = 4  # decoders that are kept for further files with the same settings


class CannotReadDirectlyError(Exception):
    """The frames have to be read through the container."""


def read_directly(table: PacketTable, path: Path | str, selection: Selection, buffer: Buffer) -> None:
    """Write the selected frames into the buffer. Raises CannotReadDirectlyError, also in the middle of it."""
    slots = _slots(table, selection)
    decoder = _DECODERS.take(table.decoder)
    try:
        with open(path, "rb", buffering=0) as file:
            stat = os.fstat(file.fileno())
            if (stat.st_size, stat.st_mtime_ns) != (table.file_bytes, table.modified_ns):
                raise CannotReadDirectlyError("the file has changed")
            for begin, end in _runs(table, sorted(slots)):
                _decode(decoder, file, table, range(begin, end), slots, buffer)
    except (OSError, ValueError, av.error.FFmpegError) as error:
        raise CannotReadDirectlyError(str(error)) from None
    if slots:
        raise CannotReadDirectlyError("a frame was not decoded")
    _DECODERS.keep(table.decoder, decoder)


Slots = dict[int, list[int]]  # position of a packet -> positions of its frame in the output


def _slots(table: PacketTable, selection: Selection) -> Slots:
    """The packets of the selected frames. Raises CannotReadDirectlyError for frames that the file does not have."""
    ticks, keys = table.packets["tick"], table.keys
    if selection.times_s is None:
        wanted = output_slots(selection.indices or ())
        groups = np.searchsorted(keys, list(wanted), side="right") - 1
        beyond = max(wanted) >= len(ticks)
    else:
        start, rate = table.start_tick, table.ticks_per_s
        found = ticks_at(selection.times_s, start, rate, table.frame_ticks)
        beyond = (max(found) - start) / rate >= (table.end_tick - start) / rate
        wanted = output_slots([tick - start for tick in found])
        groups = np.searchsorted(table.key_ticks, list(wanted), side="right") - 1
    if beyond or min(wanted) < 0:
        raise CannotReadDirectlyError("frames that the file does not have")
    ends = np.append(keys[1:], len(ticks))
    slots: Slots = {}
    group, order, shown = -1, np.empty(0, np.int64), np.empty(0, np.int64)
    for (key, positions), of in zip(wanted.items(), groups.tolist(), strict=True):
        begin = int(keys[of])
        if of != group:
            group, shown = of, ticks[begin : ends[of]]
            order = np.argsort(shown)
            shown = shown[order]
        rank = key - begin if selection.times_s is None else int(np.searchsorted(shown, key, side="right")) - 1
        slots.setdefault(begin + int(order[rank]), []).extend(positions)
    return slots


def _runs(table: PacketTable, positions: Sequence[int]) -> list[tuple[int, int]]:
    """The packets that hold the frames at sorted positions and all that these refer to: [begin, end), apart from each other."""
    runs: list[tuple[int, int]] = []
    begins = table.keys[np.searchsorted(table.keys, positions, side="right") - 1].tolist()
    for begin, position in zip(begins, positions, strict=True):
        if runs and begin <= runs[-1][1]:
            runs[-1] = runs[-1][0], position + 1
        else:
            runs.append((begin, position + 1))
    return runs


def _decode(decoder: VideoCodecContext, file: FileIO, table: PacketTable, run: range, slots: Slots, buffer: Buffer) -> None:
    """Decode the packets of a run, which begins with a keyframe. Removes the slots that were filled."""
    decoder.flush_buffers()  # remove what an earlier run left in the decoder
    start = table.start_tick
    rows = table.packets[run.start : run.stop].tolist()
    missing = {start + rows[position - run.start][2]: position for position in slots if position in run}
    for position, (offset, size, tick) in zip(run, rows, strict=True):
        if size & UNREFERENCED and position not in slots:
            continue  # a decoder that skips unreferenced frames would do nothing with it
        packet = Packet(size & SIZE)  # with the padding that decoders need
        file.seek(offset)
        if file.readinto(packet) != size & SIZE:
            raise CannotReadDirectlyError("the file ends in the middle of a frame")
        packet.pts, packet.is_keyframe = start + tick, bool(size & KEYFRAME)
        _take(decoder.decode(packet), missing, slots, buffer)
        if not missing:
            break
    _take(decoder.decode(None), missing, slots, buffer)  # a damaged frame may be decoded, but not returned yet


def _take(frames: list[av.VideoFrame], missing: dict[int, int], slots: Slots, buffer: Buffer) -> None:
    for frame in frames:
        if frame.is_corrupt:
            raise CannotReadDirectlyError("a damaged frame")
        if frame.pts is not None and frame.pts in missing:
            if turn_of_matrix(frame) != (0, False):
                raise CannotReadDirectlyError("a turned frame")
            buffer.put(slots.pop(missing.pop(frame.pts)), frame)


class _Decoders:
    """Decoders of this process by their settings, the least recently used first. A decoder in use is not among them."""

    def __init__(self) -> None:
        self._kept: OrderedDict[DecoderSettings, VideoCodecContext] = OrderedDict()
        self._pid = os.getpid()

    def take(self, settings: DecoderSettings) -> VideoCodecContext:
        """Remove and return a decoder with these settings, or make one."""
        if self._pid != os.getpid():  # after a fork
            self._kept.clear()
            self._pid = os.getpid()
        return self._kept.pop(settings, None) or _new_decoder(settings)

    def __len__(self) -> int:
        return len(self._kept)

    def clear(self) -> None:
        """Free all decoders that are kept."""
        self._kept.clear()

    def keep(self, settings: DecoderSettings, decoder: VideoCodecContext) -> None:
        self._kept[settings] = decoder
        while len(self._kept) > MAX_DECODERS:
            self._kept.popitem(last=False)


_DECODERS = _Decoders()


def _new_decoder(settings: DecoderSettings) -> VideoCodecContext:
    decoder = VideoCodecContext.create(settings.codec, "r")
    assert isinstance(decoder, VideoCodecContext)
    decoder.extradata = settings.extradata
    decoder.width, decoder.height, decoder.pix_fmt = settings.width, settings.height, settings.pixel_format
    decoder.color_range, decoder.colorspace = settings.color_range, settings.colorspace
    decoder.color_primaries, decoder.color_trc = settings.color_primaries, settings.color_trc
    decoder.reorder_depth, decoder.thread_count = settings.reorder_depth, 1
    decoder.options = {"max_pixels": str(errors.MAX_PIXELS)}
    return decoder
