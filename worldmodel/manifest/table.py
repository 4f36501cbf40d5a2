"""Manifest, an open table of clips that is read in batches and never completely."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from worldmodel.manifest.checksum import verify_checksum
from worldmodel.manifest.clip import OPTIONAL_COLUMNS, SCHEMA, SPLITS, Clip, ManifestError
from worldmodel.manifest.digest import CROP, DIGEST_COLUMNS, FIRST_FRAME, SampleDigest
from worldmodel.manifest.metadata import parse_metadata
from worldmodel.manifest.validation import Fault, check_types, conform
from worldmodel.storage.errors import StorageError
from worldmodel.storage.objects import local_copy
from worldmodel.storage.urls import UrlError, is_url, join_url, parent_url

_BATCH_ROWS = 1 << 16
# Limits of the size that a file may claim. Compressed pages of equal values can require any amount of memory.
_ROWS_PER_BYTE = 64
_BYTES_PER_ROW, _BYTES_PER_GROUP = 4096, 64 << 20  # decompressed


class Manifest:
    """An open manifest with clips by row number. It opens quickly and holds one row group in memory.

    It is pickled as its path, so that every process opens the file itself.
    url: where it was read from, if it was a URL; `path` is then its copy in the local cache.
    """

    def __init__(
        self,
        path: Path,
        file: pq.ParquetFile,
        metadata: dict[str, Any],
        sample_digest: bytes | None,
        url: str | None = None,
    ) -> None:
        self.url = url
        self.path, self._file, self.metadata, self._sample_digest = path, file, metadata, sample_digest
        """`metadata` is its origin: format, command, config, versions. It is empty for a table of another program."""
        self._folder = str(path.parent)
        groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
        self._starts = np.concatenate([[0], np.cumsum([group.num_rows for group in groups], dtype=np.int64)])
        self._largest_group = max((group.total_byte_size - group.num_rows * _BYTES_PER_ROW for group in groups), default=0)
        self._group, self._table = -1, SCHEMA.empty_table()

    @classmethod
    def open(cls, path: Path | str) -> Manifest:
        """Open and validate a manifest, a file or a URL. Raises ManifestError where there is none, or it is damaged."""
        url = str(path) if is_url(path) else None
        with _storage_errors():
            absolute = Path(os.path.abspath(path)) if url is None else local_copy(url)
        with _manifest_errors(path, "cannot be opened"):
            if not absolute.is_file():
                raise ManifestError(f"{path}: no such manifest; make one with `python -m data_prep index DIR --out {path}`")
            sample_digest = verify_checksum(absolute)
        with _manifest_errors(path, "not a Parquet file, or damaged"):
            # not memory-mapped: truncating a mapped file ends the process
            file = pq.ParquetFile(absolute, pre_buffer=False, page_checksum_verification=True)
            names, stored = file.schema_arrow.names, (file.schema_arrow.metadata or {}).get(b"worldmodel", b"{}")
        with _with_file_name(path):
            metadata = parse_metadata(stored)
        missing = [name for name in SCHEMA.names if name not in {*names, *OPTIONAL_COLUMNS}]
        if missing:
            advice = "it lists quadruplets; their videos are in suite.parquet beside it, possible videos in calibration.parquet"
            hint = f"; {advice}" if "quad_id" in names else ""
            raise ManifestError(f"{path}: not a manifest: it has no column {', '.join(missing)}{hint}")
        with _with_file_name(path):
            check_types(file.schema_arrow)
        with _manifest_errors(path, "not a Parquet file, or damaged"):
            manifest = cls(absolute, file, metadata, sample_digest, url)
            manifest._check_size(absolute.stat().st_size)
        if sample_digest is None:  # from another program or an earlier version: its rows have never been validated
            for _ in manifest.batches(SCHEMA.names):
                pass
        return manifest

    def _check_size(self, file_bytes: int) -> None:
        """Refuse a file that claims too much data, before memory is allocated for it."""
        if (np.diff(self._starts) < 0).any() or len(self) > file_bytes * _ROWS_PER_BYTE:
            raise ManifestError(f"{self.path}: damaged: it claims to hold {len(self)} rows in {file_bytes} bytes")
        if self._largest_group > _BYTES_PER_GROUP:
            raise ManifestError(
                f"{self.path}: damaged, or not a table of clips: it claims to hold rows of more than {_BYTES_PER_ROW} bytes "
                f"on average, {_BYTES_PER_GROUP >> 20} MiB of them in one row group"
            )

    def __reduce__(self) -> tuple[Any, tuple[Path | str]]:
        return Manifest.open, (self.url or self.path,)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def clip(self, row: int) -> Clip:
        """The clip in a row, with absolute paths."""
        if not 0 <= row < len(self):
            raise IndexError(f"{self.path}: row {row} of {len(self)}")
        group = int(np.searchsorted(self._starts, row, side="right")) - 1
        if group != self._group:
            self._table, self._group = self._read_group(group), group
        values = self._table.slice(row - int(self._starts[group]), 1).to_pylist()[0]
        values["path"] = self.absolute(values["path"])
        for name in ("truth", "signals"):
            values[name] = None if values[name] is None else self.absolute(values[name])
        return Clip(**values)

    def _read_group(self, group: int) -> pa.Table:
        start, stop = self._starts[group : group + 2].tolist()
        with _manifest_errors(self.path, "damaged"):
            table = self._file.read_row_group(group, columns=self._stored(SCHEMA.names), use_threads=False)
            batches = table.combine_chunks().to_batches()
        if len(table) != stop - start:
            raise ManifestError(
                f"{self.path}: damaged: row group {group} has {len(table)} rows, its footer says {stop - start}"
            )
        return pa.Table.from_batches([self._checked(batch, SCHEMA.names, start) for batch in batches])

    def batches(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """All rows in order, as batches of the given columns, validated and with the types of the manifest."""
        start = 0
        stored = self._stored(names)
        with _manifest_errors(self.path, "damaged"):
            batches = self._file.iter_batches(batch_size=_BATCH_ROWS, columns=stored, use_threads=False)
        while True:
            with _manifest_errors(self.path, "damaged"):
                batch = next(batches, None)
            if batch is None:
                break
            yield self._checked(batch, names, start)
            start += len(batch)
        if start != len(self):
            raise ManifestError(f"{self.path}: damaged: it has {start} rows, its footer says {len(self)}")

    def column(self, name: str) -> np.ndarray:
        """One column of all rows: numbers, or strings as an object array (None for null)."""
        if name not in SCHEMA.names:
            raise ManifestError(f"{self.path}: no column {name!r}; there are {', '.join(SCHEMA.names)}")
        parts = [batch.column(0) for batch in self.batches([name])]
        return pa.chunked_array(parts, SCHEMA.field(name).type).to_numpy()

    def rows(self, split: str) -> np.ndarray:
        """Row numbers of a split, int64."""
        if split not in SPLITS:
            raise ManifestError(f"split {split!r} is none of {', '.join(SPLITS)}")
        parts = [pc.equal(batch.column(0), split).to_numpy(zero_copy_only=False) for batch in self.batches(["split"])]
        return np.flatnonzero(np.concatenate([np.zeros(0, bool), *parts])).astype(np.int64)

    def digest(self) -> str:
        """SHA-256 of what determines the samples: contents, intervals, rates, splits, crops and order of the clips.

        It depends neither on paths nor on the layout of the Parquet file, so an equal manifest that was
        moved or written again has the same digest.
        """
        if self._sample_digest is None:
            digest = SampleDigest()
            for batch in self.batches((*DIGEST_COLUMNS, CROP, FIRST_FRAME)):
                digest.update(batch)
            self._sample_digest = digest.digest()
        return self._sample_digest.hex()

    def absolute(self, path: str) -> str:
        """The absolute path of a stored path, which is absolute, relative to the folder of the manifest, or a URL.

        Raises ManifestError where the manifest lies at a URL and the path leaves the folder of that.
        """
        if self.url is not None:
            try:
                return join_url(parent_url(self.url), path)
            except UrlError as error:
                raise ManifestError(f"{self.url}: {error}") from None
        if is_url(path):
            return path
        return os.path.join(self._folder, path)

    def _stored(self, names: Sequence[str]) -> list[str]:
        """The columns among `names` that the file has."""
        return [name for name in names if name not in OPTIONAL_COLUMNS or name in self._file.schema_arrow.names]

    def _checked(self, batch: pa.RecordBatch, names: Sequence[str], start: int) -> pa.RecordBatch:
        with _manifest_errors(self.path, "damaged"):
            checked = conform(batch, names)
        if isinstance(checked, Fault):
            raise ManifestError(f"{self.path}: row {start + checked.row} (counted from 0): {checked.column} {checked.problem}")
        return checked


@contextmanager
def _manifest_errors(path: Path | str, problem: str) -> Iterator[None]:
    """Convert errors of reading into ManifestErrors. pyarrow raises many types of errors for damaged files."""
    try:
        yield
    except ManifestError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno and error.strerror:
            raise ManifestError(f"{path}: cannot be read: {error.strerror}") from None
        reason = " ".join(str(error).split())[:300]
        raise ManifestError(f"{path}: {problem} ({reason or type(error).__name__}); make it again with data_prep") from None


@contextmanager
def _storage_errors() -> Iterator[None]:
    """Convert errors of object storage into ManifestErrors."""
    try:
        yield
    except StorageError as error:
        raise ManifestError(str(error.strerror)) from None
    except ValueError as error:  # a UrlError, or a setting of the cache that is not a number
        raise ManifestError(str(error)) from None


@contextmanager
def _with_file_name(path: Path | str) -> Iterator[None]:
    """Add the path to the message of a ManifestError."""
    try:
        yield
    except ManifestError as error:
        raise ManifestError(f"{path}: {error}") from None
