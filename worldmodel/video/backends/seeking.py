"""Wanted frames of a video whose packets tell when each frame is shown: seek to a keyframe, decode no more than they need."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import av
import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame

from worldmodel.video import orientation
from worldmodel.video.container.opening import Video
from worldmodel.video.container.timeline import check_end, check_numbers, scan, ticks_of_times
from worldmodel.video.resize import Film

SEEK_GAP_S = 4.0  # wanted frames further apart than this are sought one by one; nearer ones are read through
# Frames that no other frame refers to may be left out undecoded. Proven by the standard for these; HEVC's may be
# referred to from higher temporal layers, and dav1d takes such a choice only once.
SKIPS_UNREFERENCED = {"h264", "mpeg4"}

Slots = dict[int, list[int]]  # presentation time in ticks -> places in the output


class CannotSeek(Exception):  # noqa: N818  control flow: fall back to decoding from the start
    """The wanted frames were not found by seeking: the container cannot seek, or a keyframe does not start a decoder."""


def read_by_seeking(video: Video, times_s: Sequence[float] | None, indices: Sequence[int] | None, film: Film) -> None:
    """Draw the frames at the times, or else with the numbers, given. Raises VideoError, and CannotSeek."""
    if times_s is not None:
        ticks = ticks_of_times(video, times_s, video.start_tick)
    else:
        ticks = _ticks_of_indices(video, indices or ())
    slots: Slots = {}
    for place, tick in enumerate(ticks):
        slots.setdefault(tick, []).append(place)
    for run in _runs(sorted(slots), gap=round(SEEK_GAP_S * video.ticks_per_s)):
        _read_run(video, run, slots, film)


def _ticks_of_indices(video: Video, indices: Sequence[int]) -> list[int]:
    table = scan(video, until=max(indices)).ticks
    check_numbers(video.name, indices, len(table))
    return table[list(indices)].tolist()


def _runs(ticks: list[int], gap: int) -> Iterator[list[int]]:
    """Sorted ticks in stretches without a gap as long as `gap`: one seek each."""
    run: list[int] = []
    for tick in ticks:
        if run and tick - run[-1] > gap:
            yield run
            run = []
        run.append(tick)
    if run:
        yield run


def _read_run(video: Video, run: list[int], slots: Slots, film: Film) -> None:
    """Seek, choose, decode: the frames shown at the ticks of `run` go into the film."""
    packets = _packets_around(video, run[0], run[-1])
    shown = np.sort(np.asarray([p.pts for p in packets if not p.is_discard], np.int64))
    chosen = np.searchsorted(shown, run, side="right") - 1
    if chosen[0] < 0:
        raise CannotSeek
    if chosen[-1] == len(shown) - 1:
        _check_end(video, run[-1], int(shown[-1]), packets)
    wanted: Slots = {}
    for tick, place in zip(run, chosen, strict=True):
        wanted.setdefault(int(shown[place]), []).extend(slots[tick])
    for tick, frame in _decode(video, packets, set(wanted)):
        film.put(wanted.pop(tick), frame, orientation.of(frame, video.stream))
    if wanted:
        raise CannotSeek  # damaged frames, or keyframes that a decoder cannot start from


def _packets_around(video: Video, first: int, last: int) -> list[Packet]:
    """Packets from a keyframe shown at `first` or before, until all that are shown up to `last` are there."""
    back, ticks_per_s = 0, round(video.ticks_per_s)
    while True:
        seek_to = max(first - back, video.start_tick)
        try:
            video.container.seek(seek_to, stream=video.stream, backward=True)
        except av.error.FFmpegError:
            raise CannotSeek from None
        packets = _demux_until(video, first, last)
        if packets:
            return packets
        if seek_to == video.start_tick:
            raise CannotSeek  # MPEG-TS: seeking to its start does not lead there
        back = back * 4 or ticks_per_s  # the demuxer seeks by decoding time: one keyframe too late, now and then


def _demux_until(video: Video, first: int, last: int) -> list[Packet]:
    """Packets up to decoding time `last`; none, if the keyframe at their beginning is shown after `first`."""
    packets: list[Packet] = []
    for packet in video.packets():
        if not packet.size or (not packets and not packet.is_keyframe):
            continue
        if packet.pts is None or packet.dts is None:
            raise CannotSeek
        if not packets and packet.pts > first:
            return []
        packets.append(packet)
        if packet.dts > last:
            break
    return packets


def _check_end(video: Video, asked: int, last: int, packets: list[Packet]) -> None:
    """Raises VideoError when the last frame of the file is over at the tick asked for."""
    if (packets[-1].dts or 0) > asked:
        return  # the packets end before the file does
    end = last + video.shown_for(next(p.duration for p in packets if p.pts == last))
    start, rate = video.start_tick, video.ticks_per_s
    check_end(video.name, (asked - start) / rate, (end - start) / rate)


def _decode(video: Video, packets: list[Packet], wanted: set[int]) -> Iterator[tuple[int, VideoFrame]]:
    """Decode the wanted frames, each once, with its tick, from the keyframes that they need.

    Raises VideoError at the end of a stretch where one of them was predicted from a damaged frame.
    """
    codec = video.stream.codec_context
    may_skip = video.codec in SKIPS_UNREFERENCED
    for stretch in _stretches(packets, wanted):
        missing = {_tick(packet) for packet in stretch} & wanted
        sought, damaged = set(missing), set[int | None]()
        codec.flush_buffers()  # what an earlier stretch, or its end, left in the decoder
        for packet in [*stretch, None]:
            if may_skip:
                codec.skip_frame = "DEFAULT" if packet is None or packet.pts in wanted else "NONREF"
            for frame in codec.decode(packet):
                if frame.is_corrupt:
                    damaged.add(frame.pts)
                elif frame.pts is not None and frame.pts in missing:
                    missing.remove(frame.pts)
                    yield frame.pts, frame
            if not missing and packet is not None:
                damaged |= {frame.pts for frame in codec.decode(None) if frame.is_corrupt}  # decoded, not returned yet
                break
        if damaged:
            _check_references(video, stretch, sought, damaged)


def _check_references(video: Video, stretch: list[Packet], wanted: set[int], damaged: set[int | None]) -> None:
    """Raises VideoError where a wanted frame may be predicted from a damaged one: no keyframe stands between them.

    Frames that follow a keyframe in the file but are shown before it may also be predicted from what precedes it.
    """
    since_key = before_key = False  # whether a frame is damaged
    key_tick = 0
    for packet in stretch:
        tick = _tick(packet)
        if packet.is_keyframe:
            before_key, since_key, key_tick = since_key, False, tick
        since_key = since_key or tick in damaged
        if tick in wanted and (since_key or (before_key and tick < key_tick)):
            at_s = (tick - video.start_tick) / video.ticks_per_s
            raise video.error("corrupt", f"the frame at {at_s:.3f} s is damaged, or predicted from a damaged one")


def _stretches(packets: list[Packet], wanted: set[int]) -> list[list[Packet]]:
    """Runs of packets, in decoding order, that hold the wanted frames and all that these refer to."""
    needed = np.zeros(len(packets), bool)
    keys: list[int] = []
    for place, packet in enumerate(packets):
        if packet.is_keyframe:
            keys.append(place)
        if packet.pts in wanted and not packet.is_discard:
            # a frame shown before the keyframe it follows may refer to what came before that keyframe
            key = next((k for k in reversed(keys) if _tick(packets[k]) <= _tick(packet)), 0)
            needed[key : place + 1] = True
    edges = np.flatnonzero(np.diff(np.concatenate([[False], needed, [False]]).astype(np.int8)))
    return [packets[a:b] for a, b in edges.reshape(-1, 2)]


def _tick(packet: Packet) -> int:
    assert packet.pts is not None  # _demux_until has seen to that
    return packet.pts
