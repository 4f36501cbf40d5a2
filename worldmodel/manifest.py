"""The table of clips: the one contract between data preparation and training. Parquet, memory-mapped, never a list.

A clip is a stretch [start_s, stop_s) of a video file, of a video in a tar (`member`), or of a folder of frames.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from worldmodel.atomic import replacing_file
from worldmodel.video.timing import Timing

FORMAT_VERSION = 1
ADDED_LATER = {"timing"}  # columns that manifests of earlier versions do not have; read as null
ROWS_PER_GROUP = 1024  # a clip is found by reading one group, so groups are small
SPLITS = ("train", "val", "test", "ood")


class ManifestError(ValueError):
    """A manifest that is missing, is none, or breaks the contract; the message says what to do."""


@dataclass(frozen=True)
class Clip:
    """A row of the manifest; the fields are its columns."""

    clip_id: str  # function of content and range
    path: str
    member: str | None  # name inside the tar `path`
    start_s: float  # half-open range, seconds since the first frame
    stop_s: float
    fps: float  # average
    frames: int  # in this range
    width: int  # px, as shown: turned, and with square pixels
    height: int
    rotation: int  # degrees clockwise from stored to shown (after mirroring left to right, where the file asks for that)
    codec: str
    split: str  # train | val | test | ood
    label: str | None
    truth: str | None  # path of an npz
    source: str  # which data set it came from
    content_hash: str
    timing: Timing | None = None  # packets | order | frames: how frames are found (video/timing.py); null = not examined yet


SCHEMA = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("member", pa.string()),
        pa.field("start_s", pa.float64(), nullable=False),
        pa.field("stop_s", pa.float64(), nullable=False),
        pa.field("fps", pa.float64(), nullable=False),
        pa.field("frames", pa.int64(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("rotation", pa.int32(), nullable=False),
        pa.field("codec", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("label", pa.string()),
        pa.field("truth", pa.string()),
        pa.field("source", pa.string(), nullable=False),
        pa.field("content_hash", pa.string(), nullable=False),
        pa.field("timing", pa.string()),
    ]
)

DIGESTED = ("clip_id", "content_hash", "start_s", "stop_s", "fps", "frames", "split")  # columns, for Manifest.digest


def clip_id(content_hash: str, start_s: float, stop_s: float) -> str:
    """The same stretch of the same content has the same name wherever it lies: 16 hex digits."""
    return hashlib.sha256(f"{content_hash} {start_s:.6f} {stop_s:.6f}".encode()).hexdigest()[:16]


def write_manifest(path: Path | str, clips: Iterable[Clip], *, command: str, config: Mapping[str, Any]) -> int:
    """Stream clips into a Parquet file, row group by row group; returns their number. Whole or not at all.

    Paths below the manifest's folder are stored relative to it, so that the folder can be moved.
    Raises ManifestError for a clip that breaks the contract, OutputError when the file cannot be written.
    """
    path = Path(path)
    metadata = {"format": FORMAT_VERSION, "command": command, "config": dict(config), "versions": _versions()}
    schema = SCHEMA.with_metadata({"worldmodel": json.dumps(metadata, sort_keys=True)})
    folder, rows, written = path.parent.resolve(), iter(clips), 0
    with replacing_file(path) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        while group := list(itertools.islice(rows, ROWS_PER_GROUP)):
            stored = [_stored(clip, folder) for clip in group]
            columns = {name: [getattr(clip, name) for clip in stored] for name in schema.names}
            writer.write_table(pa.Table.from_pydict(columns, schema=schema))
            written += len(group)
    return written


def _stored(clip: Clip, folder: Path) -> Clip:
    """The clip as it is written; raises ManifestError where it breaks the contract."""
    if clip.split not in SPLITS:
        raise ManifestError(f"{clip.path}: split {clip.split!r} is none of {', '.join(SPLITS)}")
    if not clip.start_s < clip.stop_s:
        raise ManifestError(f"{clip.path}: the range [{clip.start_s}, {clip.stop_s}) s is empty")
    truth = None if clip.truth is None else stored_path(clip.truth, folder)
    return dataclasses.replace(clip, path=stored_path(clip.path, folder), truth=truth)


def stored_path(path: str, folder: Path) -> str:
    """How a path is written into files in `folder`: relative if it lies below, else absolute."""
    absolute = os.path.abspath(os.path.join(folder, path))  # not resolved: a link to a video is kept as a link
    below = os.path.join(folder, "")
    return Path(absolute[len(below) :]).as_posix() if absolute.startswith(below) else absolute


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in ("worldmodel", "av", "pyarrow", "numpy"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions


class Manifest:
    """An open manifest: clips by row number. Cheap to open, and small: workers map the file, and keep one row group.

    Pickles as its path, so that every worker opens its own.
    """

    def __init__(self, path: Path, file: pq.ParquetFile) -> None:
        self.path, self._file = path, file
        self._folder = path.parent
        counts = [file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)]
        self._starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        self._columns = [name for name in SCHEMA.names if name in file.schema_arrow.names]
        self._group, self._table = -1, SCHEMA.empty_table()

    @classmethod
    def open(cls, path: Path | str) -> Manifest:
        """Raises ManifestError when there is no manifest at `path`."""
        absolute = Path(os.path.abspath(path))
        if not absolute.is_file():
            raise ManifestError(f"{path}: no such manifest; make one with `python -m data_prep index DIR --out {path}`")
        try:
            file = pq.ParquetFile(absolute, memory_map=True)
        except (pa.ArrowInvalid, OSError) as error:
            raise ManifestError(f"{path}: not a Parquet file ({error}); make it again with data_prep") from None
        missing = [name for name in SCHEMA.names if name not in {*file.schema_arrow.names, *ADDED_LATER}]
        if missing:
            quads = "; it lists quadruplets, their films are in suite.parquet beside it, lawful ones in lawful.parquet"
            beside = quads if "quad_id" in file.schema_arrow.names else ""
            raise ManifestError(f"{path}: not a manifest: it has no column {', '.join(missing)}{beside}")
        manifest = cls(absolute, file)
        if manifest.metadata.get("format", FORMAT_VERSION) > FORMAT_VERSION:
            raise ManifestError(f"{path}: made by a newer version of this project (its metadata: {manifest.metadata})")
        return manifest

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Manifest.open, (self.path,)

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def metadata(self) -> dict[str, Any]:
        """How it was made: format, command, config, versions. Empty for a table written by other hands."""
        return json.loads((self._file.schema_arrow.metadata or {}).get(b"worldmodel", b"{}"))

    def clip(self, row: int) -> Clip:
        """The clip in a row; its paths are absolute."""
        if not 0 <= row < len(self):
            raise IndexError(f"{self.path}: row {row} of {len(self)}")
        group = int(np.searchsorted(self._starts, row, side="right")) - 1
        if group != self._group:
            self._table = self._file.read_row_group(group, columns=self._columns, use_threads=False)
            self._group = group
        values = self._table.slice(row - int(self._starts[group]), 1).to_pylist()[0]
        values["path"] = self.absolute(values["path"])
        values["truth"] = None if values["truth"] is None else self.absolute(values["truth"])
        return Clip(**values)

    def column(self, name: str) -> np.ndarray:
        """One column, all rows: numbers as they are, strings as an object array (with None for null)."""
        if name not in SCHEMA.names:
            raise ManifestError(f"{self.path}: no column {name!r}; there are {', '.join(SCHEMA.names)}")
        if name not in self._columns:
            return np.full(len(self), None, object)
        return self._file.read(columns=[name], use_threads=False)[name].to_numpy()

    def strings(self, name: str, rows: np.ndarray) -> pa.Array:
        """A text column at the given rows, as an Arrow array: no Python object a row, so a million cost 100 MB."""
        if name in ADDED_LATER and name not in self._columns:
            return pa.nulls(len(rows), pa.string())
        return self._file.read(columns=[name], use_threads=False)[name].take(rows).combine_chunks()

    def digest(self) -> str:
        """SHA-256 of what determines the samples: which stretches of which contents, at which rates, in which split and order.

        Paths and the layout of the Parquet file do not count: an equal manifest that was moved or written again has the same.
        """
        sums = {name: (hashlib.sha256(), hashlib.sha256()) for name in DIGESTED}  # lengths of texts, then values
        for batch in self._file.iter_batches(batch_size=1 << 16, columns=list(DIGESTED), use_threads=False):
            for name, (lengths, values) in sums.items():
                column = batch.column(name)
                if SCHEMA.field(name).type == pa.string():
                    texts = pc.fill_null(column.cast(pa.string()), "")
                    lengths.update(pc.binary_length(texts).to_numpy(zero_copy_only=False).astype("<i4").tobytes())
                    values.update("".join(texts.to_pylist()).encode())
                else:
                    values.update(column.to_numpy(zero_copy_only=False).astype("<f8").tobytes())
        whole = hashlib.sha256(" ".join(DIGESTED).encode())
        for parts in sums.values():
            for part in parts:
                whole.update(part.digest())
        return whole.hexdigest()

    def absolute(self, path: str) -> str:
        """A stored path, relative to the manifest's folder or absolute already -> absolute."""
        return os.path.join(self._folder, path)

    def rows(self, split: str) -> np.ndarray:
        """Row numbers, int64, of a split."""
        if split not in SPLITS:
            raise ManifestError(f"split {split!r} is none of {', '.join(SPLITS)}")
        found = [
            np.flatnonzero(pc.equal(batch.column(0), split).to_numpy(zero_copy_only=False)) + start
            for batch, start in self._batches("split")
        ]
        return np.concatenate([np.zeros(0, np.int64), *found]).astype(np.int64)

    def _batches(self, name: str) -> Iterable[tuple[pa.Table, int]]:
        for group, start in enumerate(self._starts[:-1]):
            yield self._file.read_row_group(group, columns=[name], use_threads=False), int(start)
