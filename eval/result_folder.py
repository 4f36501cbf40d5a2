"""OUT of a command: locked, and nothing in it is replaced but what the same command made of the same model."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from eval.errors import EvalError
from eval.voe.trials import TrialError
from worldmodel.files.json_files import parsed, read_object
from worldmodel.files.outputs import RECORD, output_folder, sha256_of


@contextlib.contextmanager
def result_folder(out: Path, names: Sequence[str], known_by: str) -> Iterator[None]:
    """Lock OUT and write these files and folders into it.

    known_by: the JSON file in OUT that says how it was made. By it the files of an earlier version, which kept no record, are
    known to be the command's own.
    Raises FolderLockError where another process writes there, ForeignFileError where a file is not the command's own.
    """
    said = read_json(out / known_by)
    known = said is not None and bool({"made", "command"} & said.keys())
    with output_folder(out, names, adopt=known):
        yield


def read_json(file: Path) -> dict[str, Any] | None:
    """A JSON object, or None where there is none."""
    try:
        return read_object(file, EvalError)
    except EvalError:
        return None


def read_result(file: Path) -> dict[str, Any]:
    """The JSON object of a result file. Raises EvalError that names the file where it is damaged."""
    return read_object(file, EvalError)


def check_unchanged(out: Path, names: Sequence[str]) -> None:
    """Raise EvalError for a result file that is not what its command wrote, by the digests that OUT holds.

    A folder without digests, which an earlier version made, is not checked.
    """
    written: dict[str, Any] = {}
    with contextlib.suppress(OSError):
        for line in (out / RECORD).read_bytes().splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                row = parsed(line)
                written[row["file"]] = row["sha256"]
    for name in names:
        if written.get(name) and (out / name).is_file() and sha256_of(out / name) != written[name]:
            raise EvalError(f"{out / name} was damaged or changed since it was written; restore it, or evaluate again")


@contextlib.contextmanager
def reading_results(out: Path, names: Sequence[str]) -> Iterator[None]:
    """Turn errors of results that lack a field, or have another value in it than expected, into EvalError that names OUT."""
    try:
        yield
    except (EvalError, TrialError, OSError):
        raise
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError, pa.ArrowException) as error:
        what = f"no field {error}" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"
        raise EvalError(
            f"{out} does not hold what this version reads from {', '.join(names)} ({what}); evaluate again"
        ) from error


def check_same_model(file: Path, model_hash: str, data: str, split: str | None) -> None:
    """Raise EvalError where a result file is of another model, or of other films, than would now be measured."""
    said = read_json(file)
    if said is None or "made" not in said or "data" not in said:
        return
    with reading_results(file.parent, [file.name]):
        model, there = said["made"]["model"], said["data"]
        if model["hash"] != model_hash:
            other = f"of another model, {model['name']} (weights {model['hash'][:8]}, now {model_hash[:8]})"
        elif os.path.abspath(there["manifest"]) != os.path.abspath(data) or there.get("split", split) != split:
            other = f"of other films, {there['manifest']}"
        else:
            return
    raise EvalError(f"{file.parent} holds results {other}; give another --out, or remove them")
