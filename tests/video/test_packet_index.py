"""Frames that are decoded from a packet index are those of the container, and whatever is unusual is read through it."""

import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from worldmodel.video import VideoError, read_frames
from worldmodel.video.packet_index import direct
from worldmodel.video.packet_index.build import Refusal, packet_table
from worldmodel.video.packet_index.h264 import UnusualPacketError, frame_kind
from worldmodel.video.packet_index.index_file import PacketIndex, PacketIndexError, packet_index_path, write_packet_index
from worldmodel.video.packet_index.reading import COUNTS
from worldmodel.video.packet_index.table import PacketTable

COUNT, FPS = 60, 30


def index_of(path: Path, member: str | None = None) -> str:
    """Write the index of one file, which must be read directly."""
    table = packet_table(path, member)
    assert isinstance(table, PacketTable), table
    target = packet_index_path(path)
    with write_packet_index(target) as index:
        index.add(str(path), member, table)
    return str(target)


def reason(path: Path) -> str:
    found = packet_table(path)
    assert isinstance(found, Refusal)
    return found.reason


def counted(read: Callable[[], np.ndarray]) -> tuple[np.ndarray, int, int]:
    """The frames, and how many reads were direct and through the container."""
    before = COUNTS.direct, COUNTS.container
    frames = read()
    return frames, COUNTS.direct - before[0], COUNTS.container - before[1]


@pytest.fixture
def clip(tmp_path: Path, numbered, make_video) -> Path:
    """Groups of 20 frames, B frames that others refer to and B frames that none refers to."""
    return make_video(tmp_path / "a.mp4", numbered(COUNT), FPS, g=20, bf=3, b_pyramid="normal")


SELECTIONS = {
    "the end of one group and the next": {"indices": [17, 18, 21, 24]},
    "any order, and repeated": {"indices": [33, 5, 33, 59]},
    "one frame in the middle of a group": {"indices": [31]},
    "times between frames": {"times_s": [0.5 + k * 0.07 for k in range(16)]},
    "the last moment": {"times_s": [0.0, (COUNT - 0.01) / FPS]},
}


@pytest.mark.parametrize("selection", SELECTIONS.values(), ids=SELECTIONS.keys())
@pytest.mark.parametrize("size", [None, 24, (40, 30)])
def test_frames_and_pixels_are_those_of_the_container(clip: Path, selection, size):
    index = index_of(clip)
    expected = read_frames(clip, **selection, size=size, timing="packets")
    found, direct_reads, others = counted(lambda: read_frames(clip, **selection, size=size, packet_index=index))
    assert np.array_equal(found, expected)
    assert (direct_reads, others) == (1, 0)


@pytest.mark.parametrize("colours", [(1, 1), (1, 2), (5, 1), (9, 2), (2, 0)])
def test_colour_tags_are_those_of_the_container(tmp_path: Path, numbered, colours):
    """(colour space, range). Saturated colours: a wrong matrix or range changes them by 10 grey levels and more."""
    frames = numbered(24)
    frames[..., 0] = 255 - frames[..., 0] // 2
    path = tmp_path / "tagged.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=FPS, options={"g": "8"})
        stream.pix_fmt, (stream.height, stream.width) = "yuv420p", frames.shape[1:3]
        stream.codec_context.colorspace, stream.codec_context.color_range = colours
        for image in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")))
        out.mux(stream.encode(None))
    index = index_of(path)
    expected = read_frames(path, indices=[3, 9, 20], timing="packets")
    found, direct_reads, _ = counted(lambda: read_frames(path, indices=[3, 9, 20], packet_index=index))
    assert direct_reads == 1
    assert np.array_equal(found, expected)


