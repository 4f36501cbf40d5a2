"""The file of a packet index: tables of packets of many files, which processes map into their memory.

M.parquet.packets, little-endian:

    header        64 bytes: magic, version, number of files, packets, decoder settings, and bytes of extradata
    packets       PACKET, of all files one after another
    keys          uint64 per file, increasing: the first half of the digest of its path and member
    files         FILE, in the order of the keys
    decoders      DECODER, each once
    extradata     bytes

Opening reads the header only. An entry is checked by its CRC-32 when it is used. Paths are relative to the folder of the index
where they lie below it, so that a folder may be moved.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import lru_cache
from io import BufferedWriter
from pathlib import Path

import numpy as np

from worldmodel.files.atomic import atomic_file
from worldmodel.files.regular_file import open_regular
from worldmodel.video.packet_index.table import PACKET, DecoderSettings, PacketTable

SUFFIX = ".packets"
MAGIC, VERSION = b"wmpacket", 1
HEADER = struct.Struct("<8sI4xQQQQ16x")
DECODER = np.dtype([
    ("codec", "S16"), ("pixel_format", "S16"), ("width", "<i4"), ("height", "<i4"), ("color_range", "<i4"),
    ("colorspace", "<i4"), ("color_primaries", "<i4"), ("color_trc", "<i4"), ("reorder_depth", "<i4"),
    ("extradata_bytes", "<i4"), ("extradata", "<i8"),
])  # fmt: skip
FILE = np.dtype([
    ("key", "<u8"), ("file_bytes", "<i8"), ("modified_ns", "<i8"), ("first", "<i8"), ("count", "<i8"), ("start_tick", "<i8"),
    ("end_tick", "<f8"), ("time_base", "<i4", 2), ("frame_rate", "<i4", 2), ("decoder", "<u4"), ("crc", "<u4"),
])  # fmt: skip
KEPT_TABLES = 256  # of files that were read last, in a process


class PacketIndexError(ValueError):
    """A file that is no packet index, or a damaged one."""


class PacketIndexWriter:
    """Writes an index, one file after another. Memory grows by 88 bytes per file."""

    def __init__(self, file: BufferedWriter, folder: str) -> None:
        self._file, self._folder = file, folder
        self._rows = bytearray()
        self._keys = bytearray()
        self._packets = 0
        self._decoders: dict[DecoderSettings, int] = {}
        file.write(bytes(HEADER.size))

    def __len__(self) -> int:
        """Number of files."""
        return len(self._keys) // 8

    def add(self, path: str, member: str | None, table: PacketTable) -> None:
        """Append the table of a file, each file once."""
        high, low = _digest(path, member, self._folder)
        row = np.zeros(1, FILE)
        for name in ("file_bytes", "modified_ns", "start_tick", "end_tick"):
            row[name] = getattr(table, name)
        row["key"], row["first"], row["count"] = low, self._packets, len(table.packets)
        row["time_base"], row["frame_rate"] = table.time_base.as_integer_ratio(), table.frame_rate.as_integer_ratio()
        row["decoder"] = self._decoders.setdefault(table.decoder, len(self._decoders))
        packets = np.ascontiguousarray(table.packets).tobytes()
        row["crc"] = _crc(row[0], packets, table.decoder)
        self._file.write(packets)
        self._packets += len(table.packets)
        self._rows += row.tobytes()
        self._keys += high.to_bytes(8, "little")

    def finish(self) -> None:
        """Write what follows the packets, and the header."""
        keys, rows = np.frombuffer(self._keys, "<u8"), np.frombuffer(self._rows, FILE)
        order = np.argsort(keys, kind="stable")
        decoders, extradata = _decoder_rows(list(self._decoders))
        for part in (keys[order], rows[order], decoders):
            self._file.write(part.tobytes())
        self._file.write(extradata)
        self._file.seek(0)
        self._file.write(HEADER.pack(MAGIC, VERSION, len(self), self._packets, len(decoders), len(extradata)))


@contextmanager
def write_packet_index(path: Path) -> Iterator[PacketIndexWriter]:
    """Give the writer of an index, which appears complete or not at all. Raises OutputError."""
    with atomic_file(path) as file:
        writer = PacketIndexWriter(file, str(path.parent))
        yield writer
        writer.finish()


class PacketIndex:
    """An open index, mapped into the memory of this process."""

    def __init__(self, path: Path | str) -> None:
        """Raises PacketIndexError for another or a damaged file, and OSError."""
        self._folder = os.path.dirname(os.path.abspath(path))
        with open_regular(Path(path)) as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(HEADER.size)
            if len(head) < HEADER.size or head[: len(MAGIC)] != MAGIC:
                raise PacketIndexError(f"{path}: not a packet index; make one with `python -m data_prep packets`")
            _, version, files, packets, decoders, extradata = HEADER.unpack(head)
            if version != VERSION:
                raise PacketIndexError(f"{path}: a packet index of version {version}; this version reads {VERSION}")
            parts = (packets * PACKET.itemsize, files * 8, files * FILE.itemsize, decoders * DECODER.itemsize, extradata)
            if HEADER.size + sum(parts) != size:
                raise PacketIndexError(f"{path}: damaged; make it again with `python -m data_prep packets`")
            # An index is replaced by another file, never truncated, which would end a process that has mapped it.
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        ends = np.cumsum([HEADER.size, *parts]).tolist()
        types = (PACKET, np.dtype("<u8"), FILE, DECODER)
        self._packets, self._keys, self._files, self._decoders = (
            np.frombuffer(mapped, kind, part // kind.itemsize, offset)
            for kind, part, offset in zip(types, parts[:4], ends[:4], strict=True)
        )
        self._extradata = memoryview(mapped)[ends[4] :]
        self._tables: OrderedDict[tuple[str, str | None], PacketTable | None] = OrderedDict()

    def __len__(self) -> int:
        """Number of files."""
        return len(self._files)

    def find(self, path: str, member: str | None = None) -> PacketTable | None:
        """The table of a file; None if the index has none, or a damaged one. Whether the file has changed is not checked."""
        key = path, member
        if key not in self._tables:
            self._tables[key] = self._read(path, member)
            while len(self._tables) > KEPT_TABLES:
                self._tables.popitem(last=False)
        return self._tables[key]

    def _read(self, path: str, member: str | None) -> PacketTable | None:
        high, low = _digest(path, member, self._folder)
        position = int(np.searchsorted(self._keys, np.uint64(high)))
        if position == len(self._keys) or int(self._keys[position]) != high:
            return None
        row = self._files[position]
        first, count, decoder = int(row["first"]), int(row["count"]), int(row["decoder"])
        if int(row["key"]) != low or not 0 <= first <= first + count <= len(self._packets) or decoder >= len(self._decoders):
            return None
        packets = self._packets[first : first + count]
        settings = self._settings(decoder)
        if not count or settings is None or _crc(row, packets.tobytes(), settings) != row["crc"]:
            return None
        if not (row["time_base"] > 0).all() or row["frame_rate"][1] <= 0:
            return None
        return PacketTable(
            decoder=settings,
            file_bytes=int(row["file_bytes"]),
            modified_ns=int(row["modified_ns"]),
            time_base=Fraction(*row["time_base"].tolist()),
            frame_rate=Fraction(*row["frame_rate"].tolist()),
            start_tick=int(row["start_tick"]),
            end_tick=float(row["end_tick"]),
            packets=packets,
        )

    def _settings(self, number: int) -> DecoderSettings | None:
        row = self._decoders[number]
        begin, length = int(row["extradata"]), int(row["extradata_bytes"])
        if not 0 <= begin <= begin + length <= len(self._extradata):
            return None
        numbers = {name: int(row[name]) for name in DECODER.names[2:9]}  # type: ignore[index]  # it has names
        extradata = bytes(self._extradata[begin : begin + length])
        return DecoderSettings(row["codec"].decode(), row["pixel_format"].decode(), **numbers, extradata=extradata)


def packet_index_path(manifest: Path | str) -> Path:
    """Where the packet index of a manifest is."""
    return Path(f"{manifest}{SUFFIX}")


@lru_cache(maxsize=64)
def _opened(path: str, _modified_ns: int, _size: int) -> PacketIndex:
    return PacketIndex(path)


def open_packet_index(path: str) -> PacketIndex | None:
    """Open an index once per process; None if it is missing or damaged. It is opened again after it was replaced."""
    try:
        stat = os.stat(path)
        return _opened(path, stat.st_mtime_ns, stat.st_size)
    except (OSError, PacketIndexError):
        return None


def _decoder_rows(decoders: list[DecoderSettings]) -> tuple[np.ndarray, bytes]:
    rows, extradata = np.zeros(len(decoders), DECODER), b"".join(decoder.extradata for decoder in decoders)
    at = 0
    for row, decoder in zip(rows, decoders, strict=True):
        for name in DECODER.names[:9]:  # type: ignore[index]  # it has names
            row[name] = getattr(decoder, name)
        row["extradata"], row["extradata_bytes"] = at, len(decoder.extradata)
        at += len(decoder.extradata)
    return rows, extradata


def _digest(path: str, member: str | None, folder: str) -> tuple[int, int]:
    """128 bits that stand for a file, in two halves."""
    below = os.path.join(folder, "")
    name = path[len(below) :] if path.startswith(below) else path
    text = name if member is None else f"{name}\0{member}"
    digest = hashlib.blake2b(os.fsencode(text), digest_size=16).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")


def _crc(row: np.void, packets: bytes, decoder: DecoderSettings) -> int:
    """CRC-32 of an entry: its row (without this number and the positions of other parts), packets and decoder settings."""
    plain = row.copy()
    plain["crc"] = plain["first"] = plain["decoder"] = 0
    return zlib.crc32(packets, zlib.crc32(plain.tobytes() + repr(decoder).encode()))
