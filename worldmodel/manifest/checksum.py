"""A checksum of a whole Parquet file that is stored inside the file.

    PAR1 | row groups | START | SHA-256 | digest of the samples | END | footer | length of the footer | PAR1

Parquet locates row groups by offsets from the start of the file, and the footer from the end. Readers
skip bytes between the two. A program that rewrites the table does not copy these bytes, so an edited
manifest has no checksum. The checksum covers every byte except its own 32. The digest of the samples
(digest.py) is stored beside it, so that it is not computed again when a large manifest is opened.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import BinaryIO

from worldmodel.manifest.clip import ManifestError

START, END = b"\x89WMSHA\r\n", b"\n\rAHSMW\x89"  # two markers, so that damage to one of them is detected
_DIGEST_BYTES = 32
_BLOCK_BYTES = len(START) + 2 * _DIGEST_BYTES + len(END)
_TAIL_BYTES = 8  # length of the footer, PAR1
_SEARCHED_BYTES = 4 << 20  # length of the end of the file that is searched for a displaced checksum
_CHUNK_BYTES = 1 << 20


def append_checksum(path: Path, sample_digest: bytes) -> None:
    """Insert the checksum and the digest of the samples (32 bytes) into a Parquet file that has none."""
    with open(path, "r+b") as file:
        footer_at = _footer_at(file)
        file.seek(footer_at)
        footer = file.read()
        file.seek(footer_at)
        file.write(START + bytes(_DIGEST_BYTES) + sample_digest + END + footer)
        checksum = _checksum(file, footer_at + len(START))
        file.seek(footer_at + len(START))
        file.write(checksum)


def verify_checksum(path: Path) -> bytes | None:
    """Verify the checksum of a file. Returns the stored digest of the samples; None where the file has no checksum.

    Raises ManifestError where the checksum does not match, and OSError.
    """
    with open(path, "rb") as file:
        block_at = _footer_at(file) - _BLOCK_BYTES
        file.seek(max(0, block_at))
        block = file.read(_BLOCK_BYTES)
        if block_at >= 0 and block.startswith(START) and block.endswith(END):
            checksum, sample_digest = block[len(START) :][:_DIGEST_BYTES], block[: -len(END)][-_DIGEST_BYTES:]
            if checksum == _checksum(file, block_at + len(START)):
                return sample_digest
        elif not _has_marker(file):
            return None
    raise ManifestError(f"{path}: damaged: its content does not match its checksum; copy it again, or make it again")


def _footer_at(file: BinaryIO) -> int:
    """Offset of the footer according to the last bytes of the file; negative where they are not valid."""
    size = file.seek(0, os.SEEK_END)
    if size < _TAIL_BYTES:
        return -1
    file.seek(size - _TAIL_BYTES)
    return size - _TAIL_BYTES - int.from_bytes(file.read(4), "little")


def _checksum(file: BinaryIO, skipped_at: int) -> bytes:
    """SHA-256 of the file without the 32 bytes at `skipped_at`."""
    digest = hashlib.sha256()
    file.seek(0)
    left = skipped_at
    while left > 0 and (chunk := file.read(min(left, _CHUNK_BYTES))):
        digest.update(chunk)
        left -= len(chunk)
    file.seek(skipped_at + _DIGEST_BYTES)
    while chunk := file.read(_CHUNK_BYTES):
        digest.update(chunk)
    return digest.digest()


def _has_marker(file: BinaryIO) -> bool:
    """Whether a marker is at a wrong offset, which means that bytes were lost, added or changed."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _SEARCHED_BYTES))
    end = file.read()
    return START in end or END in end
