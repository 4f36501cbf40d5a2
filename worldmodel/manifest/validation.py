"""Validation of the columns of a manifest.

Tables of pandas, Polars or DuckDB may have other types, which are cast where this loses nothing. All
checks work on whole Arrow arrays, so that a million rows take a fraction of a second.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from worldmodel.manifest.clip import OPTIONAL_COLUMNS, SCHEMA, SPLITS, ManifestError
from worldmodel.video.container.timing import TIMINGS
from worldmodel.video.crop_rectangle import CropRectangle

_LONGEST_S = 1e9  # 31 years
_LARGEST_PX = 1e6
_MOST_FRAMES = 1e12


@dataclass(frozen=True)
class _Range:
    """Numbers from `low` to `high`, both included. With `open_below`, `low` is excluded."""

    low: float
    high: float
    unit: str
    open_below: bool = False

    def __str__(self) -> str:
        return f"{self.unit} {'above' if self.open_below else 'from'} {self.low:g} to {self.high:g}"


_RANGES = {
    "start_s": _Range(0, _LONGEST_S, "seconds"),
    "stop_s": _Range(0, _LONGEST_S, "seconds"),
    "fps": _Range(0, 1e6, "frames per second", open_below=True),
    "frames": _Range(0, _MOST_FRAMES, "a whole number"),
    "first_frame": _Range(0, _MOST_FRAMES, "a whole number or null"),
    "width": _Range(1, _LARGEST_PX, "a whole number"),
    "height": _Range(1, _LARGEST_PX, "a whole number"),
    "rotation": _Range(-360, 360, "a whole number"),
}
_CHOICES = {"split": SPLITS, "timing": TIMINGS}
_FILE_NAMES = ("path", "member", "truth", "signals")


@dataclass(frozen=True)
class Fault:
    """An invalid value. `row` counts from 0 within the batch."""

    row: int
    column: str
    problem: str


def check_types(schema: pa.Schema) -> None:
    """Raise ManifestError, without the name of the file, where column types do not fit a manifest."""
    for name in SCHEMA.names:
        if schema.names.count(name) > 1:
            raise ManifestError(f"column {name} occurs {schema.names.count(name)} times; keep one")
        if name in schema.names and not _can_cast(found := schema.field(name).type, wanted := SCHEMA.field(name).type):
            kind = "text" if wanted == pa.string() else "numbers"
            raise ManifestError(f"column {name} has type {found}; expected {kind} ({wanted}); convert the column")


def _can_cast(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether values of type `found` can be cast to type `wanted` without a change of meaning."""
    if pa.types.is_dictionary(found):
        found = found.value_type
    if pa.types.is_null(found):  # pandas writes this type for a column of None
        return True
    if wanted == pa.string():
        return found in _TEXT_TYPES
    return pa.types.is_integer(found) or pa.types.is_floating(found) or pa.types.is_decimal(found)


_TEXT_TYPES = {pa.string(), pa.large_string(), pa.binary(), pa.large_binary()} | {
    getattr(pa, name)() for name in ("string_view", "binary_view") if hasattr(pa, name)
}


def conform(batch: pa.RecordBatch, names: Sequence[str]) -> pa.RecordBatch | Fault:
    """The columns `names` of a batch with the types of the manifest, or their first fault."""
    columns = []
    for name in names:
        if name in OPTIONAL_COLUMNS and name not in batch.schema.names:
            columns.append(pa.nulls(len(batch), SCHEMA.field(name).type))
            continue
        column = _conform_column(batch.column(name), SCHEMA.field(name))
        if isinstance(column, Fault):
            return column
        columns.append(column)
    if "start_s" in names and "stop_s" in names:
        start, stop = columns[names.index("start_s")], columns[names.index("stop_s")]
        if (row := _first_true(pc.less_equal(stop, start))) is not None:
            return Fault(
                row, "stop_s", f"is {stop[row].as_py()!r}; expected more than start_s, which is {start[row].as_py()!r}"
            )
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema([SCHEMA.field(name) for name in names]))


