"""Functions for all suite readers: report all problems at once, and reject paths outside a folder."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from eval.voe.trials import TrialError

MAX_SHOWN = 20


def first_problems(problems: Sequence[str]) -> list[str]:
    """The first problems, and a line with the number of the others."""
    more = len(problems) - MAX_SHOWN
    return [*problems[:MAX_SHOWN], *([f"and {more} more"] if more > 0 else [])]


def raise_problems(where: Path, problems: Sequence[str], source: str) -> None:
    """Raise TrialError with the first problems and the number of the others, if there are any."""
    if problems:
        lines = "".join(f"\n  {problem}" for problem in first_problems(problems))
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise TrialError(f"{where}: {count}{lines}{source_line(source)}")


def source_line(source: str) -> str:
    """The last line of an error about missing or incomplete data."""
    return f"\nThe data come from {source}"


def path_below(folder: Path, name: str) -> Path:
    """folder / name. Raises TrialError for a name that leads out of the folder."""
    parts = name.replace("\\", "/").split("/")
    if not name or "\0" in name or Path(name).is_absolute() or ".." in parts:
        raise TrialError(f"{name!r} leads out of {folder}; a table may only name files below its folder")
    return folder / name


def file_below(folder: Path, name: str, problems: list[str]) -> Path | None:
    """The file of this name below the folder.

    Returns None and appends to `problems` if it leads elsewhere or is missing.
    """
    try:
        path = path_below(folder, name)
    except TrialError as error:
        problems.append(str(error))
        return None
    if not path.is_file():
        problems.append(f"{name} is missing")
        return None
    return path


def read_rows(path: Path, columns: Sequence[str], delimiter: str = ",") -> list[dict[str, str]]:
    """The rows of a CSV file with a header. Every row has all of `columns`.

    Raises TrialError, also for text that is not UTF-8.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, delimiter=delimiter)
            missing = [name for name in columns if name not in (reader.fieldnames or [])]
            if missing:
                raise TrialError(f"{path}: no column {', '.join(missing)}; there are {', '.join(reader.fieldnames or [])}")
            rows: list[dict[str, str]] = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise TrialError(f"{path}: not a CSV file in UTF-8 ({error})") from None
    for number, row in enumerate(rows, start=2):
        if empty := [name for name in columns if row[name] is None]:
            raise TrialError(f"{path}: line {number} ends before column {empty[0]}")
    return rows


def choose_part(folder: Path, part: str, parts: Sequence[str], subfolders: Sequence[str], source: str) -> tuple[Path, str]:
    """(folder of a part of a benchmark, its name).

    The folder is DIR/PART, or DIR itself where it holds one of `subfolders`.

    part: "" for the first of `parts` that exists. Raises TrialError.
    """
    if part and part not in parts:
        raise TrialError(f"part={part}: expected one of {', '.join(parts)}")
    for name in [part] if part else parts:
        if (folder / name).is_dir():
            return folder / name, name
    if any((folder / name).is_dir() for name in subfolders):
        return folder, part or (folder.name if folder.name in parts else parts[0])
    wanted = part or " or ".join(parts)
    raise TrialError(
        f"{folder} has no folder {wanted}, and is not such a folder itself: it contains none of {', '.join(subfolders)}"
        f"{source_line(source)}"
    )


def subfolder(folder: Path, name: str, subfolders: Sequence[str]) -> Path:
    """DIR itself where it holds one of `subfolders`, else DIR/name where that exists."""
    if not any((folder / start).is_dir() for start in subfolders) and (folder / name).is_dir():
        return folder / name
    return folder
