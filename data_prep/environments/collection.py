"""Collection of many episodes: in parallel and resumable; the same bytes with any number of workers.

OUT/collect.json        everything that determines the episodes
OUT/clips/, signals/    a video and a table of signals per episode
OUT/collect.jsonl       journal: the row of every finished episode, in order
OUT/episodes.parquet    the manifest, written at the end; with --packets, an index of packets is written beside it
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from data_prep.content_hash import content_hash
from data_prep.environments.episodes import EpisodeSettings, write_episode
from data_prep.errors import PrepError
from data_prep.overwrite_checks import check_absent, check_no_link, claim_folder
from data_prep.pool import Failed, run_each
from data_prep.progress import bar
from worldmodel.files.atomic import write_text
from worldmodel.files.json_files import parse_json, read_json_object
from worldmodel.files.log_rows import append_row, read_rows
from worldmodel.files.output_errors import output_errors
from worldmodel.manifest import Clip, write_manifest

COMMAND = "data_prep collect"
MANIFEST, CONFIG, JOURNAL = "episodes.parquet", "collect.json", "collect.jsonl"
TIMEOUT_S = 600.0


def claim_output(folder: Path, settings: EpisodeSettings, versions: dict[str, str]) -> None:
    """Create the folder and write the settings, or compare them with those that are there.

    The number of episodes is not one of them, so that a collection can be made longer. Raises
    PrepError for other settings, and for a folder with files of other origin.
    """
    path, wanted = folder / CONFIG, parse_json(json.dumps({**asdict(settings), "versions": versions}))
    if not path.exists():
        for name in (CONFIG, JOURNAL, MANIFEST):
            check_absent(folder / name, "choose another --out")
        claim_folder(folder, COMMAND)
        write_text(path, json.dumps(wanted, indent=2) + "\n")
        return
    for name in (CONFIG, JOURNAL, MANIFEST):
        check_no_link(folder / name, "choose another --out")
    found = read_json_object(path, PrepError)
    if differences := [
        f"{key} is {found.get(key)!r} there and {value!r} now" for key, value in wanted.items() if found.get(key) != value
    ]:
        raise PrepError(
            f"{path}: these episodes have other settings ({'; '.join(differences)}); choose another --out, or delete this one"
        )


def collect(folder: Path, settings: EpisodeSettings, episodes: int, workers: int) -> None:
    """Record the episodes that are not in the journal yet, and those whose files are lost. Raises PrepError where one fails."""
    journal, rows = folder / JOURNAL, _rows(folder)
    lost = [number for number, row in enumerate(rows[:episodes]) if not _is_whole(folder, row)]
    numbers = [*lost, *range(len(rows), episodes)]
    if not numbers:
        return
    work = partial(write_episode, folder=str(folder), settings=settings)
    with bar("episodes", max(episodes, len(rows))) as progress:
        progress.step(len(rows) - len(lost))
        for number, result in _results(work, numbers, min(workers, len(numbers))):
            if isinstance(result, Failed):
                problem = " ".join(result.detail.split())
                raise PrepError(f"episode {number} of {settings.environment} failed: {problem}; the same command resumes here")
            if number >= len(rows):
                append_row(journal, result)
            elif parse_json(json.dumps(result)) != rows[number]:
                raise PrepError(
                    f"{folder}: the files of episode {number} were lost, and recording it again gives another one; "
                    "choose another --out, or delete this one"
                )
            progress.step()


def _is_whole(folder: Path, row: Mapping[str, Any]) -> bool:
    """Whether the video of a row is the one that was recorded, and its table of signals is there."""
    video, table = folder / str(row.get("path")), folder / str(row.get("signals"))
    return video.is_file() and table.is_file() and content_hash(str(video), None) == row.get("content_hash")


def write_table(folder: Path, settings: EpisodeSettings, episodes: int, command: str) -> Counter[str]:
    """Write the manifest of the first `episodes` episodes. Returns how many each split has."""
    clips = [Clip(**row) for row in _rows(folder)[:episodes]]
    config = parse_json(json.dumps({"kind": "episodes", **asdict(settings)}))
    # the paths of the rows are relative to the folder, as in the manifest
    write_manifest(folder / MANIFEST, clips, command=command, config=config)
    return Counter(clip.split for clip in clips)


def _rows(folder: Path) -> list[dict[str, Any]]:
    """The rows of the journal. Raises PrepError where they are not those of the first episodes in order."""
    rows = read_rows(folder / JOURNAL)
    expected = [f"{number:06d}.mp4" for number in range(len(rows))]
    if [Path(str(row.get("path"))).name for row in rows] != expected:
        problem = "lines are missing or damaged; delete the file, and the same command records the episodes again"
        raise PrepError(f"{folder / JOURNAL}: {problem}")
    return rows


def _results(work: Any, numbers: Sequence[int], workers: int) -> Iterator[tuple[int, dict[str, Any] | Failed]]:
    if workers > 1:
        yield from run_each(work, numbers, workers, TIMEOUT_S)
        return
    for number in numbers:
        try:
            yield number, work(number)
        except (OSError, PrepError):
            raise
        except Exception as error:  # the environment and the policy may raise anything
            yield number, Failed("error", f"{type(error).__name__}: {error}")


def make_folder(folder: Path) -> None:
    """Raises PrepError for a file, OutputError where the folder cannot be made."""
    if folder.exists() and not folder.is_dir():
        raise PrepError(f"{folder} is a file; --out must be a folder")
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
