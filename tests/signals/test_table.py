"""The table of a clip: exact numbers, names and units, and errors that name the file."""

from __future__ import annotations

import errno
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from worldmodel.signals import Channel, SignalError, Signals, read_signals, write_signals

XY = Channel(("x", "y"), ("px", "px"))
ANGLE = Channel(("angle",), ("rad",))


def made(path: Path, rows: int = 5) -> Signals:
    """Actions [i, 10 i] and states [i / 3]; the last action is missing, as after the last step of an episode."""
    numbers = np.arange(rows, dtype=np.float64)
    actions = np.stack([numbers, 10 * numbers], 1)
    actions[-1] = np.nan
    return Signals(str(path), numbers / 10, actions, numbers[:, None] / 3, XY, ANGLE, {"seed": 7})


def test_a_table_is_read_as_it_was_written(tmp_path: Path):
    wanted = made(tmp_path / "a.parquet")
    write_signals(tmp_path / "a.parquet", wanted)
    found = read_signals(tmp_path / "a.parquet")
    np.testing.assert_array_equal(found.actions, wanted.actions)
    np.testing.assert_array_equal(found.states, wanted.states)
    np.testing.assert_array_equal(found.time_s, wanted.time_s)
    assert (found.action, found.state, found.origin) == (XY, ANGLE, {"seed": 7})
    assert found.step_s == pytest.approx(0.1)
    assert pq.read_table(tmp_path / "a.parquet")["action"].to_pylist()[-1] is None


def test_a_table_of_another_program_gets_numbered_names(tmp_path: Path):
    table = pa.table({"state": [[1.0], [2.0]], "time_s": [0.0, 0.5], "action": [[1, 2], [3, 4]], "reward": [0, 1]})
    pq.write_table(table, tmp_path / "a.parquet")
    found = read_signals(tmp_path / "a.parquet")
    assert found.action.names == ("action[0]", "action[1]")
    assert found.actions.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.large_list(pa.int16()), pa.list_(pa.float64(), 2)])
def test_every_type_of_list_is_read(tmp_path: Path, kind: pa.DataType):
    columns = {"time_s": [0.0, 0.1, 0.2], "action": pa.array([[1, 2], [3, 4], None], kind), "state": [5, 6, 7]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    found = read_signals(tmp_path / "a.parquet")
    np.testing.assert_array_equal(found.actions, [[1, 2], [3, 4], [np.nan, np.nan]])
    assert found.states.tolist() == [[5], [6], [7]]


def test_a_missing_number_is_nan(tmp_path: Path):
    columns = {"time_s": [0.0, 0.1], "action": [[1.0, None], [3.0, 4.0]], "state": [[], []]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    found = read_signals(tmp_path / "a.parquet")
    np.testing.assert_array_equal(found.actions, [[1, np.nan], [3, 4]])
    assert found.states.shape == (2, 0)


def broken(path: Path, **columns: list) -> None:
    given = {"time_s": [0.0, 0.1], "action": [[1.0], [2.0]], "state": [[1.0], [2.0]], **columns}
    pq.write_table(pa.table({name: values for name, values in given.items() if values is not None}), path)


@pytest.mark.parametrize(
    ("columns", "reason", "message"),
    [
        ({"time_s": [0.1, 0.1]}, "damaged", "time_s of its 2 rows does not increase"),
        ({"time_s": [0.0, float("nan")]}, "damaged", "does not increase"),
        ({"action": [[1.0], [2.0, 3.0]]}, "other size", "action has rows of 1 to 2 numbers; expected one size"),
        ({"state": None}, "damaged", "not a table of signals, or damaged"),
        ({"action": [["a"], ["b"]]}, "damaged", "not a table of signals"),
    ],
)
def test_a_wrong_table_is_named_with_its_problem(tmp_path: Path, columns, reason, message):
    broken(tmp_path / "a.parquet", **columns)
    with pytest.raises(SignalError, match=message) as caught:
        read_signals(tmp_path / "a.parquet")
    assert caught.value.reason == reason
    assert str(tmp_path / "a.parquet") in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_missing_and_damaged_files_are_named(tmp_path: Path):
    with pytest.raises(SignalError, match="no such table of signals") as caught:
        read_signals(tmp_path / "a.parquet")
    assert caught.value.reason == "missing"
    write_signals(tmp_path / "a.parquet", made(tmp_path / "a.parquet"))
    content = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(content[: len(content) // 2])
    with pytest.raises(SignalError, match="not a table of signals, or damaged"):
        read_signals(tmp_path / "a.parquet")


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO, errno.ESTALE])
def test_errors_of_storage_and_machine_are_no_property_of_the_table(tmp_path: Path, monkeypatch, number: int):
    write_signals(tmp_path / "a.parquet", made(tmp_path / "a.parquet"))

    def fail(*_args: object, **_options: object) -> None:
        raise OSError(number, "no answer")

    monkeypatch.setattr(pq, "ParquetFile", fail)
    with pytest.raises(OSError, match="no answer"):
        read_signals(tmp_path / "a.parquet")


def test_arrays_that_do_not_fit_are_not_written(tmp_path: Path):
    good = made(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"states are \[5, 1\]; expected \[5, 2\]"):
        write_signals(tmp_path / "a.parquet", Signals("a", good.time_s, good.actions, good.states, XY, XY))
    assert not (tmp_path / "a.parquet").exists()