def test_variable_frame_rate(tmp_path: Path, numbered, make_video, number_of):
    ticks = np.cumsum([0, *(1 + k % 4 for k in range(COUNT - 1))]).tolist()
    path = make_video(tmp_path / "v.mp4", numbered(COUNT), FPS, ticks=ticks, clock_hz=FPS, g=15, bf=2)
    times_s = [(ticks[k] + 0.5) / FPS for k in (3, 14, 15, 40)]
    found, direct_reads, _ = counted(lambda: read_frames(path, times_s=times_s, packet_index=index_of(path)))
    assert direct_reads == 1
    assert [number_of(frame) for frame in found] == [3, 14, 15, 40]


def test_a_member_of_a_tar(clip: Path, tmp_path: Path):
    shard = tmp_path / "s.tar"
    with tarfile.open(shard, "w") as tar:
        tar.add(clip, "x/a.mp4")
    index = index_of(shard, "x/a.mp4")
    found, direct_reads, _ = counted(lambda: read_frames(shard, indices=[7, 30], member="x/a.mp4", packet_index=index))
    assert direct_reads == 1
    assert np.array_equal(found, read_frames(clip, indices=[7, 30]))


def test_a_changed_file_is_read_through_its_container(clip: Path):
    index = index_of(clip)
    os.utime(clip, ns=(0, 1))
    found, direct_reads, others = counted(lambda: read_frames(clip, indices=[7], packet_index=index))
    assert (direct_reads, others) == (0, 1)
    assert np.array_equal(found, read_frames(clip, indices=[7]))


def test_frames_past_the_end_are_reported_as_by_the_container(clip: Path):
    index = index_of(clip)
    for selection in ({"indices": [COUNT]}, {"times_s": [COUNT / FPS]}, {"times_s": [-1.0]}):
        with pytest.raises(VideoError) as expected:
            read_frames(clip, **selection)
        with pytest.raises(VideoError) as found:
            read_frames(clip, **selection, packet_index=index)
        assert str(found.value) == str(expected.value)


def test_damage_in_the_file_is_reported_as_by_the_container(clip: Path, tmp_path: Path):
    """The bytes of a keyframe are overwritten; size and time of the file stay."""
    table = packet_table(clip)
    assert isinstance(table, PacketTable)
    key = table.keys[np.searchsorted(table.keys, 38, side="right") - 1]
    offset = int(table.packets["offset"][key])
    index, stat = index_of(clip), clip.stat()
    content = bytearray(clip.read_bytes())
    content[offset + 40 : offset + 72] = bytes(32)
    clip.write_bytes(content)
    os.utime(clip, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    outcomes = []
    for packet_index in (None, index):
        try:
            outcomes.append(read_frames(clip, indices=[38], packet_index=packet_index).tobytes())
        except VideoError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]
    assert "damaged" in str(outcomes[0])


def test_what_is_not_safe_is_left_out_and_says_why(tmp_path: Path, numbered, make_video):
    frames = numbered(40)
    made = {
        "matroska": make_video(tmp_path / "a.mkv", frames, g=10),
        "mpeg4": make_video(tmp_path / "b.mp4", frames, codec="mpeg4"),
        "turned": make_video(tmp_path / "c.mp4", frames, rotation=90),
        "open": make_video(tmp_path / "d.mp4", frames, g=10, bf=2, **{"x264-params": "open-gop=1:keyint=10:min-keyint=10"}),
    }
    assert reason(made["matroska"]) == "the container is matroska, not MP4"
    assert reason(made["mpeg4"]) == "the codec is mpeg4, not H.264"
    assert reason(made["turned"]) == "frames are turned or stretched"
    assert reason(made["open"]).startswith(("open groups", "groups of frames that overlap"))
    assert reason(tmp_path) == "it is a folder of frames"


def test_pixels_that_are_not_square_are_left_out(tmp_path: Path, numbered):
    path = tmp_path / "stretched.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=FPS)
        stream.pix_fmt, stream.height, stream.width = "yuv420p", 48, 64
        stream.codec_context.sample_aspect_ratio = 2
        for image in numbered(12):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(stream.encode(None))
    assert reason(path) == "frames are turned or stretched"


