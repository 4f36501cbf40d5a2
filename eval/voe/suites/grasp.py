"""GRASP, level 2: physical violations in Unity.

DIR/{P,IP}_TEST/000.mp4 ... 127.mp4, P_ possible, IP_ impossible.
"""

from __future__ import annotations

from pathlib import Path

from eval.voe.suites.checked_files import raise_problems, subfolder
from eval.voe.suites.lengths import video_lengths
from eval.voe.suites.suite import Count, PublishedProtocol, Suite, incomplete_notes
from eval.voe.trials import Pair, Trial, Video

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
WHITE_DEFECT = (
    "impossible videos set a colour of 255 where Unity expects 0 to 1, so that it is rendered white, and single untrained "
    "networks reach 88% here"
)
PROTOCOL = PublishedProtocol(fps=5.0, window_frames=16, stride_frames=2, contexts=(2, 4, 6, 8, 10))
NOTES = (
    "Possible and impossible videos of GRASP come from separate builds with separate random numbers: videos of a pair have the "
    "same number, but different frames.",
    "Properties are GRASP's own tests. How papers group them into properties is not published with the data.",
    "A predictor that always says zero reaches 93% on Collision: compare it with the pixel baselines.",
)


def open_folder(folder: Path) -> Suite:
    """Raises TrialError where a video has no partner or cannot be read, or no test is found."""
    root = subfolder(folder, "level2", [f"{prefix}_{test}" for test in TESTS for prefix in ("P", "IP")])
    problems: list[str] = []
    couples: list[tuple[str, str, Path, Path]] = []
    present = [test for test in TESTS if (root / f"P_{test}").is_dir() or (root / f"IP_{test}").is_dir()]
    if not present:
        problems.append(f"there is no folder P_{TESTS[0]}, nor of any other of the {len(TESTS)} tests")
    for test in present:
        possible, impossible = ({path.name: path for path in (root / f"{kind}_{test}").glob("*.mp4")} for kind in ("P", "IP"))
        for name in sorted(possible.keys() | impossible.keys()):
            if name in possible and name in impossible:
                couples.append((test, Path(name).stem, possible[name], impossible[name]))
            else:
                kind = "P" if name in impossible else "IP"
                problems.append(f"{kind}_{test}/{name} is missing, but its partner exists")
    found, unreadable = video_lengths([path for *_, possible, impossible in couples for path in (possible, impossible)])
    raise_problems(folder, problems + unreadable, SOURCE)
    trials = tuple(_trial(test, number, found, possible, impossible) for test, number, possible, impossible in couples)
    counts = (Count("pairs", len(trials), PAIRS_PUBLISHED),)
    return Suite(
        "grasp",
        folder,
        trials,
        SOURCE,
        protocol=PROTOCOL,
        geometry="resize",
        notes=NOTES + incomplete_notes(counts),
        counts=counts,
    )


def _trial(test: str, number: str, found: dict[Path, tuple[float, int]], possible: Path, impossible: Path) -> Trial:
    videos = tuple(
        Video(f"{path.parent.name}__{number}", str(path), *found[path], label)
        for path, label in ((possible, True), (impossible, False))
    )
    defect = WHITE_DEFECT if test.startswith("Unchangeableness") else ""
    return Trial(f"{test}__{number}", videos, (Pair("matched", 0, 1),), test, known_defect=defect)
