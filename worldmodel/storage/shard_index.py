"""The index of a shard, a file beside a plain tar: where each member lies, and the digests of its content.

shard-000000.tar          the members, readable by any program
shard-000000.tar.index    NPZ without pickles: names, offsets, sizes, digests (SHA-256 per block), note (JSON)
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from worldmodel.files.atomic import write_bytes
from worldmodel.files.npz_files import load_npz

SUFFIX = ".index"
FORMAT = 1
BLOCK_BYTES = 4 << 20  # members are fetched and checked in blocks of this size
MAX_INDEX_BYTES = 1 << 28  # a file that claims more is damaged


@dataclass(frozen=True)
class Member:
    """A file in a shard. `digests` are SHA-256 of its blocks."""

    name: str
    offset: int
    size: int
    digests: tuple[bytes, ...]


@dataclass(frozen=True)
class ShardIndex:
    """The members of a shard, sorted by name. `tar_bytes` is the size of the tar that it describes."""

    names: np.ndarray  # bytes [N]
    offsets: np.ndarray  # int64 [N]
    sizes: np.ndarray  # int64 [N]
    digests: np.ndarray  # uint8 [blocks of all members, 32]; [0, 32] if the content has no digests
    tar_bytes: int
    note: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    def find(self, name: str) -> Member | None:
        """The member of this name."""
        key = _name_bytes(name)
        row = int(np.searchsorted(self.names, key))
        if row == len(self) or self.names[row] != key:
            return None
        first = int(blocks_of(self.sizes[:row]).sum())
        size = int(self.sizes[row])
        digests = self.digests[first : first + int(blocks_of(size))]
        return Member(name, int(self.offsets[row]), size, tuple(digest.tobytes() for digest in digests))

    def places(self) -> Iterator[tuple[str, int, int]]:
        """(name, offset, size) of all members, in the order of the tar."""
        for row in np.argsort(self.offsets, kind="stable").tolist():
            name = self.names[row].decode(errors="surrogateescape")
            yield name, int(self.offsets[row]), int(self.sizes[row])


def index_of(members: Sequence[Member], tar_bytes: int) -> ShardIndex:
    """The index of a tar whose content has no digests, from its members. Names are different."""
    ordered = sorted(members, key=lambda member: _name_bytes(member.name))
    return ShardIndex(
        np.array([_name_bytes(member.name) for member in ordered], "S"),
        np.array([member.offset for member in ordered], np.int64),
        np.array([member.size for member in ordered], np.int64),
        np.zeros((0, 32), np.uint8),
        tar_bytes,
    )


def _name_bytes(name: str) -> bytes:
    return name.encode(errors="surrogateescape")  # how tarfile decodes a name that is not UTF-8


def blocks_of(size: Any) -> Any:
    """Number of blocks of a member of `size` bytes, or of each of several."""
    return -(-size // BLOCK_BYTES)


def write_index(path: Path, members: Sequence[Member], tar_bytes: int, note: Mapping[str, Any]) -> None:
    """Write the index of a shard atomically. Raises OutputError."""
    ordered = sorted(members, key=lambda member: member.name.encode())
    about = {"format": FORMAT, "block_bytes": BLOCK_BYTES, "tar_bytes": tar_bytes, "note": dict(note)}
    digests = b"".join(digest for member in ordered for digest in member.digests)
    content = io.BytesIO()
    np.savez(
        content,
        names=np.array([member.name.encode() for member in ordered], "S"),
        offsets=np.array([member.offset for member in ordered], np.int64),
        sizes=np.array([member.size for member in ordered], np.int64),
        digests=np.frombuffer(digests, np.uint8).reshape(-1, 32),
        about=np.frombuffer(json.dumps(about).encode(), np.uint8),
    )
    write_bytes(path, content.getvalue())


def read_index(path: Path) -> ShardIndex:
    """Read and validate an index. Raises FileNotFoundError, and ValueError for a file that is not one."""
    try:
        stored = load_npz(path, MAX_INDEX_BYTES)
        names, offsets, sizes, digests = (stored[name] for name in ("names", "offsets", "sizes", "digests"))
        about = json.loads(stored["about"].tobytes())
        if about["format"] != FORMAT or about["block_bytes"] != BLOCK_BYTES:
            raise ValueError(f"format {about['format']}; this version reads {FORMAT}")
        index = ShardIndex(names, offsets, sizes, digests, int(about["tar_bytes"]), dict(about["note"]))
        if not (names.dtype.kind == "S" and len(names) == len(offsets) == len(sizes) and digests.shape[1:] == (32,)):
            raise ValueError("its columns do not fit together")
        if len(index) and ((sizes < 0).any() or (offsets < 0).any() or (offsets + sizes).max() > index.tar_bytes):
            raise ValueError("it names bytes beyond the end of the tar")
        if int(blocks_of(sizes).sum()) != len(digests):
            raise ValueError("it does not have one digest per block")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not the index of a shard, or damaged ({error})") from None
    return index
