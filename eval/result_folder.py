"""The output folder OUT of a command.

It is locked, and only files that the same command wrote are replaced.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from eval.errors import EvalError
from eval.voe.trials import TrialError
from worldmodel.files.json_files import parse_json, read_json_object
from worldmodel.files.outputs import RECORD, output_folder, sha256_of


@contextlib.contextmanager
def result_folder(out: Path, names: Sequence[str], known_by: str) -> Iterator[None]:
    """Lock OUT to write these files and folders into it.

    known_by: the JSON file in OUT that states how it was made. It identifies files of an earlier
    version, which recorded no outputs, as the command's own. Raises FolderLockError where another
    process writes there, ForeignFileError where a file is not the command's own.
    """
    about = read_json(out / known_by)
    known = about is not None and bool({"made", "command"} & about.keys())
    with output_folder(out, names, adopt_unrecorded=known):
        yield


def read_json(file: Path) -> dict[str, Any] | None:
    """The JSON object in a file, or None where there is none."""
    try:
        return read_json_object(file, EvalError)
    except EvalError:
        return None


def read_result(file: Path) -> dict[str, Any]:
    """The JSON object in a file of results.

    Raises EvalError that names the file where it is damaged.
    """
    return read_json_object(file, EvalError)


def check_unchanged(out: Path, names: Sequence[str]) -> None:
    """Raise EvalError for a file of results that changed, by the digests that OUT holds.

    A folder without digests, which an earlier version wrote, is not checked.
    """
    written: dict[str, Any] = {}
    with contextlib.suppress(OSError):
        for line in (out / RECORD).read_bytes().splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                row = parse_json(line)
                written[row["file"]] = row["sha256"]
    for name in names:
        if written.get(name) and (out / name).is_file() and sha256_of(out / name) != written[name]:
            raise EvalError(f"{out / name} was damaged or changed since it was written; restore it, or evaluate again")


@contextlib.contextmanager
def reading_results(out: Path, names: Sequence[str]) -> Iterator[None]:
    """Turn errors of missing fields and unexpected values in results into EvalError."""
    try:
        yield
    except (EvalError, TrialError, OSError):
        raise
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError, pa.ArrowException) as error:
        what = f"no field {error}" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"
        raise EvalError(
            f"{out} does not hold what this version reads from {', '.join(names)} ({what}); evaluate again"
        ) from error


def check_same_model(file: Path, model_hash: str, data: str, split: str | None, precision: str = "fp32") -> None:
    """Raise EvalError where a file of results is of another model, of another precision, or of other videos."""
    about = read_json(file)
    if about is None or "made" not in about or "data" not in about:
        return
    with reading_results(file.parent, [file.name]):
        model, videos = about["made"]["model"], about["data"]
        if model["hash"] != model_hash:
            other = f"of another model, {model['name']} (weights {model['hash'][:8]}, now {model_hash[:8]})"
        elif (before := model.get("precision", "fp32")) != precision:
            other = f"in another precision, {before} (now {precision})"
        elif os.path.abspath(videos["manifest"]) != os.path.abspath(data) or videos.get("split", split) != split:
            other = f"of other videos, {videos['manifest']}"
        else:
            return
    raise EvalError(f"{file.parent} holds results {other}; give another --out, or remove them")
