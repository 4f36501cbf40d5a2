"""Read frames of a video whose packets state when each frame is shown: seek to a keyframe, decode only what is needed."""

from __future__ import annotations

from collections.abc import Iterator

import av
import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame

from worldmodel.video.container.opening import Video
from worldmodel.video.container.reuse import OpenVideo
from worldmodel.video.container.timeline import ticks_of_times
from worldmodel.video.orientation import orientation_of
from worldmodel.video.resize import Buffer
from worldmodel.video.selection import Selection, check_frame_numbers, check_time, output_slots

SEEK_GAP_S = 4.0  # frames further apart than this get a seek each; the packets between nearer ones are read
# Codecs in which frames that no other frame refers to may be skipped; their standards guarantee it. In HEVC, higher temporal
# layers may refer to such frames, and dav1d (AV1) applies the setting only once.
SKIPS_UNREFERENCED = {"h264", "mpeg4"}

Slots = dict[int, list[int]]  # presentation time in ticks -> positions in the output


class CannotSeek(Exception):  # noqa: N818  control flow: fall back to decoding from the start
    """The frames were not found by seeking: the container cannot seek, or decoding cannot start at a keyframe."""


def frames_needed(selection: Selection) -> int:
    """Number of first frames whose presentation times `read_by_seeking` needs: none for frames selected by time."""
    return max(0, *selection.indices) + 1 if selection.indices else 0


def read_by_seeking(opened: OpenVideo, selection: Selection, buffer: Buffer) -> None:
    """Write the selected frames into the buffer. Raises VideoError, and CannotSeek."""
    video = opened.video
    if selection.times_s is not None:
        ticks = ticks_of_times(video, selection.times_s, video.start_tick)
    else:
        numbers = list(selection.indices or ())
        check_frame_numbers(video.name, numbers, len(opened.ticks))
        ticks = opened.ticks[numbers].tolist()
    slots = output_slots(ticks)
    for run in _runs(sorted(slots), gap=round(SEEK_GAP_S * video.ticks_per_s)):
        _read_run(video, run, slots, buffer)


def _runs(ticks: list[int], gap: int) -> Iterator[list[int]]:
    """Split sorted ticks at gaps longer than `gap`: one seek per run."""
    run: list[int] = []
    for tick in ticks:
        if run and tick - run[-1] > gap:
            yield run
            run = []
        run.append(tick)
    if run:
        yield run


def _read_run(video: Video, run: list[int], slots: Slots, buffer: Buffer) -> None:
    """Seek, choose the packets, decode: write the frames shown at the ticks of `run` into the buffer."""
    packets = _packets_around(video, run[0], run[-1])
    shown = np.sort(np.asarray([p.pts for p in packets if not p.is_discard], np.int64))
    chosen = np.searchsorted(shown, run, side="right") - 1
    if chosen[0] < 0:
        raise CannotSeek
    if chosen[-1] == len(shown) - 1:
        _check_end(video, run[-1], int(shown[-1]), packets)
    wanted: Slots = {}
    for tick, index in zip(run, chosen, strict=True):
        wanted.setdefault(int(shown[index]), []).extend(slots[tick])
    for tick, frame in _decode(video, packets, set(wanted)):
        buffer.put(wanted.pop(tick), frame, orientation_of(frame, video.stream))
    if wanted:
        raise CannotSeek  # damaged frames, or keyframes at which decoding cannot start


def _packets_around(video: Video, first: int, last: int) -> list[Packet]:
    """Packets from a keyframe shown at `first` or before to the last one shown up to `last`."""
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
            raise CannotSeek  # MPEG-TS: a seek to the start does not lead there
        back = back * 4 or ticks_per_s  # the demuxer seeks by decoding time, so it may land one keyframe too late


def _demux_until(video: Video, first: int, last: int) -> list[Packet]:
    """Packets up to decoding time `last`; none if the keyframe at their beginning is shown after `first`."""
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


def _check_end(video: Video, tick: int, last: int, packets: list[Packet]) -> None:
    """Raise VideoError if the last frame of the file, shown at `last`, has ended at `tick`."""
    if (packets[-1].dts or 0) > tick:
        return  # the packets end before the file does
    end = last + video.last_frame_ticks(next(p.duration for p in packets if p.pts == last))
    start, rate = video.start_tick, video.ticks_per_s
    check_time(video.name, (tick - start) / rate, (end - start) / rate)


def _decode(video: Video, packets: list[Packet], wanted: set[int]) -> Iterator[tuple[int, VideoFrame]]:
    """Decode the wanted frames, each once, with its tick, from the keyframes that they need.

    Raises VideoError at the end of a segment in which one of them was predicted from a damaged frame.
    """
    codec = video.stream.codec_context
    may_skip = video.codec in SKIPS_UNREFERENCED
    for segment in _segments(packets, wanted):
        missing = {_tick(packet) for packet in segment} & wanted
        of_segment, damaged = set(missing), set[int | None]()
        codec.flush_buffers()  # remove what an earlier segment, or its end, left in the decoder
        for packet in [*segment, None]:
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
            _check_references(video, segment, of_segment, damaged)


def _check_references(video: Video, segment: list[Packet], wanted: set[int], damaged: set[int | None]) -> None:
    """Raise VideoError if a wanted frame may be predicted from a damaged one: no keyframe lies between them.

    Frames that follow a keyframe in the file but are shown before it may also be predicted from frames before the keyframe.
    """
    since_key = before_key = False  # whether a frame is damaged
    key_tick = 0
    for packet in segment:
        tick = _tick(packet)
        if packet.is_keyframe:
            before_key, since_key, key_tick = since_key, False, tick
        since_key = since_key or tick in damaged
        if tick in wanted and (since_key or (before_key and tick < key_tick)):
            at_s = (tick - video.start_tick) / video.ticks_per_s
            raise video.error("corrupt", f"the frame at {at_s:.3f} s is damaged, or predicted from a damaged one")


def _segments(packets: list[Packet], wanted: set[int]) -> list[list[Packet]]:
    """Consecutive packets, in decoding order, that hold the wanted frames and all frames that these refer to."""
    needed = np.zeros(len(packets), bool)
    keys: list[int] = []
    for index, packet in enumerate(packets):
        if packet.is_keyframe:
            keys.append(index)
        if packet.pts in wanted and not packet.is_discard:
            # a frame that follows a keyframe but is shown before it may refer to frames before that keyframe
            key = next((k for k in reversed(keys) if _tick(packets[k]) <= _tick(packet)), 0)
            needed[key : index + 1] = True
    edges = np.flatnonzero(np.diff(np.concatenate([[False], needed, [False]]).astype(np.int8)))
    return [packets[a:b] for a, b in edges.reshape(-1, 2)]


def _tick(packet: Packet) -> int:
    assert packet.pts is not None  # _demux_until raises CannotSeek otherwise
    return packet.pts
