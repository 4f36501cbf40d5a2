"""What readers of layouts share: problems gathered and told at once, and paths that stay in their folder."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from eval.trials import TrialError
from worldmodel.video import VideoError, probe

SHOWN = 20


def refuse(where: Path, problems: Sequence[str], source: str) -> None:
    """Raise TrialError with the first problems and the number of others; nothing where there is none."""
    if problems:
        more = f"\n  and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        lines = "".join(f"\n  {problem}" for problem in problems[:SHOWN])
        raise TrialError(f"{where}: {len(problems)} things are not as they should be{lines}{more}\nThe data come from {source}")


def inside(folder: Path, name: str) -> Path:
    """folder / name, if that lies in it. Raises TrialError for names that lead elsewhere."""
    path = folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise TrialError(f"{name!r} leads out of {folder}; a table may only name files below its folder")
    return path


def read_table(path: Path, columns: Sequence[str], delimiter: str = ",") -> list[Mapping[str, str]]:
    """Rows of a CSV with a header. Raises TrialError where a column is missing."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, delimiter=delimiter)
        missing = [name for name in columns if name not in (reader.fieldnames or [])]
        if missing:
            raise TrialError(f"{path}: no column {', '.join(missing)}; there are {', '.join(reader.fieldnames or [])}")
        return list(reader)


def lengths(paths: Sequence[Path]) -> tuple[dict[Path, tuple[float, int]], list[str]]:
    """(fps, frames) of each video, and what is wrong with the others. Headers alone are read, eight at a time."""

    def look(path: Path) -> tuple[float, int] | str:
        try:
            info = probe(path)
            return info.fps, info.frames
        except (VideoError, OSError) as error:
            return str(error)

    with ThreadPoolExecutor(8) as pool:
        seen = dict(zip(paths, pool.map(look, paths), strict=True))
    good = {path: it for path, it in seen.items() if not isinstance(it, str)}
    return good, [it for it in seen.values() if isinstance(it, str)]
