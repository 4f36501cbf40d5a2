"""IntPhys 2.

DIR/{Main,Debug}/metadata.csv and Videos/*.mp4; DIR/HeldOut/Videos/*.mp4, whose labels are secret.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from eval.voe.suites.checked_files import choose_part, file_below, raise_problems, read_rows
from eval.voe.suites.lengths import video_lengths
from eval.voe.suites.suite import Count, PublishedProtocol, Suite, incomplete_notes
from eval.voe.trials import Pair, Trial, Video

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
PUBLISHED = {"Main": Count("pairs", 0, 506), "Debug": Count("pairs", 0, 30), "HeldOut": Count("videos", 0, 344)}
PROTOCOL = PublishedProtocol(fps=6.0, window_frames=16, stride_frames=2, contexts=(4, 6, 8, 10, 12, 14))
NOTES = (
    "Videos of a pair of IntPhys 2 are separate renderings: they differ before the event, and in length.",
    "Copying the context's last latent reaches 55.5% on Main, as the best published predictors do: compare with the latent "
    "copy.",
)
SECRET = (
    "Labels of HeldOut are secret, so no scores can be computed; `python -m eval submit OUT --to FILE` writes the answers.",
)
RENDERINGS = ("Debug holds three renderings of each video; they are paired in the order of its table.",)


class Row(NamedTuple):
    """One row of the table: a video."""

    scene: str
    run: str  # 1 | 2
    outcome: str  # Possible | Impossible
    condition: str
    env: str
    path: Path


def open_folder(folder: Path, part: str = "") -> Suite:
    """Read a part. Raises TrialError where rows, labels or videos are missing.

    part: Main (default), HeldOut or Debug.
    """
    root, part = choose_part(folder, part, PARTS, ["Videos"], SOURCE)
    trials = _held_out(folder, root) if part == "HeldOut" else _labelled(folder, root, part)
    found = len(trials) if part == "HeldOut" else sum(len(trial.pairs) for trial in trials)
    counts = (Count(f"{PUBLISHED[part].what} of {part}", found, PUBLISHED[part].expected),)
    notes = {"HeldOut": SECRET, "Main": (), "Debug": RENDERINGS}[part]
    return Suite(
        "intphys2",
        folder,
        trials,
        SOURCE,
        protocol=PROTOCOL,
        geometry="resize",
        notes=NOTES + notes + incomplete_notes(counts),
        counts=counts,
    )


def _held_out(folder: Path, root: Path) -> tuple[Trial, ...]:
    """Each video is a trial of its own: which videos belong together is secret, too."""
    paths = sorted((root / "Videos").glob("*.mp4"))
    found, problems = video_lengths(paths)
    if not paths:
        problems.append(f"{root.name}/Videos holds no .mp4")
    raise_problems(folder, problems, SOURCE)
    videos = [Video(path.stem, str(path), *found[path], None) for path in paths]
    return tuple(Trial(video.video_id, (video,), (), "secret", level="Hard") for video in videos)


def _labelled(folder: Path, root: Path, part: str) -> tuple[Trial, ...]:
    problems: list[str] = []
    table = root / "metadata.csv"
    if not table.is_file():
        raise_problems(folder, [f"{part}/metadata.csv is missing: without it no video of {part} has a label"], SOURCE)
    cells = enumerate(read_rows(table, COLUMNS), 2)
    rows = [row for number, texts in cells if (row := _row(texts, number, root, problems))]
    scenes: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        scenes[row.scene].append(row)
    groups = {scene: _renderings(scene, videos, part, problems) for scene, videos in scenes.items()}
    found, unreadable = video_lengths(list(dict.fromkeys(row.path for row in rows)))
    raise_problems(folder, problems + unreadable, SOURCE)
    return tuple(_trial(scene, groups[scene], found) for scene in sorted(groups, key=lambda name: (len(name), name)))


def _row(texts: Mapping[str, str], number: int, root: Path, problems: list[str]) -> Row | None:
    where = f"metadata.csv, line {number} ({texts['file_name'] or texts['name']})"
    run, _, outcome = texts["type"].partition("_")
    if run not in RUNS or outcome not in OUTCOMES:
        problems.append(
            f"{where}: type {texts['type']!r} is no label; expected 1_Possible, 1_Impossible, 2_Possible or 2_Impossible"
        )
        return None
    if not texts["condition"]:
        problems.append(f"{where}: no condition")
        return None
    named = texts["file_name"] or f"{texts['name']}.mp4"
    missing: list[str] = []
    in_videos = named if "/" in named else f"Videos/{named}"
    path = file_below(root, in_videos, missing)
    problems += [f"{where}: {problem}" for problem in missing]
    return (
        None if path is None else Row(texts["SceneIndex"], run, outcome, texts["condition"].strip().lower(), texts["env"], path)
    )


def _renderings(scene: str, videos: list[Row], part: str, problems: list[str]) -> list[list[Row]]:
    """The videos of a scene in groups of four: one group in Main, three in Debug."""
    kinds: dict[tuple[str, str], list[Row]] = {(run, outcome): [] for run in RUNS for outcome in OUTCOMES}
    for video in videos:
        kinds[video.run, video.outcome].append(video)
    several = {len(some) for some in kinds.values()}
    if (part == "Main" and several != {1}) or len(several) != 1:
        counts = ", ".join(f"{len(some)} {run}_{outcome}" for (run, outcome), some in kinds.items())
        problems.append(f"scene {scene} has {counts}; expected {'one' if part == 'Main' else 'as many'} of each")
        return []
    if len({(video.condition, video.env) for video in videos}) > 1:
        problems.append(f"scene {scene} has videos of several conditions or envs")
    return [list(four) for four in zip(*kinds.values(), strict=True)]


def _trial(scene: str, fours: list[list[Row]], found: Mapping[Path, tuple[float, int]]) -> Trial:
    rows = [row for four in fours for row in four]
    videos = tuple(
        Video(row.path.stem, str(row.path), *found[row.path], row.outcome == "Possible", context_id=row.run) for row in rows
    )
    pairs = tuple(Pair("matched", index, index + 1) for index in range(0, len(videos), 2))
    return Trial(f"scene {scene}", videos, pairs, rows[0].condition, level=LEVEL_OF.get(rows[0].env, ""))
