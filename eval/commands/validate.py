"""Check that a benchmark is complete and that its videos can be read.

The exit code is 0 only if every check passes.

    python -m eval validate builtin:data/mini  # or intphys:DIR, intphys2:DIR?part=HeldOut, grasp:DIR, inflevel:DIR?priming=yes
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
from eval.voe.suites.checked_files import first_problems
from eval.voe.trials import Trial, TrialError, Video, check_trials
from worldmodel.manifest import Manifest, ManifestError
from worldmodel.process.cores import usable_cores
from worldmodel.process.terminal import escape_lines
from worldmodel.video import VideoError, read_frames

HELP = "check that a benchmark is complete and that its videos can be read"


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
    """0 when every check passes, else 1.

    Raises TrialError for a layout that is broken, with all its problems.
    """
    suite = open_suite(args.suite)
    checks = validate(suite)
    report(suite, checks)
    return 1 if any(check.problems for check in checks) else 0


def report(suite: Suite, checks: Sequence[Check]) -> None:
    """Print a table of the checks, the first problems, and the notes on the suite."""
    console = Console(soft_wrap=True)
    table = Table("what", "found", "", title=escape(escape_lines(f"{suite.name}, {suite.path}")), title_justify="left")
    for check in checks:
        passed = "wrong" if check.problems else "right"
        table.add_row(escape(escape_lines(check.what)), escape(escape_lines(check.found)), passed)
    console.print(table)
    problems = [f"{check.what}: {problem}" for check in checks for problem in check.problems]
    lines = [f"  {line}" for line in first_problems(problems)] + [f"Note: {note}" for note in suite.notes]
    for line in [*lines, f"The data come from {suite.source}"]:
        console.print(escape_lines(line), markup=False, highlight=False)


def validate(suite: Suite) -> list[Check]:
    """Run all checks that need no model. The layout was checked when the suite was opened."""
    videos = sum(len(trial.videos) for trial in suite.trials)
    checks = [Check("layout", f"{len(suite.trials)} trials, {videos} videos"), _pairs(suite)]
    for count in suite.counts:
        problem = () if count.complete else (f"{count.found} found, {count.expected} expected",)
        checks.append(Check(count.what, f"{count.found} of {count.expected}", problem))
    if suite.name == "builtin":
        checks.append(_calibration_videos(suite))
    unreadable = over_trials("videos", suite.trials, _first_and_last)
    checks.append(Check("first and last frame", f"{videos - len(unreadable)} of {videos} videos", tuple(unreadable)))
    spliced = [trial for trial in suite.trials if trial.spliced and trial.splice_frame is not None]
    if spliced and not unreadable:
        differing = over_trials("splices", spliced, splice_errors)
        checks.append(Check("videos equal where they must be", f"{len(spliced)} spliced trials", tuple(differing)))
    return checks


def _pairs(suite: Suite) -> Check:
    count = sum(len(trial.pairs) for trial in suite.trials)
    try:
        check_trials(suite.trials)
    except TrialError as error:
        return Check("one possible video per pair", f"{count} pairs", (str(error),))
    return Check("one possible video per pair", f"{count} pairs" if count else "labels are secret")


def _calibration_videos(suite: Suite) -> Check:
    if suite.calibration is None:
        missing = "calibration.parquet is missing, so there is no whitened surprise; run the command that made the suite again"
        return Check("calibration videos", "none", (missing,))
    try:
        manifest = Manifest.open(suite.calibration)
    except ManifestError as error:
        return Check("calibration videos", "none", (str(error),))
    lost = [path for path in map(manifest.absolute, manifest.column("path")) if not Path(path).exists()]
    return Check("calibration videos", str(len(manifest)), tuple(f"{path} is missing" for path in lost))


def over_trials(what: str, trials: Iterable[Trial], check: Callable[[Trial], list[str]]) -> list[str]:
    """The problems that `check` finds in trials, in their order.

    Several trials are checked at once, with a progress bar.
    """
    trials, problems = list(trials), []
    with ThreadPoolExecutor(usable_cores()) as pool, bar(what, len(trials)) as progress:
        for found in pool.map(check, trials):
            problems += found
            progress.step(ok=not found)
    return problems


def _first_and_last(trial: Trial) -> list[str]:
    return [problem for video in trial.videos for problem in _reading_errors(video)]


def _reading_errors(video: Video) -> list[str]:
    try:
        _read(video, [0, video.frames - 1])
    except (VideoError, OSError) as error:
        return [f"{video.video_id}: {error}"]
    return []


def splice_errors(trial: Trial) -> list[str]:
    """Frames that must be equal in the four videos of a spliced quadruplet and are not.

    All four are equal in full occlusion. Those with one context are equal until the splice, those
    with one outcome from there on. Then no scorer of single frames can separate the possible videos
    from the impossible ones.
    """
    assert trial.splice_frame is not None
    try:
        frames = {video: _read(video, range(video.frames)) for video in trial.videos}
    except (VideoError, OSError) as error:
        return [f"{trial.group_id}: {error}"]
    if len({len(some) for some in frames.values()}) > 1:
        return [f"{trial.group_id}: its videos are not equally long"]
    number = np.arange(trial.videos[0].frames)
    start, stop = trial.occluded_frames or (0, 0)
    hidden = (start <= number) & (number < stop)
    problems = []
    for one, other in combinations(trial.videos, 2):
        equal = hidden.copy()
        if one.context_id == other.context_id:
            equal |= number < trial.splice_frame
        if one.outcome_id == other.outcome_id:
            equal |= number >= trial.splice_frame
        if (wrong := number[equal & (frames[one] != frames[other]).any((1, 2, 3))]).size:
            names = f"{one.video_id} and {other.video_id}"
            problems.append(f"{trial.group_id}: {names} differ at frame {wrong[0]}, where they must be equal")
    return problems


def _read(video: Video, frames: Iterable[int]) -> NDArray[np.uint8]:
    """Frames of a video by number, from its start_frame on."""
    times_s = [(video.start_frame + frame) / video.fps for frame in frames]
    return read_frames(video.path, times_s=times_s, folder_fps=video.fps)
