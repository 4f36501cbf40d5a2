"""The table of quadruplets, quads.parquet: one row per video."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypedDict

import pyarrow as pa
import pyarrow.parquet as pq

from worldmodel.files.atomic import atomic_path


class QuadRow(TypedDict):
    """A video of a quadruplet. Frame ranges are half-open. See also `quadruplets.Quadruplet`."""

    quad_id: str
    clip_id: str  # of the manifest beside the table
    context_id: str  # a or b
    outcome_id: str  # u or v
    possible: bool
    property: str
    template: str
    visibility: str
    spliced: bool
    level: int
    copy_class: str
    magnitude: float | None
    split: str
    fps: float
    splice: int | None
    occlusion_start: int | None
    occlusion_stop: int | None
    violation: int
    reveal: int
    seed: int


_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("quad_id", "clip_id", "context_id", "outcome_id")),
        ("possible", pa.bool_()),
        *((name, pa.string()) for name in ("property", "template", "visibility")),
        ("spliced", pa.bool_()),
        ("level", pa.int64()),
        ("copy_class", pa.string()),
        ("magnitude", pa.float64()),
        ("split", pa.string()),
        ("fps", pa.float64()),
        *((name, pa.int64()) for name in ("splice", "occlusion_start", "occlusion_stop", "violation", "reveal", "seed")),
    ]
)


def write_quads(path: Path, rows: Iterator[QuadRow], config: dict[str, Any]) -> None:
    """Write the table, with the configuration of the videos in its metadata. Raises OutputError."""
    schema = _SCHEMA.with_metadata({"physics": json.dumps(config, sort_keys=True)})
    with atomic_path(path) as part, pq.ParquetWriter(part, schema, compression="zstd") as writer:
        while group := list(itertools.islice(rows, 1024)):
            writer.write_table(pa.Table.from_pylist(group, schema=schema))
