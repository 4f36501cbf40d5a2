"""Which videos go into which shard: a function of the manifest and of the sizes of the files."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from data_prep.content_hash import DIGEST
from worldmodel.manifest import Clip
from worldmodel.storage.errors import fault_outside_file
from worldmodel.storage.members import split_member
from worldmodel.storage.store import version_of
from worldmodel.storage.urls import is_url
from worldmodel.video import VideoError
from worldmodel.video.container.source import locate

SourceKey = tuple[str, str | None]
"""(content hash, None) where the manifest has one, else (path, member). Clips of equal videos share a member."""


@dataclass(frozen=True)
class ShardSource:
    """A video, or a table of a clip (signals, ground truth), that a shard will hold."""

    path: str
    member: str | None
    content_hash: str | None  # of the whole content; None if the manifest does not have it
    version: str | None = None  # of the file `path`, as found when shards were planned; None if there was none

    @property
    def key(self) -> SourceKey:
        return (self.path, self.member) if self.content_hash is None else (self.content_hash, None)


@dataclass(frozen=True)
class ShardJob:
    """A shard to write, with its videos in the order of the manifest."""

    number: int
    sources: tuple[ShardSource, ...]

    @property
    def name(self) -> str:
        return f"shard-{self.number:06d}.tar"

    @property
    def digest(self) -> str:
        """Identifies the content of the shard: hashes where they are known, else names and versions of files.

        A finished shard with the same digest is not made again.
        """
        listed = [[*source.key, *_unhashed_version(source)] for source in self.sources]
        return hashlib.sha256(json.dumps(listed).encode()).hexdigest()


def _unhashed_version(source: ShardSource) -> list[str]:
    """What stands for the content of a source where its hash is not known: the version of its file."""
    return [source.version] if source.content_hash is None and source.version is not None else []


def source_of(clip: Clip, has_whole_hashes: bool) -> ShardSource:
    """The video of a clip."""
    known = has_whole_hashes and DIGEST.fullmatch(clip.content_hash)
    return ShardSource(clip.path, clip.member, clip.content_hash if known else None)


def table_source(table: str) -> ShardSource:
    """The table of signals or of ground truth that a clip names."""
    return ShardSource(*split_member(table), None)


def sources_of(clip: Clip, has_whole_hashes: bool) -> Iterator[ShardSource]:
    """What a clip needs: its video, then its tables, so that they lie side by side."""
    yield source_of(clip, has_whole_hashes)
    yield from (table_source(table) for table in (clip.signals, clip.truth) if table is not None)


def plan_shards(sources: Iterable[ShardSource], shard_bytes: int) -> Iterator[ShardJob]:
    """Fill one shard after another with videos and tables, each once, up to `shard_bytes`. A longer one has its own shard.

    Raises StorageError for a store that does not answer: without the sizes the plan would be another one.
    """
    seen: set[SourceKey] = set()
    waiting: list[ShardSource] = []
    number, filled = 0, 0
    for source in sources:
        if source.key in seen:
            continue
        seen.add(source.key)
        size = _size(source)
        if waiting and filled + size > shard_bytes:
            yield ShardJob(number, tuple(waiting))
            number, filled, waiting = number + 1, 0, []
        waiting.append(replace(source, version=_version(source.path)))
        filled += size
    if waiting:
        yield ShardJob(number, tuple(waiting))


def _size(source: ShardSource) -> int:
    """The size of a video in bytes; 0 for one that cannot be found, which is rejected when its shard is made."""
    try:
        return 0 if os.path.isdir(source.path) else locate(source.path, source.member)[1]
    except (VideoError, OSError) as error:
        if (outside := fault_outside_file(error)) is not None:
            raise outside from None
        return 0


def _version(path: str) -> str | None:
    """What changes with the content of a file: size and time of the last change; of an object, its ETag.

    None for one that cannot be found. Raises StorageError for a store that does not answer.
    """
    try:
        if is_url(path):
            found = version_of(path)
            return f"{found.size} {found.version}"
        stat = os.stat(path)
    except OSError as error:
        if (outside := fault_outside_file(error)) is not None:
            raise outside from None
        return None
    return f"{stat.st_size} {stat.st_mtime_ns}"
