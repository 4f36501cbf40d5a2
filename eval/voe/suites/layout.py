"""What readers of layouts share: problems gathered and told at once, and paths that stay in their folder."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from eval.voe.trials import TrialError

SHOWN = 20


def first_of(problems: Sequence[str]) -> list[str]:
    """The first problems, and how many more there are."""
    more = len(problems) - SHOWN
    return [*problems[:SHOWN], *([f"and {more} more"] if more > 0 else [])]


def refuse(where: Path, problems: Sequence[str], source: str) -> None:
    """Raise TrialError with the first problems and the number of others; nothing where there is none."""
    if problems:
        lines = "".join(f"\n  {problem}" for problem in first_of(problems))
        count = "1 thing is not as it should be" if len(problems) == 1 else f"{len(problems)} things are not as they should be"
        raise TrialError(f"{where}: {count}{lines}{come_from(source)}")


def come_from(source: str) -> str:
    """The last line of an error about data that are not there, or not whole."""
    return f"\nThe data come from {source}"


def inside(folder: Path, name: str) -> Path:
    """folder / name, if that lies in it. Raises TrialError for names that lead elsewhere."""
    parts = name.replace("\\", "/").split("/")
    if not name or "\0" in name or Path(name).is_absolute() or ".." in parts:
        raise TrialError(f"{name!r} leads out of {folder}; a table may only name files below its folder")
    return folder / name


def file_named(folder: Path, name: str, problems: list[str]) -> Path | None:
    """The file of that name below the folder; None, with a problem more, where it leads elsewhere or is not there."""
    try:
        path = inside(folder, name)
    except TrialError as error:
        problems.append(str(error))
        return None
    if not path.is_file():
        problems.append(f"{name} is not there")
        return None
    return path


def read_rows(path: Path, columns: Sequence[str], delimiter: str = ",") -> list[dict[str, str]]:
    """Rows of a CSV with a header, every one with all of `columns`. Raises TrialError, also for text that is no UTF-8."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, delimiter=delimiter)
            missing = [name for name in columns if name not in (reader.fieldnames or [])]
            if missing:
                raise TrialError(f"{path}: no column {', '.join(missing)}; there are {', '.join(reader.fieldnames or [])}")
            rows: list[dict[str, str]] = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise TrialError(f"{path}: no CSV in UTF-8 ({error})") from None
    for number, row in enumerate(rows, start=2):
        if empty := [name for name in columns if row[name] is None]:
            raise TrialError(f"{path}: line {number} ends before column {empty[0]}")
    return rows


def choose_part(folder: Path, part: str, parts: Sequence[str], begins: Sequence[str], source: str) -> tuple[Path, str]:
    """(folder of a part of a benchmark, its name): DIR/PART, or DIR itself where it holds one of `begins`.

    Without a wish the first of `parts` that is there. Raises TrialError.
    """
    if part and part not in parts:
        raise TrialError(f"part={part}: expected one of {', '.join(parts)}")
    for name in [part] if part else parts:
        if (folder / name).is_dir():
            return folder / name, name
    if any((folder / name).is_dir() for name in begins):
        return folder, part or (folder.name if folder.name in parts else parts[0])
    wanted = part or " nor ".join(parts)
    raise TrialError(
        f"{folder} has neither {wanted}, nor is it such a folder itself, with {', '.join(begins)} in it{come_from(source)}"
    )


def subfolder(folder: Path, name: str, begins: Sequence[str]) -> Path:
    """DIR itself where it holds one of `begins`, else DIR/name where that is there."""
    if not any((folder / start).is_dir() for start in begins) and (folder / name).is_dir():
        return folder / name
    return folder
