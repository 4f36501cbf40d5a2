"""The state.json of a checkpoint: its fields, its digest and its format.

`digest` is the SHA-256 of the canonical JSON of all other fields: sorted keys, no spaces, ASCII, and
numbers as Python's `json` writes them. All formats from 2 on have it, so that damage is
distinguished from a newer format.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypedDict, cast

from worldmodel.config.renamed import with_new_keys
from worldmodel.files.atomic import write_json
from worldmodel.files.regular_file import open_regular

FORMAT = 4  # see CONTRIBUTING.md on when to increase it. Written by several ranks; with whole tensors it is still 3
WHOLE_FORMAT = 3
_DIGEST_SINCE = 2
_CURRENT_NAMES_SINCE = 3
_MAX_BYTES = 1 << 24  # a state.json has about 4 kB
_RESTORE = "restore it from a copy"
_FILE, _DIGEST = re.compile(r"[A-Za-z0-9_-]+\.safetensors"), re.compile(r"[0-9a-f]{64}")


class CheckpointError(RuntimeError):
    """A checkpoint could not be written or read. The message says which one, why, and what to do."""


class UnreadableError(CheckpointError):
    """Storage cannot read a checkpoint now. The checkpoint may be intact."""


class NewerFormatError(CheckpointError):
    """A checkpoint was written by a newer version of this project."""


class State(TypedDict, total=False):
    """Content of state.json. `step`, `recipe` and `sha256` always exist; a resume also needs RESUME_FIELDS."""

    format: int
    step: int
    samples: int
    seconds: float  # duration of training
    skill: float | None  # mean held-out skill at this step; None where it was not evaluated
    windows: list[int]  # number of training windows of each manifest
    data: list[str]  # digest of each manifest; since the second version of format 1
    rows: dict[str, int]  # number of rows of each log up to this step, by its name; since format 2
    machine: dict[str, Any]  # hardware and software of the training
    recipe: dict[str, Any]
    run_folder: str  # absolute path of the run folder at the time of saving
    random: str
    sha256: dict[str, str]  # digest of each file of the checkpoint
    digest: str


RESUME_FIELDS = ("samples", "seconds", "skill", "windows")


def read_state(folder: Path) -> State:
    """Read and validate the state.json of a checkpoint folder.

    Raises NewerFormatError for a state of a newer version, and CheckpointError for every other problem.
    """
    path = folder / "state.json"
    found = _parse_state(path)
    form: Any = found.get("format")
    if not _is_count(form) or form < 1:
        raise CheckpointError(f"{path}: format is {_format_value(form)}, expected a number from 1 to {FORMAT}; {_RESTORE}")
    if "digest" in found or _DIGEST_SINCE <= form <= FORMAT:
        try:
            intact = found.get("digest") == digest_of(found)
        except (ValueError, RecursionError):
            intact = False
        if not intact:
            raise CheckpointError(f"{path} is damaged: its content does not match its digest; {_RESTORE}")
    if form > FORMAT:
        raise NewerFormatError(
            f"{folder} was written by a newer version of this project (format {_format_value(form)}, this version reads up to "
            f"{FORMAT}); update this project"
        )
    if form < _CURRENT_NAMES_SINCE:
        found = _with_current_names(found)
    for name, field in _FIELDS.items():
        if name not in found:
            if field.required:
                raise CheckpointError(f"{path} has no {name}; {_RESTORE}")
        elif not field.is_valid(found[name]):
            raise CheckpointError(f"{path}: {name} is {_format_value(found[name])}, expected {field.expected}; {_RESTORE}")
    if folder.name.isdecimal() and int(folder.name) != found["step"]:
        raise CheckpointError(f"{path} has step {found['step']}, but its folder is named {folder.name}; {_RESTORE}")
    return cast(State, found)


def _with_current_names(state: dict[str, Any]) -> dict[str, Any]:
    """Convert the state of an earlier format to this format, without its digest, which covers the old names."""
    renamed = {"step" if name == "update" else name: value for name, value in state.items() if name != "digest"}
    if isinstance(recipe := renamed.get("recipe"), dict):
        renamed["recipe"] = with_new_keys(recipe)
    return {**renamed, "format": WHOLE_FORMAT}


def write_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Write state.json with its digest. A state without a format gets that of its files. Raises OutputError."""
    is_of_ranks = any("-rank" in file for file in state.get("sha256", ()))
    content = {"format": FORMAT if is_of_ranks else WHOLE_FORMAT, **state}
    if content["format"] >= _DIGEST_SINCE:
        content = {**content, "digest": digest_of(content)}
    write_json(folder / "state.json", content)


def digest_of(state: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of all fields except `digest`."""
    content = {name: value for name, value in state.items() if name != "digest"}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()).hexdigest()


def unreadable_file_error(path: Path, error: OSError) -> CheckpointError:
    """The error for a file of a checkpoint that cannot be read. A folder or a named pipe in its place is damage."""
    kind = CheckpointError if error.errno in (errno.EISDIR, errno.EINVAL) else UnreadableError
    return kind(f"{path} cannot be read: {error.strerror or error}")


# --- reading ---------------------------------------------------------------------------------------------------------
def _parse_state(path: Path) -> dict[str, Any]:
    try:
        with open_regular(path) as file:
            content = file.read(_MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointError(f"{path.parent} has no state.json, so it is not complete") from None
    except OSError as error:
        raise unreadable_file_error(path, error) from None
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


def _format_value(value: Any) -> str:
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


@dataclass(frozen=True)
class _Field:
    """A field of state.json: its check and the expected value for messages."""

    is_valid: Callable[[Any], bool]
    expected: str
    required: bool = False


_FIELDS = {
    "step": _Field(_is_count, "a number of steps", required=True),
    "samples": _Field(_is_count, "a number of samples"),
    "seconds": _Field(lambda value: _is_number(value) and value >= 0, "a number of seconds"),
    "skill": _Field(lambda value: value is None or _is_number(value), "a number or null"),
    "windows": _Field(_is_list_of(_is_count), "a list of numbers of windows"),
    "data": _Field(_is_list_of(_is_text), "a list of digests"),
    "rows": _Field(_are_counts, "numbers of rows by the name of the log"),
    "machine": _Field(_is_object, "an object"),
    "recipe": _Field(_is_object, "an object", required=True),
    "run_folder": _Field(_is_text, "a path"),
    "sha256": _Field(_are_digests, "SHA-256 digests by the names of safetensors files", required=True),
}
