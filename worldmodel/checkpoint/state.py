"""state.json of a checkpoint: its fields, the digest of its own content, and its format.

`digest` is the SHA-256 of the canonical JSON of all other fields: keys sorted, no spaces, ASCII, numbers as Python's `json`
writes them. Formats from 2 on have it, computed in this way, so that damage is told from a newer format.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypedDict, cast

from worldmodel.config.renamed import with_new_keys
from worldmodel.files.atomic import write_json
from worldmodel.files.regular_file import open_regular

FORMAT = 3  # CONTRIBUTING.md says when to raise it
_DIGEST_SINCE = 2
_TODAYS_NAMES_SINCE = 3
_MAX_BYTES = 1 << 24  # a state.json has some 4 kB
_RESTORE = "restore it from a copy"
_FILE, _DIGEST = re.compile(r"[A-Za-z0-9_-]+\.safetensors"), re.compile(r"[0-9a-f]{64}")


class CheckpointError(RuntimeError):
    """A checkpoint could not be written or read; says which, why, and what to do."""


class UnreadableError(CheckpointError):
    """A checkpoint that storage does not give now; it may be whole."""


class NewerFormatError(CheckpointError):
    """A checkpoint was made by a newer version of this project."""


class State(TypedDict, total=False):
    """Content of state.json. `step`, `recipe` and `sha256` are always there; resuming needs RESUME_FIELDS too."""

    format: int
    step: int
    samples: int
    seconds: float  # of training
    skill: float | None  # mean held-out skill at this update; None where it was not measured
    windows: list[int]  # training windows of each manifest
    data: list[str]  # digest of each manifest; since the second version of format 1
    rows: dict[str, int]  # rows of each log up to this update, by its name; since format 2
    machine: dict[str, Any]  # what it was trained on
    recipe: dict[str, Any]
    run_folder: str  # absolute path of the run folder when this was written
    random: str
    sha256: dict[str, str]  # of each file of the checkpoint
    digest: str


RESUME_FIELDS = ("samples", "seconds", "skill", "windows")


def read_state(folder: Path) -> State:
    """Read and check the state.json of a checkpoint folder.

    Raises NewerFormatError for one of a newer version, CheckpointError for everything else that is wrong with it.
    """
    path = folder / "state.json"
    found = _parsed(path)
    form: Any = found.get("format")
    if not _is_count(form) or form < 1:
        raise CheckpointError(f"{path}: format is {_shown(form)}, expected a number from 1 to {FORMAT}; {_RESTORE}")
    if "digest" in found or _DIGEST_SINCE <= form <= FORMAT:
        try:
            intact = found.get("digest") == digest_of(found)
        except (ValueError, RecursionError):
            intact = False
        if not intact:
            raise CheckpointError(f"{path} is damaged: its content does not match its digest; {_RESTORE}")
    if form > FORMAT:
        raise NewerFormatError(
            f"{folder} was made by a newer version of this project (format {_shown(form)}, this version reads up to "
            f"{FORMAT}); update this project"
        )
    if form < _TODAYS_NAMES_SINCE:
        found = _with_todays_names(found)
    for name, (is_valid, expected, required) in _FIELDS.items():
        if name not in found:
            if required:
                raise CheckpointError(f"{path} has no {name}; {_RESTORE}")
        elif not is_valid(found[name]):
            raise CheckpointError(f"{path}: {name} is {_shown(found[name])}, expected {expected}; {_RESTORE}")
    if folder.name.isdecimal() and int(folder.name) != found["step"]:
        raise CheckpointError(f"{path} is of update {found['step']}, which is not that of its folder; {_RESTORE}")
    return cast(State, found)


def _with_todays_names(state: dict[str, Any]) -> dict[str, Any]:
    """The state of an earlier format as one of this format. Its digest, which is of the old names, is left out."""
    renamed = {"step" if name == "update" else name: value for name, value in state.items() if name != "digest"}
    if isinstance(recipe := renamed.get("recipe"), dict):
        renamed["recipe"] = with_new_keys(recipe)
    return {**renamed, "format": FORMAT}


def write_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Write state.json with its digest; a state without a format gets the newest. Raises OutputError."""
    content = {"format": FORMAT, **state}
    if content["format"] >= _DIGEST_SINCE:
        content = {**content, "digest": digest_of(content)}
    write_json(folder / "state.json", content)


def digest_of(state: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of all fields but `digest`."""
    content = {name: value for name, value in state.items() if name != "digest"}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()).hexdigest()


def unreadable(path: Path, error: OSError) -> CheckpointError:
    """The error that says that a file of a checkpoint cannot be read. A folder or a named pipe in its place is damage."""
    kind = CheckpointError if error.errno in (errno.EISDIR, errno.EINVAL) else UnreadableError
    return kind(f"{path} cannot be read: {error.strerror or error}")


# --- reading ---------------------------------------------------------------------------------------------------------
def _parsed(path: Path) -> dict[str, Any]:
    try:
        with open_regular(path) as file:
            content = file.read(_MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointError(f"{path.parent} has no state.json, so it is not complete") from None
    except OSError as error:
        raise unreadable(path, error) from None
    if len(content) > _MAX_BYTES:
        raise CheckpointError(f"{path} is not a valid checkpoint state file: it has more than {_MAX_BYTES:,} bytes; {_RESTORE}")
    try:
        found = json.loads(content.decode("utf-8"), parse_constant=_no_number, parse_float=_finite)
    except RecursionError:
        raise CheckpointError(f"{path} is not a valid checkpoint state file: it is nested too deeply; {_RESTORE}") from None
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged: {error}; {_RESTORE}") from None
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} is not a valid checkpoint state file: expected a JSON object; {_RESTORE}")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:20]} is too large")
    return number


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, str | float | bool | None) else type(value).__name__
    if isinstance(value, int) and not isinstance(value, bool):
        text = str(value) if abs(value) < 1 << 63 else "a number of more than 64 bits"
    return text if len(text) <= 40 else f"{text[:37]}..."


# --- fields ----------------------------------------------------------------------------------------------------------
def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _is_list_of(is_valid: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(is_valid, value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _are_counts(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_count, value.values()))


def _are_digests(value: Any) -> bool:
    return isinstance(value, dict) and all(
        _FILE.fullmatch(name) and isinstance(digest, str) and _DIGEST.fullmatch(digest) for name, digest in value.items()
    )


_FIELDS: dict[str, tuple[Callable[[Any], bool], str, bool]] = {  # whether it is valid, what is expected, whether it is required
    "step": (_is_count, "a number of updates", True),
    "samples": (_is_count, "a number of samples", False),
    "seconds": (lambda value: _is_number(value) and value >= 0, "a number of seconds", False),
    "skill": (lambda value: value is None or _is_number(value), "a number or null", False),
    "windows": (_is_list_of(_is_count), "a list of numbers of windows", False),
    "data": (_is_list_of(_is_text), "a list of digests", False),
    "rows": (_are_counts, "numbers of rows by the name of the log", False),
    "machine": (_is_object, "an object", False),
    "recipe": (_is_object, "an object", True),
    "run_folder": (_is_text, "a path", False),
    "sha256": (_are_digests, "SHA-256 digests by the names of safetensors files", True),
}
