"""GRASP, level 2: physical violations in Unity. DIR/{P,IP}_TEST/000.mp4 ... 127.mp4, P_ possible, IP_ impossible."""

from __future__ import annotations

from pathlib import Path

from eval.voe.suites.layout import refuse, subfolder
from eval.voe.suites.lengths import lengths
from eval.voe.suites.suite import Count, Published, Suite, incomplete
from eval.voe.trials import Film, Pair, Trial

SOURCE = (
    "Google Drive folder 1F_9R1zLtAMQ7N_IIIio6HjEBkGuuMX4M, videos.zip, named at "
    "https://github.com/i-machine-think/grasp (MIT); DIR is its folder level2"
)
TESTS = (
    "Collision",
    "Continuity",
    "Gravity",
    "GravityContinuity",
    "GravityInertia",
    "GravityInertia2",
    "GravitySupport",
    "Inertia",
    "Inertia2",
    "ObjectPermanence",
    "ObjectPermanence2",
    "ObjectPermanence3",
    "SolidityContinuity",
    "SolidityContinuity2",
    "Unchangeableness",
    "Unchangeableness2",
)
PAIRS_PUBLISHED = 2048
WHITE = (
    "the impossible films set a colour of 255 where Unity expects 0 to 1: it comes out blown white, and single untrained "
    "networks reach 88% here"
)
PROTOCOL = Published(fps=5.0, window_frames=16, stride_frames=2, contexts=(2, 4, 6, 8, 10))
NOTES = (
    "Possible and impossible films of GRASP come from separate builds that draw separate random numbers: a pair shares its "
    "number, not its frames.",
    "Properties are GRASP's own tests; which of them papers sum up under which property is not published with the data.",
    "A predictor that always says zero reaches 93% on Collision: read it beside the blind scorers.",
)


def open_folder(folder: Path) -> Suite:
    """Raises TrialError where a film has no partner, cannot be read, or no test is there."""
    root = subfolder(folder, "level2", [f"{prefix}_{test}" for test in TESTS for prefix in ("P", "IP")])
    problems: list[str] = []
    couples: list[tuple[str, str, Path, Path]] = []
    there = [test for test in TESTS if (root / f"P_{test}").is_dir() or (root / f"IP_{test}").is_dir()]
    if not there:
        problems.append(f"there is no folder P_{TESTS[0]}, nor of any other of the {len(TESTS)} tests")
    for test in there:
        possible, impossible = ({path.name: path for path in (root / f"{kind}_{test}").glob("*.mp4")} for kind in ("P", "IP"))
        for name in sorted(possible.keys() | impossible.keys()):
            if name in possible and name in impossible:
                couples.append((test, Path(name).stem, possible[name], impossible[name]))
            else:
                kind = "P" if name in impossible else "IP"
                problems.append(f"{kind}_{test}/{name} is not there, its partner is")
    found, unreadable = lengths([path for *_, possible, impossible in couples for path in (possible, impossible)])
    refuse(folder, problems + unreadable, SOURCE)
    trials = tuple(_trial(test, number, found, possible, impossible) for test, number, possible, impossible in couples)
    counts = (Count("pairs", len(trials), PAIRS_PUBLISHED),)
    return Suite("grasp", folder, trials, SOURCE, protocol=PROTOCOL, notes=NOTES + incomplete(counts), counts=counts)


def _trial(test: str, number: str, found: dict[Path, tuple[float, int]], possible: Path, impossible: Path) -> Trial:
    films = tuple(
        Film(f"{path.parent.name}__{number}", str(path), *found[path], label)
        for path, label in ((possible, True), (impossible, False))
    )
    flag = WHITE if test.startswith("Unchangeableness") else ""
    return Trial(f"{test}__{number}", films, (Pair("matched", 0, 1),), test, flag=flag)
