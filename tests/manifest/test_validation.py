"""Tables from pandas, Polars or DuckDB: compatible types are cast, and invalid values are named."""

import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from worldmodel.data.window_config import WindowConfig
from worldmodel.data.windows import WindowSource
from worldmodel.manifest import SCHEMA, Clip, Manifest, ManifestError, write_manifest

ROWS = 5


def table(**columns: Any) -> pa.Table:
    """Five clips; `columns` replace values of row 3, or whole columns where an Arrow array is given."""
    row = {
        "clip_id": "a", "path": "a.mp4", "member": None, "start_s": 0.0, "stop_s": 10.0, "fps": 30.0, "frames": 300,
        "width": 64, "height": 48, "rotation": 0, "codec": "h264", "split": "train", "label": None, "truth": None,
        "source": "test", "content_hash": "a", "timing": None, "crop": None,
    }  # fmt: skip
    arrays = {}
    for name, value in row.items():
        given = columns.get(name, value)
        values = [value] * 3 + [given] + [value]
        arrays[name] = given if isinstance(given, pa.Array) else pa.array(values, SCHEMA.field(name).type)
    return pa.table(arrays)


def written(folder: Path, content: pa.Table) -> Path:
    pq.write_table(content, folder / "m.parquet")
    return folder / "m.parquet"


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("path", None), ("path", ""), ("path", "a\0b.mp4"), ("member", ""), ("clip_id", None), ("content_hash", None),
        ("start_s", None), ("start_s", math.nan), ("start_s", -1.0), ("start_s", math.inf), ("stop_s", math.inf),
        ("stop_s", 1e300), ("stop_s", -math.inf), ("stop_s", 0.0), ("fps", 0.0), ("fps", -30.0), ("fps", math.nan),
        ("fps", 1e300), ("frames", -1), ("frames", 2**62), ("frames", None), ("width", 0), ("height", -5), ("width", 2**31 - 1),
        ("rotation", 4000), ("split", "validation"), ("split", None), ("split", ""), ("timing", "guess"),
        ("crop", "0 0 2 1"), ("crop", ""), ("crop", "left"),
    ],
)  # fmt: skip
def test_an_invalid_value_is_named_with_row_and_column(tmp_path: Path, column: str, value: Any):
    path = written(tmp_path, table(**{column: value}))
    with pytest.raises(ManifestError, match=rf"m\.parquet: row 3 \(counted from 0\): {column} is .*; expected ") as caught:
        Manifest.open(path)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("column", "array"),
    [
        ("path", pa.array([1, 2, 3, 4, 5])), ("path", pa.array([["a"]] * ROWS)), ("fps", pa.array(["30"] * ROWS)),
        ("fps", pa.array([True] * ROWS)), ("start_s", pa.array([0] * ROWS, pa.duration("s"))),
        ("split", pa.array([{"name": "train"}] * ROWS)),
    ],
)  # fmt: skip
def test_a_column_of_another_type_is_named(tmp_path: Path, column: str, array: pa.Array):
    with pytest.raises(ManifestError, match=rf"column {column} has type .*; expected (text|numbers)"):
        Manifest.open(written(tmp_path, table(**{column: array})))


@pytest.mark.parametrize(
    ("column", "array"),
    [
        ("path", pa.array(["a.mp4"] * ROWS, pa.large_string())), ("path", pa.array([b"a.mp4"] * ROWS)),
        ("split", pa.array(["train"] * ROWS).dictionary_encode()), ("label", pa.nulls(ROWS)), ("timing", pa.nulls(ROWS)),
        ("fps", pa.array([30.0] * ROWS, pa.float32())), ("fps", pa.array([30] * ROWS)),
        ("stop_s", pa.array([10] * ROWS).cast(pa.decimal128(20, 1))), ("start_s", pa.array([0] * ROWS, pa.int8())),
        ("frames", pa.array([300] * ROWS, pa.int32())), ("frames", pa.array([300.0] * ROWS)),
        ("width", pa.array([64] * ROWS, pa.uint64())), ("rotation", pa.array([0] * ROWS).dictionary_encode()),
    ],
)  # fmt: skip
def test_harmless_types_are_cast(tmp_path: Path, column: str, array: pa.Array):
    expected = Manifest.open(written(tmp_path, table()))
    clip, digest, values = expected.clip(3), expected.digest(), expected.column(column)
    manifest = Manifest.open(written(tmp_path, table(**{column: array})))
    assert manifest.clip(3) == clip
    assert manifest.digest() == digest
    assert manifest.column(column).dtype == values.dtype
    assert WindowSource(manifest, "train", WindowConfig(frames=8, fps=10)).window_at(0, 0.5).path == str(tmp_path / "a.mp4")


