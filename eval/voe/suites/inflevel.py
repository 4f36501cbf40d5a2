"""InfLevel-lab, filmed on a table: DIR/{continuity,gravity,solidity}/CAMERA__PROPERTY__COVER__OBJECT__TYPE[__LR|RL].mp4.

Pairs, and where priming ends (what is shown of the cover before the event), come from continuity.csv, gravity.csv and
solidity.csv, put into DIR by the user; they are released with the code of "Intuitive physics understanding emerges from
self-supervised pretraining on natural videos". Without them films are paired by the codes in their names.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from eval.voe.suites.layout import file_named, read_rows, refuse, subfolder
from eval.voe.suites.lengths import lengths
from eval.voe.suites.suite import Count, Published, Suite, incomplete
from eval.voe.trials import Film, Pair, Trial, TrialError

SOURCE = (
    "https://pub-7320908bcb5b4cdea63c22bc2a38600c.r2.dev/inflevel_lab.tar.gz (Apache-2.0, evaluation only); pairs and priming: "
    "evaluation_code/auxiliary_data_loading_files/inflevel/*.csv of https://github.com/facebookresearch/jepa-intuitive-physics"
)
POSSIBLE = {"continuity": ("vv", "ii"), "gravity": ("ui", "cv"), "solidity": ("ui", "cv")}
IMPOSSIBLE = {"continuity": ("vi", "iv"), "gravity": ("uv", "ci"), "solidity": ("uv", "ci")}
"""Type codes, so ordered that those in the same place begin alike."""
PAIRS_PUBLISHED = {"continuity": 1116, "gravity": 1182, "solidity": 450}
SCENES_PUBLISHED = {"continuity": 540, "gravity": 591, "solidity": 225}  # with all four films, among those pairs
COLUMNS = tuple(f"vid{film}_{name}" for film in (1, 2) for name in ("path", "label", "end_priming_2"))
PROTOCOL = Published(fps=6.0, window_frames=32, stride_frames=2, contexts=(4, 8, 12, 16, 20))
NO_PRIMING = (
    "Films begin after their priming. In gravity and solidity only the priming shows whether the tube is open: without it "
    "nothing can tell possible from impossible, and chance is the right answer; compare with ?priming=yes.",
)
PRIMING = ("Films run with their priming (?priming=yes).",)
BY_NAME = (
    "Films are paired by the codes in their names, each possible with each impossible one of a scene: there is no pair CSV in "
    "the folder. Where priming ends is not known without it, so films run with their priming.",
)


class Take(NamedTuple):
    """A film, from a frame on."""

    path: Path
    possible: bool
    start: int  # first frame after its priming


def open_folder(folder: Path, priming: str = "") -> Suite:
    """`priming`: yes or no; left out, no where CSVs tell its end. Raises TrialError where films or labels are missing."""
    root = subfolder(folder, "inflevel_lab", list(POSSIBLE))
    tables = {name: root / f"{name}.csv" for name in POSSIBLE if (root / f"{name}.csv").is_file()}
    if priming not in ("", "yes", "no"):
        raise TrialError(f"priming={priming}: expected yes or no")
    problems = [
        f"{name}.csv is not there, others are: put all three into {root}" for name in POSSIBLE if tables and name not in tables
    ]
    if priming == "no" and not tables:
        problems.append("priming=no needs continuity.csv, gravity.csv and solidity.csv: they tell where priming ends")
    notes: tuple[str, ...] = (PRIMING if priming == "yes" else NO_PRIMING) if tables else BY_NAME
    scenes: dict[tuple[str, str], list[tuple[Take, ...]]] = defaultdict(list)
    left_out = 0
    for name in POSSIBLE:
        if not (root / name).is_dir():
            problems.append(f"there is no folder {name}")
        elif name in tables:
            _read_table(tables[name], root, name, priming == "yes", scenes, problems)
        elif not tables:
            left_out += _read_names(root, name, scenes, problems)
    if left_out:
        notes += (f"{left_out} scenes lack one of their four films and are left out.",)
    found, unreadable = lengths(list(dict.fromkeys(take.path for many in scenes.values() for takes in many for take in takes)))
    refuse(folder, problems + unreadable, SOURCE)
    trials = tuple(_trial(scene, name, scenes[name, scene], found, problems) for name, scene in sorted(scenes))
    refuse(folder, problems, SOURCE)
    counts = tuple(_count(name, trials, bool(tables)) for name in POSSIBLE)
    return Suite("inflevel", folder, trials, SOURCE, protocol=PROTOCOL, notes=notes + incomplete(counts), counts=counts)


def _count(name: str, trials: tuple[Trial, ...], by_table: bool) -> Count:
    mine = [trial for trial in trials if trial.property == name]
    if by_table:
        return Count(f"pairs of {name}", sum(len(trial.pairs) for trial in mine), PAIRS_PUBLISHED[name])
    return Count(f"scenes of {name} with four films", len(mine), SCENES_PUBLISHED[name])


def _read_table(
    table: Path,
    root: Path,
    name: str,
    priming: bool,
    scenes: dict[tuple[str, str], list[tuple[Take, ...]]],
    problems: list[str],
) -> None:
    """A row, a pair."""
    try:
        rows = read_rows(table, COLUMNS)
    except TrialError as error:
        problems.append(str(error))
        return
    for number, row in enumerate(rows, 2):
        wrong: list[str] = []
        takes = [take for film in ("vid1", "vid2") if (take := _take(row, film, root, name, priming, wrong))]
        if not wrong and takes[0].possible == takes[1].possible:
            wrong.append("its films must be one possible and one impossible")
        if not wrong and len({_scene(take.path) for take in takes}) > 1:
            wrong.append(f"its films are of different scenes ({takes[0].path.name}, {takes[1].path.name})")
        problems += [f"{table.name}, line {number}: {problem}" for problem in wrong]
        if not wrong:
            scenes[name, _scene(takes[0].path)].append(tuple(sorted(takes, key=lambda take: not take.possible)))


def _take(row: Mapping[str, str], film: str, root: Path, name: str, priming: bool, wrong: list[str]) -> Take | None:
    path, label, end = (row[f"{film}_{column}"] for column in ("path", "label", "end_priming_2"))
    if label not in ("possible", "impossible"):
        wrong.append(f"{film}_label is {label!r}; expected possible or impossible")
    if not end.isdecimal():
        wrong.append(f"{film}_end_priming_2 is {end!r}; expected a number of a frame")
    there = file_named(root, path, wrong)
    if there is not None and (_code(there) not in (POSSIBLE if label == "possible" else IMPOSSIBLE)[name]):
        wrong.append(f"{there.name} is called {label}, its code {_code(there)!r} says otherwise")
    return None if wrong or there is None else Take(there, label == "possible", 0 if priming else int(end) + 1)


def _read_names(root: Path, name: str, scenes: dict[tuple[str, str], list[tuple[Take, ...]]], problems: list[str]) -> int:
    """Whole quadruplets, as the benchmark's own metric takes them; returns how many are incomplete."""
    by_code: dict[str, dict[str, Path]] = defaultdict(dict)
    codes = POSSIBLE[name] + IMPOSSIBLE[name]
    for path in sorted((root / name).glob("*.mp4")):
        if _code(path) in codes:
            by_code[_scene(path)][_code(path)] = path
        else:
            problems.append(
                f"{name}/{path.name}: its name has no code {', '.join(codes)} in the fifth place, so it has no label"
            )
    if not by_code:
        problems.append(f"{name} holds no .mp4 with a label")
    whole = {scene: films for scene, films in by_code.items() if len(films) == len(codes)}
    for scene, films in whole.items():
        scenes[name, scene].append(tuple(Take(films[code], code in POSSIBLE[name], 0) for code in codes))
    return len(by_code) - len(whole)


