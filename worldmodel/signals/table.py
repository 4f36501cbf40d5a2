"""The table of a clip: a Parquet file with the columns time_s, action [A] and state [S].

Names, units and the origin of the signals are JSON in its metadata, under the key `signals`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from worldmodel.files.atomic import atomic_path
from worldmodel.files.output_errors import output_errors
from worldmodel.storage.members import read_named, split_member
from worldmodel.storage.urls import is_url

FORMAT_VERSION = 1
_LARGEST_BYTES = 1 << 30  # of one decompressed table; compressed equal values can claim any size


class SignalError(ValueError):
    """The signals of a clip cannot be used.

    path: the table. reason: a few words that are equal for equal problems, so that they can be
    counted: "missing", "damaged", "not a number", "other size", "constant", "not recorded", "other rate".
    """

    def __init__(self, path: str, reason: str, detail: str) -> None:
        super().__init__(f"{path}: {detail}")
        self.path, self.reason, self.detail = path, reason, detail

    def __reduce__(self) -> tuple[type[SignalError], tuple[str, str, str]]:
        return SignalError, (self.path, self.reason, self.detail)


@dataclass(frozen=True)
class Channel:
    """The names of the numbers of a signal, and their units ("" where unknown)."""

    names: tuple[str, ...]
    units: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.units):
            raise ValueError(f"{len(self.names)} names and {len(self.units)} units; expected one unit per name")


@dataclass(frozen=True)
class Signals:
    """Signals over time. The action of row i is applied from its time until that of row i + 1.

    The last row may have a state and no action, which is NaN: an episode of N actions has N + 1 states.
    """

    path: str  # of the table, for messages
    time_s: NDArray[np.float64]  # [N], increasing, since the first frame of the file
    actions: NDArray[np.float64]  # [N, A]
    states: NDArray[np.float64]  # [N, S]
    action: Channel
    state: Channel
    origin: Mapping[str, Any] = field(default_factory=dict)  # of an environment: what `reset` needs to start the episode again

    @property
    def step_s(self) -> float:
        """The typical time between two rows: the median."""
        return float(np.median(np.diff(self.time_s)))


def write_signals(path: Path, signals: Signals) -> None:
    """Write a table atomically. Raises OutputError, and ValueError for arrays that do not fit together."""
    rows = len(signals.time_s)
    for name, values, channel in (("actions", signals.actions, signals.action), ("states", signals.states, signals.state)):
        if values.shape != (rows, len(channel.names)):
            raise ValueError(f"{path}: {name} are {list(values.shape)}; expected {[rows, len(channel.names)]}")
    about = {
        "format": FORMAT_VERSION,
        "action": {"names": signals.action.names, "units": signals.action.units},
        "state": {"names": signals.state.names, "units": signals.state.units},
        "origin": dict(signals.origin),
    }
    table = pa.table({"time_s": signals.time_s, "action": _lists(signals.actions), "state": _lists(signals.states)})
    table = table.replace_schema_metadata({"signals": json.dumps(about, sort_keys=True)})
    with atomic_path(path) as part, output_errors(path):
        pq.write_table(table, part, compression="zstd", write_page_checksum=True)


def read_signals(path: Path | str) -> Signals:
    """Read a table: a file, an object, or a member of a tar (`TAR::NAME`).

    Raises SignalError where it is missing, damaged, or its rows do not fit together. Errors of the storage or the machine
    are no property of the table, so they are raised as they are: OSError.
    """
    name = str(path)
    source = _source_of(name)
    try:
        file = pq.ParquetFile(source, pre_buffer=False, page_checksum_verification=True)
        if sum(file.metadata.row_group(i).total_byte_size for i in range(file.num_row_groups)) > _LARGEST_BYTES:
            raise SignalError(name, "damaged", f"it claims more than {_LARGEST_BYTES >> 20} MiB")
        table = file.read(columns=["time_s", "action", "state"], use_threads=False)
        about = json.loads((table.schema.metadata or {}).get(b"signals", b"{}"))
        time_s = table["time_s"].to_numpy().astype(np.float64)
        action, state = (_channel(about, key) for key in ("action", "state"))
        actions = _rows(name, table["action"], "action", len(action.names))
        states = _rows(name, table["state"], "state", len(state.names))
        newest, origin = about.get("format", FORMAT_VERSION), dict(about.get("origin", {}))
    except SignalError:
        raise
    except Exception as error:  # pyarrow raises many types of errors for damaged files
        if isinstance(error, OSError) and error.errno is not None:  # for damaged content, pyarrow gives no error number
            raise
        reason = " ".join(str(error).split())[:200]
        raise SignalError(name, "damaged", f"not a table of signals, or damaged ({reason or type(error).__name__})") from None
    if newest > FORMAT_VERSION:
        raise SignalError(
            name, "damaged", f"its format is {newest}; this version reads up to {FORMAT_VERSION}; update this project"
        )
    if len(time_s) < 2 or not np.isfinite(time_s).all() or not (np.diff(time_s) > 0).all():
        raise SignalError(name, "damaged", f"time_s of its {len(time_s)} rows does not increase; expected two rows or more")
    action, state = _named(action, actions, "action"), _named(state, states, "state")
    for key, values, channel in (("action", actions, action), ("state", states, state)):
        if len(channel.names) != values.shape[1]:
            count = values.shape[1]
            raise SignalError(name, "other size", f"{key} has {count} numbers per row and {len(channel.names)} names")
    return Signals(name, time_s, actions, states, action, state, origin)


def _source_of(name: str) -> Path | pa.BufferReader:
    """The file of a table, or its content where it is not a file of its own."""
    missing = "no such table of signals; the manifest names it for a clip"
    if not is_url(name) and split_member(name)[1] is None:
        if not Path(name).is_file():
            raise SignalError(name, "missing", missing)
        return Path(name)
    try:
        return pa.BufferReader(read_named(name, _LARGEST_BYTES))
    except FileNotFoundError:
        raise SignalError(name, "missing", missing) from None
    except ValueError as error:
        raise SignalError(name, "damaged", str(error)) from None


def _lists(values: NDArray[np.float64]) -> pa.Array:
    """Rows as lists; a row of NaN becomes null."""
    offsets = pa.array(np.arange(len(values) + 1, dtype=np.int32) * values.shape[1])
    missing = pa.array(np.isnan(values).all(1) if values.shape[1] else np.zeros(len(values), bool))
    return pa.ListArray.from_arrays(offsets, pa.array(values.reshape(-1)), mask=missing)


def _rows(name: str, column: pa.ChunkedArray, key: str, names: int) -> NDArray[np.float64]:
    """[N, width]; null rows and numbers become NaN. Rows of different lengths are an error; plain numbers have the width 1.

    names: how many names there are; the width where all rows are null.
    """
    lists = column.combine_chunks()
    if pa.types.is_integer(lists.type) or pa.types.is_floating(lists.type):
        return _floats(lists)[:, None]
    lengths = pc.list_value_length(lists).drop_null().unique().to_pylist()
    if len(lengths) > 1:
        raise SignalError(name, "other size", f"{key} has rows of {min(lengths)} to {max(lengths)} numbers; expected one size")
    width = lengths[0] if lengths else names
    values = np.full((len(lists), width), np.nan)
    if width:
        values[lists.is_valid().to_numpy(zero_copy_only=False)] = _floats(pc.list_flatten(lists)).reshape(-1, width)
    return values


def _floats(numbers: pa.Array) -> NDArray[np.float64]:
    """Null becomes NaN. Raises for text."""
    return numbers.cast(pa.float64()).to_numpy(zero_copy_only=False)


def _channel(about: Mapping[str, Any], key: str) -> Channel:
    found = about.get(key, {})
    names = tuple(str(name) for name in found.get("names", ()))
    return Channel(names, tuple(str(unit) for unit in found.get("units", ("",) * len(names))))


def _named(channel: Channel, values: NDArray[np.float64], key: str) -> Channel:
    """The channel, or numbered names for a table of another program."""
    count = values.shape[1]
    return channel if channel.names else Channel(tuple(f"{key}[{i}]" for i in range(count)), ("",) * count)