def test_a_fractional_number_of_frames_is_refused(tmp_path: Path):
    with pytest.raises(ManifestError, match=r"row 1 .*: frames is 1\.5; expected a whole number"):
        Manifest.open(written(tmp_path, table(frames=pa.array([1.0, 1.5, 2.0, 2.0, math.nan]))))


def test_text_that_is_not_unicode_is_named(tmp_path: Path):
    with pytest.raises(ManifestError, match=r"row 2 .*: path is b'\\xff\\xfe\.mp4', which is not UTF-8"):
        Manifest.open(written(tmp_path, table(path=pa.array([b"a", b"b", b"\xff\xfe.mp4", b"c", b"d"]))))


def test_a_column_that_occurs_twice_is_named(tmp_path: Path):
    twice = table().append_column("fps", pa.array([25.0] * ROWS))
    with pytest.raises(ManifestError, match="column fps occurs 2 times"):
        Manifest.open(written(tmp_path, twice))


@pytest.mark.parametrize(
    "metadata",
    [
        "{", "[]", "null", '"a"', "\udcff", "[" * 100_000, '{"format": "1"}', '{"format": NaN}', '{"format": true}',
        '{"format": 0}', '{"format": null}', '{"config": []}', '{"config": "suite"}', '{"versions": 3}', '{"format": 1e400}',
    ],
)  # fmt: skip
def test_invalid_metadata_is_refused(tmp_path: Path, metadata: str):
    stored = table().replace_schema_metadata({b"worldmodel": metadata.encode(errors="surrogateescape")})
    with pytest.raises(ManifestError, match="metadata") as caught:
        Manifest.open(written(tmp_path, stored))
    assert len(str(caught.value)) < 600


def test_an_empty_table_is_a_manifest_without_clips(tmp_path: Path):
    empty = pa.table({name: pa.nulls(0) for name in SCHEMA.names})
    manifest = Manifest.open(written(tmp_path, empty))
    assert len(manifest) == 0
    assert len(manifest.rows("train")) == 0
    assert manifest.column("path").tolist() == []
    with pytest.raises(ManifestError, match="it has no clips at all"):
        WindowSource(manifest, "train", WindowConfig())


def test_a_few_bytes_that_claim_gigabytes_are_refused(tmp_path: Path):
    paths = pa.array(["a" * 200_000_000, "b", "c", "d", "e"])
    pq.write_table(table(path=paths), tmp_path / "m.parquet", compression="zstd", use_dictionary=False)
    del paths
    assert (tmp_path / "m.parquet").stat().st_size < 100_000
    with pytest.raises(ManifestError, match="it claims to hold"):
        Manifest.open(tmp_path / "m.parquet")


@pytest.mark.parametrize(
    ("field", "value"),
    [("fps", math.nan), ("stop_s", math.inf), ("width", 0), ("frames", "many"), ("label", 3), ("timing", "x")],
)
def test_an_invalid_clip_is_not_written(tmp_path: Path, field: str, value: Any):
    good = Manifest.open(written(tmp_path, table())).clip(0)
    clips = [good, Clip(**{**vars(good), "path": "/data/bad.mp4", field: value})]
    with pytest.raises(ManifestError, match=rf"/data/bad\.mp4'?: {field} is "):
        write_manifest(tmp_path / "other.parquet", clips, command="test", config={})
    assert [path.name for path in tmp_path.iterdir()] == ["m.parquet"]


def test_rows_are_counted_over_the_whole_table(tmp_path: Path):
    many = pa.concat_tables([table()] * 10_000 + [table(fps=-1.0)])
    pq.write_table(many, tmp_path / "m.parquet", row_group_size=777)
    with pytest.raises(ManifestError, match=r"row 50003 "):
        Manifest.open(tmp_path / "m.parquet")


def test_metadata_of_other_programs_is_ignored(tmp_path: Path):
    stored = table().replace_schema_metadata({b"pandas": json.dumps({"index_columns": []}).encode()})
    assert Manifest.open(written(tmp_path, stored)).metadata == {}
