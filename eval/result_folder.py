"""OUT of a command: locked, and nothing in it is replaced but what the same command made of the same model."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from eval.errors import EvalError
from worldmodel.outputs import output_folder


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
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def check_same_model(file: Path, model_hash: str, data: str, split: str | None) -> None:
    """Raise EvalError where a result file is of another model, or of other films, than would now be measured."""
    said = read_json(file)
    if said is None or "made" not in said or "data" not in said:
        return
    model, there = said["made"]["model"], said["data"]
    if model["hash"] != model_hash:
        other = f"of another model, {model['name']} (weights {model['hash'][:8]}, now {model_hash[:8]})"
    elif os.path.abspath(there["manifest"]) != os.path.abspath(data) or there.get("split", split) != split:
        other = f"of other films, {there['manifest']}"
    else:
        return
    raise EvalError(f"{file.parent} holds results {other}; give another --out, or remove them")
