"""Select checkpoints of a run: the last one, the best one, and those to remove or to set aside."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from worldmodel.checkpoint.opening import Checkpoint, open_checkpoint
from worldmodel.checkpoint.remote import copy_of_run, refuse_run_url
from worldmodel.checkpoint.state import CheckpointError, NewerFormatError, State, UnreadableError, read_state
from worldmodel.files.atomic import part_path, write_json
from worldmodel.files.json_files import read_json_object
from worldmodel.models.pretrained.hub import pickles_in
from worldmodel.storage.urls import is_url

_DAMAGED = "damaged-"  # prefix of the folder of a checkpoint that was set aside
_MAX_NAMED = 4  # checkpoints in a message


def latest_checkpoint(
    run: Path, warn: Callable[[str], None] | None = None, find_damage: Callable[[Path, State], str | None] | None = None
) -> Checkpoint | None:
    """The last intact checkpoint of a run; None where the run has no checkpoint.

    `warn` gets a message for each later checkpoint that is damaged. find_damage: see `open_checkpoint`.
    Raises CheckpointError where no checkpoint can be opened. Raises NewerFormatError or UnreadableError
    where a later checkpoint was written by a newer version or cannot be read now, because continuing
    without it would lose work.
    """
    problems: list[str] = []
    listed = _folders(run)
    for folder in reversed(listed):
        try:
            found = open_checkpoint(folder, find_damage)
        except NewerFormatError as error:
            raise NewerFormatError(f"{error}, or start from scratch in another folder (run=FOLDER)") from None
        except UnreadableError as error:
            raise UnreadableError(
                f"{error}. Nothing was changed. Try again later; if the error persists, move {folder} away to resume from an "
                "earlier checkpoint"
            ) from None
        except CheckpointError as error:
            problems += [str(error)] if folder.is_dir() else []
        else:
            for problem in problems:
                if warn is not None:
                    warn(f"{problem}; using an earlier one instead")
            return found
    if problems:
        more = f"; and {len(problems) - _MAX_NAMED} more" if len(problems) > _MAX_NAMED else ""
        raise CheckpointError(
            f"{run} has checkpoints, and none of them can be opened: {'; '.join(problems[:_MAX_NAMED])}{more}. Nothing was "
            "changed. Restore one of them, or start from scratch in another folder (run=FOLDER)"
        )
    if _folders(run) != listed:  # a training process has just removed them
        return latest_checkpoint(run, warn, find_damage)
    return None


def find_checkpoint(path: Path | str) -> Checkpoint:
    """Open the best checkpoint of a run folder, else its last one; or open a checkpoint folder. Both may be URLs.

    Damaged checkpoints are skipped, and a best.json that names a damaged or missing one is ignored;
    a message on standard error says so. Raises CheckpointError.
    """
    path = copy_of_run(str(path)) if is_url(path) else Path(path)
    if os.path.lexists(path / "state.json"):
        return open_checkpoint(path)
    if not (path / "checkpoints").is_dir():
        if pickles := pickles_in(path):
            raise CheckpointError(
                f"{path} holds {', '.join(pickles[:_MAX_NAMED])} and no state.json. Such files are pickles, which can run code "
                "when they are loaded, so they are not read; ask for a folder with *.safetensors"
            )
        raise CheckpointError(f"{path} is neither a run folder nor a checkpoint (no checkpoints/ and no state.json in it)")
    found, problems = None, dict[str, str]()
    for folder in sorted(_folders(path), key=_selection_key, reverse=True):
        try:
            found = open_checkpoint(folder)
            break
        except NewerFormatError:
            raise
        except CheckpointError as error:
            problems[folder.name] = str(error)
    found = found or latest_checkpoint(path)
    if found is None:
        raise CheckpointError(
            f"{path}/checkpoints has no complete checkpoint yet; the first is written at step checkpoint.every"
        )
    recorded = best_checkpoint_name(path)
    if recorded is not None and recorded != found.folder.name and recorded not in problems:
        try:
            open_checkpoint(path / "checkpoints" / recorded)  # intact: a training process has just saved a better one
        except CheckpointError as error:
            problems[recorded] = f"{path}/best.json names checkpoint {recorded}: {error}"
    for problem in problems.values():
        print(f"{problem}; using checkpoint {found.folder.name} instead", file=sys.stderr)
    return found


def all_checkpoints(path: Path | str) -> list[Checkpoint]:
    """All intact checkpoints of a run folder by step, or the one in a checkpoint folder, which may be a URL.

    Raises CheckpointError where there is none, and for the URL of a run: only one of its checkpoints would be downloaded.
    """
    if is_url(path):
        refuse_run_url(str(path))
        return [find_checkpoint(path)]
    path = Path(path)
    if os.path.lexists(path / "state.json") or not (path / "checkpoints").is_dir():
        return [find_checkpoint(path)]
    found = []
    for folder in _folders(path):
        try:
            found.append(open_checkpoint(folder))
        except NewerFormatError:
            raise
        except CheckpointError as error:
            print(f"{error}; it is left out", file=sys.stderr)
    return found or [find_checkpoint(path)]


def write_best(run: Path) -> None:
    """Write the checkpoint with the highest mean held-out skill into best.json. Raises OutputError.

    The states of existing checkpoints are compared, so a best one that was removed or set aside no
    longer counts. Where no checkpoint has a skill, there is no best.json.
    """
    best = _best(run)
    if best is None:
        (run / "best.json").unlink(missing_ok=True)
    elif best_checkpoint_name(run) != best[0].name or _best_json_skill(run) != best[1]:
        write_json(run / "best.json", {"checkpoint": best[0].name, "skill": best[1]})


def prune(run: Path, keep: int, step: int) -> None:
    """Remove all checkpoints except the last `keep` and the best one. Remove damaged ones up to `step`.

    Checkpoints later than `step` are not removed, nor those that cannot be read now, because one of
    them may be the best.
    """
    best = _best(run)
    past = [folder for folder in _folders(run) if int(folder.name) <= step]
    removed = [folder for folder in past[:-keep] if (best is None or folder != best[0]) and not _is_unreadable(folder)]
    removed += [folder for folder in _set_aside_folders(run) if int(folder.name.removeprefix(_DAMAGED)) <= step]
    for folder in removed:
        _remove(folder)


def set_aside_later(run: Path, step: int) -> list[Path]:
    """Rename checkpoints later than `step` to damaged-..., when training resumes from there. Returns their new paths.

    `prune` deletes them when the run has passed their steps. Raises OSError.
    """
    moved = []
    for folder in _folders(run):
        if int(folder.name) > step:
            aside = folder.with_name(f"{_DAMAGED}{folder.name}")
            _remove(aside)  # an older one of the same step
            folder.rename(aside)
            moved.append(aside)
    return moved


def refuse_existing_checkpoints(run: Path) -> None:
    """Raise CheckpointError where a run folder has checkpoints, also damaged ones."""
    if found := [*_folders(run), *_set_aside_folders(run)]:
        raise CheckpointError(
            f"{run} has checkpoints (for example {found[-1].name}). They are never deleted. "
            "Give another run=FOLDER, or omit --from-scratch to resume"
        )


# --- lists and order -------------------------------------------------------------------------------------------------
def _folders(run: Path) -> list[Path]:
    """Folders of checkpoints, sorted by step. Raises UnreadableError where they cannot be listed."""
    return sorted(_list_folders(run, ""), key=lambda folder: (int(folder.name), folder.name))


def _set_aside_folders(run: Path) -> list[Path]:
    """Folders of checkpoints that were set aside. Raises UnreadableError where they cannot be listed."""
    return sorted(_list_folders(run, _DAMAGED))


def _list_folders(run: Path, prefix: str) -> list[Path]:
    """Folders in RUN/checkpoints named PREFIX and a number. (Path.glob would hide errors of listing.)"""
    name = re.compile(rf"{prefix}[0-9]+")
    try:
        with os.scandir(run / "checkpoints") as entries:
            return [Path(entry.path) for entry in entries if name.fullmatch(entry.name) and entry.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UnreadableError(f"{run / 'checkpoints'} cannot be listed: {error.strerror or error}") from None


def _is_unreadable(folder: Path) -> bool:
    try:
        read_state(folder)
    except UnreadableError:
        return True
    except CheckpointError:
        return False
    return False


def _skill(folder: Path) -> float | None:
    """The skill in the state of a checkpoint; None where it is unknown."""
    try:
        return read_state(folder).get("skill")
    except CheckpointError:
        return None


def _selection_key(folder: Path) -> tuple[int, float, int]:
    """Sort key that increases with the skill. Of equal skills, the earlier step is higher. No skill is lowest.

    A checkpoint of a newer version is highest: it may be the best, and opening it raises the error
    that this version cannot read it.
    """
    step = int(folder.name)
    try:
        skill = read_state(folder).get("skill")
    except NewerFormatError:
        return 2, 0.0, step
    except CheckpointError:
        skill = None
    return (0, 0.0, step) if skill is None else (1, skill, -step)


def _best(run: Path) -> tuple[Path, float] | None:
    ranked = [(folder, skill) for folder in _folders(run) if (skill := _skill(folder)) is not None]
    return max(ranked, key=lambda entry: (entry[1], -int(entry[0].name)), default=None)


def best_checkpoint_name(run: Path) -> str | None:
    """The checkpoint that best.json names; None where the file is missing or damaged."""
    try:
        name = read_json_object(run / "best.json", CheckpointError).get("checkpoint")
    except CheckpointError:
        return None
    return name if isinstance(name, str) and name.isdecimal() else None


def _best_json_skill(run: Path) -> float | None:
    try:
        return float(read_json_object(run / "best.json", CheckpointError)["skill"])
    except (CheckpointError, ValueError, KeyError, TypeError, OverflowError):
        return None


def _remove(folder: Path) -> None:
    """Remove a checkpoint. A kill leaves the complete checkpoint, or a temporary folder that the next save removes."""
    part = part_path(folder)
    with suppress(OSError):  # the next call tries again
        shutil.rmtree(part, ignore_errors=True)
        folder.rename(part)
        shutil.rmtree(part, ignore_errors=True)
