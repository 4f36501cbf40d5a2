"""Is a benchmark whole, and can its films be read? Exit code 0 only when everything is right.

python -m eval doctor builtin:DIR        # or intphys:DIR, intphys2:DIR?part=HeldOut, grasp:DIR, inflevel:DIR?priming=yes
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from data_prep.progress import bar
from eval.voe.suites import Suite, open_suite
from eval.voe.suites.layout import first_of
from eval.voe.trials import Film, Trial, TrialError, check_trials
from worldmodel.manifest import Manifest, ManifestError
from worldmodel.process.cores import usable_cores
from worldmodel.process.terminal import printable
from worldmodel.video import VideoError, read_frames

HELP = "is a benchmark whole, and can its films be read?"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "suite",
        metavar="KIND:DIR",
        help="builtin:DIR, intphys:DIR, intphys2:DIR, grasp:DIR or inflevel:DIR, with ?part= or ?priming=",
    )


@dataclass(frozen=True)
class Check:
    """One line of the table."""

    what: str
    found: str
    problems: tuple[str, ...] = ()


def run(args: argparse.Namespace) -> int:
    """0 when everything is right, else 1. Raises TrialError for a layout that is broken, with all its problems."""
    suite = open_suite(args.suite)
    checks = examine(suite)
    report(suite, checks)
    return 1 if any(check.problems for check in checks) else 0


def report(suite: Suite, checks: Sequence[Check]) -> None:
    """A table of what was looked at, the first problems, and what one must know about the suite."""
    console = Console(soft_wrap=True)
    table = Table("what", "found", "", title=escape(printable(f"{suite.name}, {suite.path}")), title_justify="left")
    for check in checks:
        table.add_row(escape(printable(check.what)), escape(printable(check.found)), "wrong" if check.problems else "right")
    console.print(table)
    problems = [f"{check.what}: {problem}" for check in checks for problem in check.problems]
    lines = [f"  {line}" for line in first_of(problems)] + [f"Note: {note}" for note in suite.notes]
    for line in [*lines, f"The data come from {suite.source}"]:
        console.print(printable(line), markup=False, highlight=False)


def examine(suite: Suite) -> list[Check]:
    """Everything that can be checked without a model; the layout has been, or there would be no suite."""
    films = sum(len(trial.films) for trial in suite.trials)
    checks = [Check("layout", f"{len(suite.trials)} trials, {films} films"), _pairs(suite)]
    for count in suite.counts:
        problem = () if count.complete else (f"{count.found} found, {count.expected} expected",)
        checks.append(Check(count.what, f"{count.found} of {count.expected}", problem))
    if suite.name == "builtin":
        checks.append(_lawful(suite))
    unreadable = over_trials("films", suite.trials, _first_and_last)
    checks.append(Check("first and last frame", f"{films - len(unreadable)} of {films} films", tuple(unreadable)))
    spliced = [trial for trial in suite.trials if trial.spliced and trial.splice is not None]
    if spliced and not unreadable:
        differing = over_trials("splices", spliced, splice_errors)
        checks.append(Check("films equal where they must be", f"{len(spliced)} spliced trials", tuple(differing)))
    return checks


def _pairs(suite: Suite) -> Check:
    count = sum(len(trial.pairs) for trial in suite.trials)
    try:
        check_trials(suite.trials)
    except TrialError as error:
        return Check("one possible film a pair", f"{count} pairs", (str(error),))
    return Check("one possible film a pair", f"{count} pairs" if count else "labels are secret")


def _lawful(suite: Suite) -> Check:
    if suite.lawful is None:
        return Check("lawful films", "none", ("lawful.parquet is not there: no whitened surprise; the same command makes it",))
    try:
        manifest = Manifest.open(suite.lawful)
    except ManifestError as error:
        return Check("lawful films", "none", (str(error),))
    gone = [path for path in map(manifest.absolute, manifest.column("path")) if not Path(path).exists()]
    return Check("lawful films", str(len(manifest)), tuple(f"{path} is not there" for path in gone))


def over_trials(what: str, trials: Iterable[Trial], look: Callable[[Trial], list[str]]) -> list[str]:
    """What `look` finds wrong with trials, in their order; a few are looked at at once, with a progress bar."""
    trials, problems = list(trials), []
    with ThreadPoolExecutor(usable_cores()) as pool, bar(what, len(trials)) as progress:
        for found in pool.map(look, trials):
            problems += found
            progress.step(ok=not found)
    return problems


def _first_and_last(trial: Trial) -> list[str]:
    return [problem for film in trial.films for problem in _reading_errors(film)]


def _reading_errors(film: Film) -> list[str]:
    try:
        _read(film, [0, film.frames - 1])
    except (VideoError, OSError) as error:
        return [f"{film.film_id}: {error}"]
    return []


def splice_errors(trial: Trial) -> list[str]:
    """Frames that must be equal in the four films of a spliced quadruplet and are not.

    All four are equal while all is hidden; those with one context are equal until the splice, those with one outcome from
    there on. Then no scorer that looks at single frames can tell the possible films from the impossible ones.
    """
    assert trial.splice is not None
    try:
        frames = {film: _read(film, range(film.frames)) for film in trial.films}
    except (VideoError, OSError) as error:
        return [f"{trial.group_id}: {error}"]
    if len({len(some) for some in frames.values()}) > 1:
        return [f"{trial.group_id}: its films are not equally long"]
    number = np.arange(trial.films[0].frames)
    hidden = (
        np.zeros(len(number), bool)
        if trial.occlusion is None
        else (trial.occlusion[0] <= number) & (number < trial.occlusion[1])
    )
    problems = []
    for one, other in combinations(trial.films, 2):
        equal = hidden.copy()
        if one.context_id == other.context_id:
            equal |= number < trial.splice
        if one.outcome_id == other.outcome_id:
            equal |= number >= trial.splice
        if (wrong := number[equal & (frames[one] != frames[other]).any((1, 2, 3))]).size:
            problems.append(
                f"{trial.group_id}: {one.film_id} and {other.film_id} differ at frame {wrong[0]}, where they must be equal"
            )
    return problems


def _read(film: Film, frames: Iterable[int]) -> NDArray[np.uint8]:
    """Frames of a film by number, from its start_frame on."""
    times_s = [(film.start_frame + frame) / film.fps for frame in frames]
    return read_frames(film.path, times_s=times_s, folder_fps=film.fps)
