"""Traces: the surprise of every video over time.

All numbers of an evaluation can be computed from them without the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from eval.errors import EvalError
from eval.voe.scorers import ScorerId
from worldmodel.files.atomic import atomic_path

SCHEMA = pa.schema(
    [
        pa.field("video_id", pa.dictionary(pa.int32(), pa.string())),
        pa.field("scorer", pa.dictionary(pa.int32(), pa.string())),  # text form of a ScorerId
        pa.field("windows", pa.dictionary(pa.int32(), pa.string())),  # locked | sliding
        pa.field("window_start_s", pa.float64()),
        pa.field("context_s", pa.float64()),  # length of the window's context
        pa.field("time_s", pa.float64()),  # of the first frame that was forecast, from the video's first frame on
        pa.field("surprise", pa.float64()),  # mean over spatial tokens
    ]
)


@dataclass(frozen=True)
class TraceBlock:
    """Surprise of several videos by one scorer in one window: [videos, steps]."""

    video_ids: Sequence[str]
    scorer: ScorerId
    windows: str  # locked | sliding
    window_start_s: float
    context_s: float
    times_s: NDArray[np.float64]  # [steps]
    surprise: NDArray[np.float64]  # [videos, steps]


def write_traces(path: Path, blocks: Sequence[TraceBlock]) -> None:
    """Write one row per video and step. The file is replaced atomically."""
    counts = [block.surprise.size for block in blocks]
    videos = [np.repeat(np.array(block.video_ids, object), len(block.times_s)) for block in blocks]
    columns = {
        "video_id": pa.array(np.concatenate([np.zeros(0, object), *videos]), pa.string()).dictionary_encode(),
        **{name: _repeated([str(getattr(block, name)) for block in blocks], counts) for name in ("scorer", "windows")},
        **{name: np.repeat([getattr(block, name) for block in blocks], counts) for name in ("window_start_s", "context_s")},
        "time_s": np.concatenate([np.zeros(0), *[np.tile(block.times_s, len(block.video_ids)) for block in blocks]]),
        "surprise": np.concatenate([np.zeros(0), *[np.asarray(block.surprise, float).ravel() for block in blocks]]),
    }
    save_table(path, pa.Table.from_pydict(columns, schema=SCHEMA))


def save_table(path: Path, table: pa.Table) -> None:
    with atomic_path(path) as part:
        pq.write_table(table, part, compression="zstd", write_page_checksum=True)


def read_table(path: Path) -> pa.Table:
    """All rows of a file of traces. Raises EvalError that names the file where it is damaged."""
    try:
        table = pq.read_table(path, schema=SCHEMA, page_checksum_verification=True)
        table.validate(full=True)
        if empty := [name for name in SCHEMA.names if table[name].null_count]:
            raise ValueError(f"{', '.join(empty)} has rows without a value")
        return table
    except FileNotFoundError:
        raise EvalError(f"{path} is missing") from None
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise EvalError(f"{path} is damaged or is no table of traces ({reason})") from None


def join_traces(parts: Sequence[Path], path: Path) -> None:
    """Write the rows of several files of traces into one, in the order given."""
    save_table(path, pa.concat_tables([read_table(part) for part in parts]).unify_dictionaries())


def _repeated(names: list[str], counts: list[int]) -> pa.DictionaryArray:
    indices = pa.array(np.repeat(np.arange(len(names), dtype=np.int32), counts), pa.int32())
    encoded = pa.array(names, pa.string()).dictionary_encode()
    return pa.DictionaryArray.from_arrays(encoded.indices.take(indices), encoded.dictionary)


class Traces:
    """An open table of traces."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table.unify_dictionaries()

    @classmethod
    def open(cls, path: Path) -> Traces:
        """Raises EvalError that names the file where it is damaged."""
        return cls(read_table(path))

    def categories(self, name: str) -> list[str]:
        """The distinct values of `video_id`, `scorer` or `windows`.

        `codes` are indices into them.
        """
        chunks = self.table[name].chunks
        return chunks[0].dictionary.to_pylist() if chunks else []

    def codes(self, name: str) -> NDArray[np.int32]:
        """A text column as indices into `categories`."""
        return _joined([chunk.indices.to_numpy() for chunk in self.table[name].chunks], np.int32)

    def column(self, name: str) -> NDArray[np.float64]:
        """A column of numbers."""
        return self.table[name].to_numpy()

    def coded(self, name: str) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """A column of recurring numbers, as (indices, distinct numbers)."""
        encoded = self.table[name].dictionary_encode().unify_dictionaries().chunks
        distinct = encoded[0].dictionary.to_numpy() if encoded else np.zeros(0)
        return _joined([chunk.indices.to_numpy() for chunk in encoded], np.int32), distinct


def _joined(parts: list[NDArray], dtype: type) -> NDArray:
    return np.concatenate([np.zeros(0, dtype), *parts]).astype(dtype, copy=False)
