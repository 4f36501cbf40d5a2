"""Recognise a container by its first bytes, and check whether the file is as long as its structure states."""

from __future__ import annotations

import io

HEADS = {"mp4": (4, b"ftyp"), "mkv or webm": (0, b"\x1a\x45\xdf\xa3"), "avi": (8, b"AVI ")}
MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")  # the first box of a file is one of these
MKV_SEGMENT = b"\x18\x53\x80\x67"


def container_by_head(file: io.RawIOBase) -> str | None:
    """The container that the first bytes belong to ("mp4", ...), or None if they are unknown."""
    file.seek(0)
    head = file.read(16) or b""
    for name, (at, magic) in HEADS.items():
        if head[at : at + len(magic)] == magic:
            return name
    return None


def is_cut_off(file: io.RawIOBase) -> bool | None:
    """Whether the last top-level part of an MP4, Matroska or AVI extends beyond the end of the file; None: unknown."""
    file.seek(0)
    head = file.read(16) or b""
    if head[4:8] in MP4_BOXES:
        return _mp4_is_cut_off(file)
    kind = container_by_head(file)
    if kind == "mkv or webm":
        return _mkv_is_cut_off(file)
    return _avi_is_cut_off(file) if kind == "avi" else None


def _mp4_is_cut_off(file: io.RawIOBase) -> bool | None:
    size, at = file.seek(0, io.SEEK_END), 0
    while at + 8 <= size:
        file.seek(at)
        head = file.read(16) or b""
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length < 8:  # 0 means "to the end of the file"; other small values are no box
            return None
        at += length
    return at > size


def _avi_is_cut_off(file: io.RawIOBase) -> bool | None:
    size, at = file.seek(0, io.SEEK_END), 0
    while at + 8 <= size:
        file.seek(at)
        head = file.read(8) or b""
        length = int.from_bytes(head[4:8], "little")
        if head[:4] != b"RIFF" or not length:
            return None if at == 0 else False
        at += 8 + length + length % 2
    return at > size + 1  # the last byte of padding may be missing


def _mkv_is_cut_off(file: io.RawIOBase) -> bool | None:
    size, at = file.seek(0, io.SEEK_END), 4
    file.seek(0)
    head = file.read(4096) or b""
    length, width = _mkv_number(head[at:])
    segment = at + width + (length or 0)
    if length is None or head[segment : segment + 4] != MKV_SEGMENT:
        return None
    length, width = _mkv_number(head[segment + 4 :])
    if length is None:  # written to a stream: the size was unknown
        return None
    return segment + 4 + width + length > size


def _mkv_number(data: bytes) -> tuple[int | None, int]:
    """(value, number of bytes) of a variable-length number of Matroska. The value is None if all bits are set: "unknown"."""
    if not data or not data[0]:
        return None, 1
    width = 9 - data[0].bit_length()
    value = int.from_bytes(data[:width], "big") & ((1 << 7 * width) - 1)
    return (None if value == (1 << 7 * width) - 1 else value), width
