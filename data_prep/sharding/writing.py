"""Write one shard: a plain tar of video files, and its index. Equal videos give equal bytes."""

from __future__ import annotations

import hashlib
import os
import tarfile
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from data_prep.content_hash import MIB
from data_prep.sharding.plan import ShardJob, ShardSource
from worldmodel.files.atomic import atomic_path, open_part
from worldmodel.storage.errors import fault_outside_file
from worldmodel.storage.shard_index import BLOCK_BYTES, SUFFIX, Member, ShardIndex, read_index, write_index
from worldmodel.storage.urls import split_version
from worldmodel.video import VideoError
from worldmodel.video.container.source import open_bytes

_UNIT = tarfile.BLOCKSIZE
_HASH_DIGITS = 32  # of the content hash, in the name of a member


@dataclass(frozen=True)
class Stored:
    """What became of a video: the name of its member, or why it has none."""

    member: str | None
    reason: str = ""
    detail: str = ""


def write_shard(job: ShardJob, folder: Path) -> tuple[Stored, ...]:
    """Write the tar and then its index, which proves that the tar is complete. Returns what became of every video.

    Raises OutputError, and StorageError for a store that does not answer. A video that cannot be read, or is not what the
    manifest says, is left out and named.
    """
    path = folder / job.name
    members: dict[str, Member] = {}
    with atomic_path(path) as part, open_part(part, path) as tar:
        results = tuple(_add(source, tar, members) for source in job.sources)
        tar_bytes = _finish(tar)
    note = {
        "plan": job.digest,
        "results": [[found.member, found.reason, found.detail] for found in results],
        "rejected": [[at, job.sources[at].version] for at, found in enumerate(results) if found.member is None],
    }
    write_index(path.with_name(path.name + SUFFIX), list(members.values()), tar_bytes, note)
    return results


def finished_results(job: ShardJob, index: Path, tar_bytes: int) -> tuple[Stored, ...] | None:
    """What became of the videos of a finished shard; None if this is not the index of a complete shard of the job.

    None also where a file that was rejected has changed since: it may be usable now.
    """
    try:
        found: ShardIndex = read_index(index)
    except (OSError, ValueError):
        return None
    if found.tar_bytes != tar_bytes or found.note.get("plan") != job.digest:
        return None
    if any(job.sources[at].version != version for at, version in found.note.get("rejected", [])):
        return None
    return tuple(Stored(*result) for result in found.note["results"])


def _add(source: ShardSource, tar: BinaryIO, members: dict[str, Member]) -> Stored:
    start = tar.tell()
    try:
        if source.member is None and os.path.isdir(source.path):
            detail = "a shard holds files only; make a video of the folder first: `python -m data_prep transcode`"
            return Stored(None, "folder of frames", detail)
        digest, member = _append(source, tar)
        if source.content_hash not in (None, digest):
            _cut_off(tar, start)
            detail = "its content is not what the manifest says; index it again: `python -m data_prep index`"
            return Stored(None, "changed", detail)
        if member.name in members:
            _cut_off(tar, start)
        else:
            members[member.name] = member
        return Stored(member.name)
    except (VideoError, OSError) as error:
        if (outside := fault_outside_file(error)) is not None:
            raise outside from None
        _cut_off(tar, start)
        if isinstance(error, VideoError):
            return Stored(None, error.reason, error.detail)
        return Stored(None, "unreadable file", str(error))


def _suffix(source: ShardSource) -> str:
    """The suffix of the file, so that other programs recognise the member; without unusual characters."""
    suffix = PurePosixPath(source.member or split_version(source.path)[0]).suffix.lower()
    return suffix if suffix[1:].isalnum() and suffix.isascii() and len(suffix) <= 8 else ""


def _append(source: ShardSource, tar: BinaryIO) -> tuple[str, Member]:
    """Append a header, the bytes of a video and the padding of the tar format. Returns its content hash and its member.

    The hash is that of the bytes that are written, so a file that is changed meanwhile cannot have the name of others.
    It is the one of `data_prep.content_hash`.
    """
    start = tar.tell()
    with open_bytes(source.path, source.member) as file:
        size = left = file.seek(0, os.SEEK_END)
        file.seek(0)
        tar.write(bytes(_UNIT))  # the header, whose name is not known yet
        whole, tail, digests = hashlib.sha256(str(size).encode()), b"", []
        while left:
            block = _read_exactly(file, min(BLOCK_BYTES, left))
            whole.update(block)
            tail = (tail + block)[-MIB:]
            digests.append(hashlib.sha256(block).digest())
            tar.write(block)
            left -= len(block)
    whole.update(tail)
    tar.write(bytes(-size % _UNIT))
    end = tar.tell()
    info = tarfile.TarInfo(whole.hexdigest()[:_HASH_DIGITS] + _suffix(source))
    info.size, info.mode = size, 0o644  # no times and owners: equal videos give equal bytes
    header = info.tobuf(tarfile.GNU_FORMAT)
    assert len(header) == _UNIT  # as names are short
    tar.seek(start)
    tar.write(header)
    tar.seek(end)
    return whole.hexdigest(), Member(info.name, start + _UNIT, size, tuple(digests))


def _cut_off(tar: BinaryIO, start: int) -> None:
    """Remove what was written from `start` on."""
    tar.seek(start)
    tar.truncate()


def _read_exactly(file: RawIOBase, size: int) -> bytes:
    parts = []
    while size and (part := file.read(size)):
        parts.append(part)
        size -= len(part)
    if size:
        raise OSError("the file became shorter while it was read")
    return b"".join(parts)


def _finish(tar: BinaryIO) -> int:
    """Write the end of the tar. Returns its size."""
    tar.write(bytes(2 * _UNIT))
    tar.write(bytes(-tar.tell() % tarfile.RECORDSIZE))
    return tar.tell()