def _conform_column(column: pa.Array, field: pa.Field) -> pa.Array | Fault:
    is_text = field.type == pa.string()
    if pa.types.is_dictionary(column.type):
        column.validate(full=True)
        column = column.dictionary_decode()
    if not field.nullable and column.null_count:
        row = _first_true(pc.is_null(column))
        return Fault(row or 0, field.name, f"is null; expected {'text' if is_text else 'a number'} in every row")
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), field.type)
    return _conform_text(column, field.name) if is_text else _conform_numbers(column, field)


def _conform_text(column: pa.Array, name: str) -> pa.Array | Fault:
    try:
        texts = column.cast(pa.string())
        texts.validate(full=True)
    except pa.ArrowInvalid:
        return _not_unicode(column, name)
    if name in _CHOICES:
        broken = pc.and_(pc.is_valid(texts), pc.invert(pc.is_in(texts, value_set=pa.array(_CHOICES[name]))))
        expected = f"one of {', '.join(_CHOICES[name])}{' or null' if name in OPTIONAL_COLUMNS else ''}"
    elif name in _FILE_NAMES:
        broken = pc.equal(pc.binary_length(texts), 0)
        if (np.frombuffer(utf8_bytes(texts), np.uint8) == 0).any():
            broken = pc.or_(broken, pc.match_substring(texts, "\0"))
        expected = "the name of a file"
    elif name == "crop":
        return _conform_crop(texts)
    else:
        return texts
    row = _first_true(broken)
    return texts if row is None else Fault(row, name, f"is {_format_value(texts[row].as_py())}; expected {expected}")


def _conform_crop(texts: pa.Array) -> pa.Array | Fault:
    for text in texts.unique().drop_null().to_pylist():
        try:
            CropRectangle.parse(text)
        except ValueError as error:
            return Fault(_first_true(pc.equal(texts, text)) or 0, "crop", f"is {error}")
    return texts


def _not_unicode(column: pa.Array, name: str) -> Fault:
    """Find the text that is not valid UTF-8."""
    for row, value in enumerate(column.cast(pa.large_binary()).to_pylist()):
        try:
            (value or b"").decode()
        except UnicodeDecodeError:
            return Fault(row, name, f"is {_format_value(value)}, which is not UTF-8; expected Unicode text")
    return Fault(0, name, "is not valid text")


def _conform_numbers(column: pa.Array, field: pa.Field) -> pa.Array | Fault:
    allowed, whole = _RANGES[field.name], pa.types.is_integer(field.type)
    numbers = column.cast(pa.float64(), safe=False)
    is_above = pc.greater if allowed.open_below else pc.greater_equal
    good = pc.and_(is_above(numbers, allowed.low), pc.less_equal(numbers, allowed.high))  # False for NaN, null for null
    if whole and not pa.types.is_integer(column.type):
        good = pc.and_(good, pc.equal(pc.floor(numbers), numbers))
    if (row := _first_true(pc.invert(good))) is not None:
        return Fault(row, field.name, f"is {_format_value(column[row].as_py())}; expected {allowed}")
    return numbers.cast(field.type) if not pa.types.is_integer(column.type) else column.cast(field.type)


def utf8_bytes(texts: pa.Array) -> memoryview:
    """The concatenated UTF-8 bytes of all texts of a string array, without a copy."""
    _, offsets, data = texts.buffers()
    if data is None or not len(texts):
        return memoryview(b"")
    bounds = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return memoryview(data)[int(bounds[0]) : int(bounds[-1])]


def _first_true(broken: pa.Array) -> int | None:
    """The first row that is True. Null counts as False."""
    row = pc.index(broken, True).as_py()
    return None if row < 0 else row


def _format_value(value: Any) -> str:
    text = repr(value if not isinstance(value, float) or math.isfinite(value) else str(value))
    return text if len(text) <= 80 else f"{text[:77]}..."
