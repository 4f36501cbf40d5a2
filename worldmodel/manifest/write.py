"""Write a manifest as a Parquet file, with checksums of its pages and of the whole file."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from worldmodel.files.atomic import atomic_path, open_part
from worldmodel.files.output_errors import output_errors
from worldmodel.manifest.checksum import append_checksum
from worldmodel.manifest.clip import FORMAT_VERSION, SCHEMA, Clip, ManifestError
from worldmodel.manifest.digest import SampleDigest
from worldmodel.manifest.validation import Fault, conform
from worldmodel.storage.urls import is_url

ROWS_PER_GROUP = 4096  # reading one clip reads one group; reading a column takes about 30 us more per group
_UNIQUE = ("clip_id", "path", "content_hash", "signals")  # columns with few repeated values, which a dictionary would enlarge


def write_manifest(
    path: Path | str, clips: Iterable[Clip], *, command: str, config: Mapping[str, Any], added: pa.Table | None = None
) -> int:
    """Write clips to a Parquet file atomically, one row group after another. Returns the number of clips.

    Paths below the folder of the manifest are stored relative to it, so that the folder can be moved.
    added: more columns, with a row per clip. Readers of a manifest ignore them.
    Raises ManifestError for an invalid clip, and OutputError where the file cannot be written.
    """
    path = Path(path)
    metadata = {"format": FORMAT_VERSION, "command": command, "config": dict(config), "versions": _versions()}
    fields = [*SCHEMA, *(added.schema if added is not None else ())]
    schema = pa.schema(fields, {"worldmodel": json.dumps(metadata, sort_keys=True)})
    folder, rows, written, digest = path.parent.resolve(), iter(clips), 0, SampleDigest()
    dictionaries = [name for name in SCHEMA.names if name not in _UNIQUE]
    with atomic_path(path) as part:
        with (
            open_part(part, path) as file,
            pq.ParquetWriter(file, schema, compression="zstd", use_dictionary=dictionaries, write_page_checksum=True) as writer,
        ):
            while group := list(itertools.islice(rows, ROWS_PER_GROUP)):
                batch = _batch(group, folder)
                digest.update(batch)
                table = pa.Table.from_batches([batch])
                if added is not None:
                    for column in added.schema:
                        table = table.append_column(column, added.column(column.name).slice(written, len(group)))
                writer.write_table(table.replace_schema_metadata(schema.metadata))
                written += len(group)
        with output_errors(path):
            append_checksum(part, digest.digest())
    return written


def _batch(clips: list[Clip], folder: Path) -> pa.RecordBatch:
    """Clips as a record batch with stored paths. Raises ManifestError where one of them is not valid."""
    stored = [_with_stored_paths(clip, folder) for clip in clips]
    arrays = []
    for field in SCHEMA:
        values = [getattr(clip, field.name) for clip in stored]
        try:
            arrays.append(pa.array(values, field.type))
        except (pa.ArrowException, ValueError, TypeError, OverflowError):
            raise ManifestError(_describe_unsuitable(clips, values, field)) from None
    batch = conform(pa.RecordBatch.from_arrays(arrays, schema=SCHEMA), SCHEMA.names)
    if isinstance(batch, Fault):
        raise ManifestError(f"{clips[batch.row].path}: {batch.column} {batch.problem}")
    return batch


def _describe_unsuitable(clips: list[Clip], values: list[Any], field: pa.Field) -> str:
    """Message that names the clip with a value that its column cannot store."""
    for clip, value in zip(clips, values, strict=True):
        try:
            pa.array([value], field.type)
        except (pa.ArrowException, ValueError, TypeError, OverflowError):
            return f"{clip.path!r}: {field.name} is {value!r}; expected {field.type}"
    return f"column {field.name} cannot be stored as {field.type}"


def _with_stored_paths(clip: Clip, folder: Path) -> Clip:
    """The clip with its paths as they are stored."""
    if not isinstance(clip.path, str) or not clip.path:
        raise ManifestError(f"path is {clip.path!r}; expected the name of a file")
    truth, signals = (None if path is None else stored_path(path, folder) for path in (clip.truth, clip.signals))
    return dataclasses.replace(clip, path=stored_path(clip.path, folder), truth=truth, signals=signals)


def stored_path(path: str, folder: Path) -> str:
    """A path as it is stored in files of `folder`: relative where it lies below, else absolute. A URL stays as it is."""
    if is_url(path):
        return path
    absolute = os.path.abspath(os.path.join(folder, path))  # not resolved: a link to a video stays a link
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