def test_an_index_of_many_files_finds_each_also_after_the_folder_was_moved(tmp_path: Path, numbered, make_video, number_of):
    folder = tmp_path / "data"
    paths = [make_video(folder / f"{k}.mp4", numbered(12, first=20 * k), g=6) for k in range(4)]
    target = packet_index_path(folder / "m.parquet")
    with write_packet_index(target) as index:
        for path in paths:
            table = packet_table(path)
            assert isinstance(table, PacketTable)
            index.add(str(path), None, table)
    moved = Path(shutil.move(folder, tmp_path / "moved"))
    index_path = str(moved / target.name)
    assert len(PacketIndex(index_path)) == 4
    for k in (2, 0, 3, 1):
        found, direct_reads, _ = counted(lambda k=k: read_frames(moved / f"{k}.mp4", indices=[5], packet_index=index_path))
        assert (direct_reads, number_of(found[0])) == (1, 20 * k + 5)
    _, direct_reads, others = counted(lambda: read_frames(paths_copy(moved), indices=[5], packet_index=index_path))
    assert (direct_reads, others) == (0, 1)


def paths_copy(folder: Path) -> Path:
    """A file that the index does not have."""
    return Path(shutil.copy(folder / "0.mp4", folder / "new.mp4"))


def test_equal_videos_share_a_decoder(tmp_path: Path, numbered, make_video):
    paths = [make_video(tmp_path / f"{k}.mp4", numbered(12, first=k), g=6) for k in range(2)]
    indexes = [index_of(path) for path in paths]
    direct._DECODERS.clear()
    for path, index in zip(paths, indexes, strict=True):
        read_frames(path, indices=[3], packet_index=index)
    assert len(direct._DECODERS) == 1


def test_a_damaged_index_is_not_used(clip: Path, tmp_path: Path):
    index = Path(index_of(clip))
    content = index.read_bytes()
    for name, damaged in {"cut": content[:-5], "other": b"x" * 100, "newer": content[:8] + b"\x09" + content[9:]}.items():
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(PacketIndexError):
            PacketIndex(tmp_path / name)
    flipped = bytearray(content)
    flipped[64 + 16 * 30 + 2] ^= 1  # the offset of a packet
    (tmp_path / "flipped").write_bytes(flipped)
    assert PacketIndex(tmp_path / "flipped").find(str(clip)) is None
    assert PacketIndex(index).find(str(clip)) is not None
    found, direct_reads, others = counted(lambda: read_frames(clip, indices=[7], packet_index=str(tmp_path / "cut")))
    assert (direct_reads, others, len(found)) == (0, 1, 1)


EXTRADATA = b"\x01\x64\x00\x0a\xff\xe1\x00\x04\x67\x01\x02\x03\x01\x00\x02\x68\x09"


def unit(header: int, *content: int) -> bytes:
    body = bytes([header, *content])
    return len(body).to_bytes(4, "big") + body


def test_kinds_of_frames_follow_from_the_headers_of_their_units():
    idr, reference, unreferenced = (frame_kind(unit(header, 9), EXTRADATA) for header in (0x65, 0x41, 0x01))
    assert (idr.starts, reference.starts, unreferenced.starts) == (True, False, False)
    assert (idr.referenced, reference.referenced, unreferenced.referenced) == (True, True, False)
    known = unit(0x67, 1, 2, 3) + unit(0x68, 9) + unit(0x06, 5) + unit(0x65, 7)
    assert frame_kind(known, EXTRADATA).starts
    for packet in (
        unit(0x67, 4, 4, 4) + unit(0x65, 7),
        unit(0x14, 1),
        unit(0x06, 5),
        b"\0\0\0\x09\x65",
        unit(0x65) + unit(0x41),
    ):
        with pytest.raises(UnusualPacketError):
            frame_kind(packet, EXTRADATA)
