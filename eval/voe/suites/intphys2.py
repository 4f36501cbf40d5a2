"""IntPhys 2: DIR/{Main,Debug}/metadata.csv and Videos/*.mp4; DIR/HeldOut/Videos/*.mp4, whose labels are secret."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from eval.voe.suites.layout import choose_part, file_named, read_rows, refuse
from eval.voe.suites.lengths import lengths
from eval.voe.suites.suite import Count, Published, Suite, incomplete
from eval.voe.trials import Film, Pair, Trial

SOURCE = (
    "https://huggingface.co/datasets/facebook/IntPhys2 or https://dl.fbaipublicfiles.com/IntPhys2/IntPhys2.zip "
    "(CC BY-NC 4.0, for evaluation only)"
)
PARTS = ("Main", "HeldOut", "Debug")
COLUMNS = ("SceneIndex", "name", "file_name", "condition", "env", "type")
RUNS, OUTCOMES = ("1", "2"), ("Possible", "Impossible")
LEVELS = {
    "Easy": ("BasicLevel_0",),
    "Medium": ("SaltFlats_0", "DesertMap_0", "RaceTrack_0", "TropicalIsland_0"),
    "Hard": ("PLVDaylight_0", "Egypt_0", "RuralAustralia03_0", "ParkingGarage_0", "None", ""),
}
LEVEL_OF = {env: level for level, envs in LEVELS.items() for env in envs}
PUBLISHED = {"Main": Count("pairs", 0, 506), "Debug": Count("pairs", 0, 30), "HeldOut": Count("films", 0, 344)}
PROTOCOL = Published(fps=6.0, window_frames=16, stride_frames=2, contexts=(4, 6, 8, 10, 12, 14))
NOTES = (
    "Films of a pair of IntPhys 2 are separate renderings: they are not equal before the event, and differ in length.",
    "Copying the context's last latent reaches 55.5% on Main, like the best published predictors: read the latent copy first.",
)
SECRET = (
    "Labels of HeldOut are secret: there is nothing to score here; `python -m eval export OUT --to FILE` writes the answers.",
)
RENDERINGS = ("Debug holds three renderings of each film; they are paired in the order of its table.",)


class Row(NamedTuple):
    """A film of the table."""

    scene: str
    run: str  # 1 | 2
    outcome: str  # Possible | Impossible
    condition: str
    env: str
    path: Path


def open_folder(folder: Path, part: str = "") -> Suite:
    """`part`: Main (default), HeldOut or Debug. Raises TrialError where rows, labels or films are missing."""
    root, part = choose_part(folder, part, PARTS, ["Videos"], SOURCE)
    trials = _held_out(folder, root) if part == "HeldOut" else _labelled(folder, root, part)
    found = len(trials) if part == "HeldOut" else sum(len(trial.pairs) for trial in trials)
    counts = (Count(f"{PUBLISHED[part].what} of {part}", found, PUBLISHED[part].expected),)
    notes = {"HeldOut": SECRET, "Main": (), "Debug": RENDERINGS}[part]
    return Suite("intphys2", folder, trials, SOURCE, protocol=PROTOCOL, notes=NOTES + notes + incomplete(counts), counts=counts)


def _held_out(folder: Path, root: Path) -> tuple[Trial, ...]:
    """Each film for itself: which belong together is secret too."""
    paths = sorted((root / "Videos").glob("*.mp4"))
    found, problems = lengths(paths)
    if not paths:
        problems.append(f"{root.name}/Videos holds no .mp4")
    refuse(folder, problems, SOURCE)
    films = [Film(path.stem, str(path), *found[path], None) for path in paths]
    return tuple(Trial(film.film_id, (film,), (), "secret", level="Hard") for film in films)


def _labelled(folder: Path, root: Path, part: str) -> tuple[Trial, ...]:
    problems: list[str] = []
    table = root / "metadata.csv"
    if not table.is_file():
        refuse(folder, [f"{part}/metadata.csv is not there: without it no film of {part} has a label"], SOURCE)
    rows = [row for number, said in enumerate(read_rows(table, COLUMNS), 2) if (row := _row(said, number, root, problems))]
    scenes: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        scenes[row.scene].append(row)
    groups = {scene: _renderings(scene, films, part, problems) for scene, films in scenes.items()}
    found, unreadable = lengths(list(dict.fromkeys(row.path for row in rows)))
    refuse(folder, problems + unreadable, SOURCE)
    return tuple(_trial(scene, groups[scene], found) for scene in sorted(groups, key=lambda name: (len(name), name)))


def _row(said: Mapping[str, str], number: int, root: Path, problems: list[str]) -> Row | None:
    where = f"metadata.csv, line {number} ({said['file_name'] or said['name']})"
    run, _, outcome = said["type"].partition("_")
    if run not in RUNS or outcome not in OUTCOMES:
        problems.append(
            f"{where}: type {said['type']!r} is no label; expected 1_Possible, 1_Impossible, 2_Possible or 2_Impossible"
        )
        return None
    if not said["condition"]:
        problems.append(f"{where}: no condition")
        return None
    named = said["file_name"] or f"{said['name']}.mp4"
    missing: list[str] = []
    in_videos = named if "/" in named else f"Videos/{named}"
    path = file_named(root, in_videos, missing)
    problems += [f"{where}: {problem}" for problem in missing]
    return None if path is None else Row(said["SceneIndex"], run, outcome, said["condition"].strip().lower(), said["env"], path)


def _renderings(scene: str, films: list[Row], part: str, problems: list[str]) -> list[list[Row]]:
    """Films of a scene in fours; in Main there is one four, in Debug there are three."""
    kinds: dict[tuple[str, str], list[Row]] = {(run, outcome): [] for run in RUNS for outcome in OUTCOMES}
    for film in films:
        kinds[film.run, film.outcome].append(film)
    several = {len(some) for some in kinds.values()}
    if (part == "Main" and several != {1}) or len(several) != 1:
        said = ", ".join(f"{len(some)} {run}_{outcome}" for (run, outcome), some in kinds.items())
        problems.append(f"scene {scene} has {said}; expected {'one' if part == 'Main' else 'as many'} of each")
        return []
    if len({(film.condition, film.env) for film in films}) > 1:
        problems.append(f"scene {scene} has films of several conditions or envs")
    return [list(four) for four in zip(*kinds.values(), strict=True)]


def _trial(scene: str, fours: list[list[Row]], found: Mapping[Path, tuple[float, int]]) -> Trial:
    rows = [row for four in fours for row in four]
    films = tuple(
        Film(row.path.stem, str(row.path), *found[row.path], row.outcome == "Possible", context_id=row.run) for row in rows
    )
    pairs = tuple(Pair("matched", place, place + 1) for place in range(0, len(films), 2))
    return Trial(f"scene {scene}", films, pairs, rows[0].condition, level=LEVEL_OF.get(rows[0].env, ""))