def _code(path: Path) -> str:
    parts = path.name.split(".")[0].split("__")
    return parts[4] if len(parts) > 4 else ""


def _scene(path: Path) -> str:
    """The name without its code."""
    parts = path.name.split(".")[0].split("__")
    return "__".join(parts[:4] + parts[5:])


def _trial(
    scene: str, name: str, groups: list[tuple[Take, ...]], found: Mapping[Path, tuple[float, int]], problems: list[str]
) -> Trial:
    """Films that are compared end together, so the longer ones begin later (as published)."""
    films: list[Film] = []
    pairs: list[Pair] = []
    for takes in groups:
        left = min(found[take.path][1] - take.start for take in takes)
        if left < 2:
            problems.append(f"{takes[0].path.name}: nothing is left of it, or of its partner, after its priming")
        first = len(films)
        for take in takes:
            fps, frames = found[take.path]
            code = _code(take.path)
            stem = take.path.name.split(".")[0]
            films.append(Film(stem, str(take.path), fps, left, take.possible, code[:1], code[1:], frames - left))
        labels = {first + place: take.possible for place, take in enumerate(takes)}
        pairs += [Pair("matched", p, i) for p in labels if labels[p] for i in labels if not labels[i]]
    return Trial(scene, tuple(films), tuple(pairs), name)
