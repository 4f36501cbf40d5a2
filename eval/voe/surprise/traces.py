"""Surprise over time, film by film: the table from which every number can be made again without the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from eval.errors import EvalError
from worldmodel.files.atomic import replacing

SCHEMA = pa.schema(
    [
        pa.field("film_id", pa.dictionary(pa.int32(), pa.string())),
        pa.field("scorer", pa.dictionary(pa.int32(), pa.string())),
        pa.field("windows", pa.dictionary(pa.int32(), pa.string())),  # locked | free
        pa.field("window_start_s", pa.float64()),
        pa.field("context_s", pa.float64()),  # how much of the window was seen
        pa.field("time_s", pa.float64()),  # of the frame judged, since the film's first
        pa.field("surprise", pa.float64()),  # mean over places
    ]
)


@dataclass(frozen=True)
class Block:
    """Surprise of films that were cut alike, by one scorer, in one window: [films, steps]."""

    film_ids: Sequence[str]
    scorer: str
    windows: str  # locked | free
    window_start_s: float
    context_s: float
    times_s: NDArray[np.float64]  # [steps]
    surprise: NDArray[np.float64]  # [films, steps]


def write_traces(path: Path, blocks: Sequence[Block]) -> None:
    """One row a step; whole or not at all."""
    counts = [block.surprise.size for block in blocks]
    films = [np.repeat(np.array(block.film_ids, object), len(block.times_s)) for block in blocks]
    columns = {
        "film_id": pa.array(np.concatenate([np.zeros(0, object), *films]), pa.string()).dictionary_encode(),
        **{name: _repeated([getattr(block, name) for block in blocks], counts) for name in ("scorer", "windows")},
        **{name: np.repeat([getattr(block, name) for block in blocks], counts) for name in ("window_start_s", "context_s")},
        "time_s": np.concatenate([np.zeros(0), *[np.tile(block.times_s, len(block.film_ids)) for block in blocks]]),
        "surprise": np.concatenate([np.zeros(0), *[np.asarray(block.surprise, float).ravel() for block in blocks]]),
    }
    save_table(path, pa.Table.from_pydict(columns, schema=SCHEMA))


def save_table(path: Path, table: pa.Table) -> None:
    with replacing(path) as part:
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
    """Parts one after another, in the order given."""
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
        """What occurs in `film_id`, `scorer` or `windows`; `codes` are places in it."""
        chunks = self.table[name].chunks
        return chunks[0].dictionary.to_pylist() if chunks else []

    def codes(self, name: str) -> NDArray[np.int32]:
        """A text column, each name as its place in `categories`."""
        return _joined([chunk.indices.to_numpy() for chunk in self.table[name].chunks], np.int32)

    def column(self, name: str) -> NDArray[np.float64]:
        """A column of numbers."""
        return self.table[name].to_numpy()

    def coded(self, name: str) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """A column of numbers that recur, as (places, distinct numbers)."""
        encoded = self.table[name].dictionary_encode().unify_dictionaries().chunks
        distinct = encoded[0].dictionary.to_numpy() if encoded else np.zeros(0)
        return _joined([chunk.indices.to_numpy() for chunk in encoded], np.int32), distinct


def _joined(parts: list[NDArray], dtype: type) -> NDArray:
    return np.concatenate([np.zeros(0, dtype), *parts]).astype(dtype, copy=False)
