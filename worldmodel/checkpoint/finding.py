"""Which checkpoint of a run: the last one, the best one, those to remove and those to set aside."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from worldmodel.checkpoint.state import CheckpointError, NewerFormatError, UnreadableError, read_state
from worldmodel.checkpoint.stored import Checkpoint, open_checkpoint
from worldmodel.files.atomic import part_of, write_json
from worldmodel.files.json_files import read_object

_DAMAGED = "damaged-"  # before the name of a checkpoint that was set aside
_MOST_NAMED = 4  # checkpoints in a message


def latest(run: Path, warn: Callable[[str], None] | None = None) -> Checkpoint | None:
    """The last checkpoint that is whole; `warn` hears of later ones that are damaged. None where the run has no checkpoint.

    Raises CheckpointError where there are checkpoints and none can be opened, and its subclasses where one that a newer
    version made, or that cannot be read now, is later: to go on without it would give up work that can be had.
    """
    problems: list[str] = []
    listed = _folders(run)
    for folder in reversed(listed):
        try:
            found = open_checkpoint(folder)
        except NewerFormatError as error:
            raise NewerFormatError(f"{error}, or begin from scratch in another folder (run=FOLDER)") from None
        except UnreadableError as error:
            raise UnreadableError(
                f"{error}. Nothing was changed. Try again later; if it stays so, move {folder} away to go on from an earlier "
                "checkpoint"
            ) from None
        except CheckpointError as error:
            problems += [str(error)] if folder.is_dir() else []
        else:
            for problem in problems:
                if warn is not None:
                    warn(f"{problem}; passing over it for an earlier one")
            return found
    if problems:
        more = f"; and {len(problems) - _MOST_NAMED} more" if len(problems) > _MOST_NAMED else ""
        raise CheckpointError(
            f"{run} has checkpoints, and none of them can be opened: {'; '.join(problems[:_MOST_NAMED])}{more}. Nothing was "
            "changed. Restore one of them, or begin from scratch in another folder (run=FOLDER)"
        )
    return None if _folders(run) == listed else latest(run, warn)  # a training has removed them meanwhile


def find_checkpoint(path: Path) -> Checkpoint:
    """From a run folder its best checkpoint, else its last; or a checkpoint folder itself. Raises CheckpointError.

    Damaged ones are passed over, and so is a best.json that names one or that names one that is gone; stderr says so.
    """
    if os.path.lexists(path / "state.json"):
        return open_checkpoint(path)
    if not (path / "checkpoints").is_dir():
        raise CheckpointError(f"{path} is neither a run folder nor a checkpoint (no checkpoints/ and no state.json in it)")
    found, problems = None, dict[str, str]()
    for folder in sorted(_folders(path), key=_rank, reverse=True):
        try:
            found = open_checkpoint(folder)
            break
        except NewerFormatError:
            raise
        except CheckpointError as error:
            problems[folder.name] = str(error)
    found = found or latest(path)
    if found is None:
        raise CheckpointError(
            f"{path}/checkpoints holds no whole checkpoint yet; the first is written at update checkpoint.every"
        )
    noted = best_name(path)
    if noted is not None and noted != found.folder.name and noted not in problems:
        try:
            open_checkpoint(path / "checkpoints" / noted)  # whole: a training has just saved a better one
        except CheckpointError as error:
            problems[noted] = f"{path}/best.json names checkpoint {noted}: {error}"
    for problem in problems.values():
        print(f"{problem}; taking checkpoint {found.folder.name} instead", file=sys.stderr)
    return found


def note_best(run: Path) -> None:
    """Write into best.json which of the checkpoints that are there has the highest mean held-out skill. Raises OutputError.

    Checkpoints are compared by their states, so that a best one that was removed, or that an earlier resume has given up,
    counts no more. Without a skill there is no best.json.
    """
    best = _best(run)
    if best is None:
        (run / "best.json").unlink(missing_ok=True)
    elif best_name(run) != best[0].name or _noted_skill(run) != best[1]:
        write_json(run / "best.json", {"checkpoint": best[0].name, "skill": best[1]})


def prune(run: Path, keep: int, update: int) -> None:
    """Remove all but the last `keep` checkpoints and the best, and damaged ones whose update the run has passed.

    Those later than `update` are left alone, and so are those that cannot be read now: one of them may be the best.
    """
    best = _best(run)
    past = [folder for folder in _folders(run) if int(folder.name) <= update]
    gone = [folder for folder in past[:-keep] if (best is None or folder != best[0]) and not _is_unreadable(folder)]
    gone += [folder for folder in _set_aside(run) if int(folder.name.removeprefix(_DAMAGED)) <= update]
    for folder in gone:
        _remove(folder)


def set_aside_later(run: Path, update: int) -> list[Path]:
    """Rename checkpoints later than `update` to damaged-..., when training goes on from there; their new paths.

    They are not deleted before the run has passed them: prune. Raises OSError.
    """
    moved = []
    for folder in _folders(run):
        if int(folder.name) > update:
            aside = folder.with_name(f"{_DAMAGED}{folder.name}")
            _remove(aside)  # an earlier one of this update, which the run had passed
            folder.rename(aside)
            moved.append(aside)
    return moved


def refuse_begun(run: Path) -> None:
    """Raise CheckpointError where a run folder has checkpoints, damaged ones too."""
    if found := [*_folders(run), *_set_aside(run)]:
        raise CheckpointError(
            f"{run} has checkpoints ({found[-1].name} among them), and they are not deleted to begin from scratch. "
            "Give another run=FOLDER, or leave out --from-scratch to resume"
        )


# --- by name and skill -----------------------------------------------------------------------------------------------
def _folders(run: Path) -> list[Path]:
    """The folders of checkpoints, damaged ones too, by their update. Raises UnreadableError where they cannot be listed."""
    return sorted(_listed(run, ""), key=lambda it: (int(it.name), it.name))


def _set_aside(run: Path) -> list[Path]:
    """Raises UnreadableError where they cannot be listed."""
    return sorted(_listed(run, _DAMAGED))


def _listed(run: Path, prefix: str) -> list[Path]:
    """Folders in RUN/checkpoints named PREFIX and a number. Path.glob would give none where they cannot be listed."""
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
    """By its state alone, which checks itself; None where it is not known."""
    try:
        return read_state(folder).get("skill")
    except CheckpointError:
        return None


def _rank(folder: Path) -> tuple[int, float, int]:
    """Increases with the skill; of two equal ones the earlier is the better. Those without a skill come last, by update.

    One of a newer version comes first: it may be the best, and to open it says that this version cannot tell.
    """
    update = int(folder.name)
    try:
        skill = read_state(folder).get("skill")
    except NewerFormatError:
        return 2, 0.0, update
    except CheckpointError:
        skill = None
    return (0, 0.0, update) if skill is None else (1, skill, -update)


def _best(run: Path) -> tuple[Path, float] | None:
    ranked = [(folder, skill) for folder in _folders(run) if (skill := _skill(folder)) is not None]
    return max(ranked, key=lambda it: (it[1], -int(it[0].name)), default=None)


def best_name(run: Path) -> str | None:
    """The checkpoint that best.json names; None where there is no such file or it is damaged."""
    try:
        name = read_object(run / "best.json", CheckpointError).get("checkpoint")
    except CheckpointError:
        return None
    return name if isinstance(name, str) and name.isdecimal() else None


def _noted_skill(run: Path) -> float | None:
    try:
        return float(read_object(run / "best.json", CheckpointError)["skill"])
    except (CheckpointError, ValueError, KeyError, TypeError, OverflowError):
        return None


def _remove(folder: Path) -> None:
    """Remove a checkpoint. A kill meanwhile leaves the whole one, or what the next save removes, never half of one."""
    part = part_of(folder)
    with suppress(OSError):  # the next time, then
        shutil.rmtree(part, ignore_errors=True)
        folder.rename(part)
        shutil.rmtree(part, ignore_errors=True)
