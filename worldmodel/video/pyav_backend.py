"""Exact frames by PyAV: seek to a keyframe, decode no more than the wanted frames need.

A frame is known by its presentation time in ticks of its stream. Packets carry that time before they are decoded, so
the frames to decode are chosen first; where packets cannot be trusted with it, the film is decoded from its start.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame

from worldmodel.video import orientation
from worldmodel.video.container import Video, open_video
from worldmodel.video.resize import Film, Size
from worldmodel.video.timeline import PACKETS_ARE_NOT_FRAMES, Untimed, check_end, check_numbers, scan, ticks_of_times

SEEK_GAP_S = 4.0  # wanted frames further apart than this are sought one by one; nearer ones are read through
# Frames that no other frame refers to may be left out undecoded. Proven by the standard for these; HEVC's may be
# referred to from higher temporal layers, and dav1d takes such a choice only once.
SKIPS_UNREFERENCED = {"h264", "mpeg4"}

Slots = dict[int, list[int]]  # presentation time in ticks, or frame number -> places in the output


def read(
    path: Path | str,
    member: str | None,
    times_s: Sequence[float] | None,
    indices: Sequence[int] | None,
    size: Size,
) -> np.ndarray:
    """Frames uint8 [T, H, W, 3] at the times, or else with the numbers, given. Raises VideoError."""
    count = len(times_s if times_s is not None else indices or ())
    try:
        with open_video(path, member) as video:
            if video.codec in PACKETS_ARE_NOT_FRAMES:
                raise Untimed
            ticks = ticks_of_times(video, times_s) if times_s is not None else _ticks_of_indices(video, indices or ())
            slots, film = _slots(ticks), Film(count, size)
            for run in _runs(sorted(slots), gap=round(SEEK_GAP_S * video.ticks_per_s)):
                _read_run(video, run, slots, film)
    except Untimed:
        with open_video(path, member) as video:
            film = Film(count, size)
            if times_s is not None:
                _decode_by_time(video, _slots(ticks_of_times(video, times_s)), film)
            else:
                _decode_by_number(video, _slots(indices or ()), film)
    return film.frames


def _slots(keys: Sequence[int]) -> Slots:
    slots: Slots = {}
    for place, key in enumerate(keys):
        slots.setdefault(key, []).append(place)
    return slots


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
        raise Untimed
    if chosen[-1] == len(shown) - 1:
        _check_end(video, run[-1], int(shown[-1]), packets)
    wanted: Slots = {}
    for tick, place in zip(run, chosen, strict=True):
        wanted.setdefault(int(shown[place]), []).extend(slots[tick])
    for tick, frame in _decode(video, packets, set(wanted)):
        film.put(wanted.pop(tick), frame, orientation.of(frame, video.stream))
    if wanted:
        raise Untimed  # hidden or damaged frames, or keyframes that one cannot start from


def _packets_around(video: Video, first: int, last: int) -> list[Packet]:
    """Packets from a keyframe shown at `first` or before, until all that are shown up to `last` are there."""
    back, ticks_per_s = 0, round(video.ticks_per_s)
    while True:
        seek_to = max(first - back, video.start_tick)
        try:
            video.container.seek(seek_to, stream=video.stream, backward=True)
        except av.error.FFmpegError:
            raise Untimed from None  # a container that cannot seek
        packets = _demux_until(video, first, last)
        if packets:
            return packets
        if seek_to == video.start_tick:
            raise Untimed  # MPEG-TS: seeking to its start does not lead there
        back = back * 4 or ticks_per_s  # the demuxer seeks by decoding time: one keyframe too late, now and then


def _demux_until(video: Video, first: int, last: int) -> list[Packet]:
    """Packets up to decoding time `last`; none, if the keyframe at their beginning is shown after `first`."""
    packets: list[Packet] = []
    for packet in video.container.demux(video.stream):
        if not packet.size or (not packets and not packet.is_keyframe):
            continue
        if packet.pts is None or packet.dts is None:
            raise Untimed
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
    """Decode the wanted frames, each once, with its tick, from the keyframes that they need."""
    codec = video.stream.codec_context
    may_skip = video.codec in SKIPS_UNREFERENCED
    for stretch in _stretches(packets, wanted):
        missing = {packet.pts for packet in stretch} & wanted
        codec.flush_buffers()  # what an earlier stretch, or its end, left in the decoder
        for packet in [*stretch, None]:
            if may_skip:
                codec.skip_frame = "DEFAULT" if packet is None or packet.pts in wanted else "NONREF"
            for frame in codec.decode(packet):
                if frame.pts is not None and frame.pts in missing and not frame.is_corrupt:
                    missing.remove(frame.pts)
                    yield frame.pts, frame
            if not missing:
                break


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


def _decode_by_time(video: Video, slots: Slots, film: Film) -> None:
    """Decode from the start; each wanted tick gets the last frame shown by then."""
    waiting, last, stop = sorted(slots), None, 0
    for frame, tick, end in _frames_from_start(video):
        while waiting and last is not None and waiting[0] < tick:
            _draw(video, film, slots[waiting.pop(0)], last)
        if not waiting:
            return
        last, stop = frame, end
    if last is None:
        raise video.error("zero frames", "it has a video stream, but no frame in it")
    while waiting and waiting[0] < stop:
        _draw(video, film, slots[waiting.pop(0)], last)
    if waiting:
        start, rate = video.start_tick, video.ticks_per_s
        check_end(video.name, (waiting[-1] - start) / rate, (stop - start) / rate)


def _decode_by_number(video: Video, slots: Slots, film: Film) -> None:
    """Decode from the start and count."""
    count = 0
    for frame, _, _ in _frames_from_start(video):
        if count in slots:
            _draw(video, film, slots[count], frame)
        count += 1
        if not film.left:
            return
    check_numbers(video.name, list(slots), count)


def _frames_from_start(video: Video) -> Iterator[tuple[VideoFrame, int, int]]:
    """(frame, tick it appears, tick it ends) in the order shown; frames without a time follow at the average rate."""
    end = video.start_tick
    for frame in video.container.decode(video.stream):
        tick = frame.pts if frame.pts is not None else end
        end = tick + round(video.shown_for(frame.duration))
        yield frame, tick, end


def _draw(video: Video, film: Film, slots: list[int], frame: VideoFrame) -> None:
    if frame.is_corrupt:
        raise video.error("corrupt", f"the frame at tick {frame.pts} is damaged")
    film.put(slots, frame, orientation.of(frame, video.stream))
