"""InfLevel-lab, recorded on a table.

DIR/{continuity,gravity,solidity}/CAMERA__PROPERTY__COVER__OBJECT__TYPE[__LR|RL].mp4.

Pairs, and the frame at which priming ends (the cover is shown before the event), come from
continuity.csv, gravity.csv and solidity.csv, which the user puts into DIR. They are released with
the code of "Intuitive physics understanding emerges from self-supervised pretraining on natural
videos". Without them videos are paired by the codes in their names.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from eval.voe.suites.checked_files import file_below, raise_problems, read_rows, subfolder
from eval.voe.suites.lengths import video_lengths
from eval.voe.suites.suite import Count, PublishedProtocol, Suite, incomplete_notes
from eval.voe.trials import Pair, Trial, TrialError, Video

SOURCE = (
    "https://pub-7320908bcb5b4cdea63c22bc2a38600c.r2.dev/inflevel_lab.tar.gz (Apache-2.0, evaluation only); pairs and priming: "
    "evaluation_code/auxiliary_data_loading_files/inflevel/*.csv of https://github.com/facebookresearch/jepa-intuitive-physics"
)
POSSIBLE = {"continuity": ("vv", "ii"), "gravity": ("ui", "cv"), "solidity": ("ui", "cv")}
IMPOSSIBLE = {"continuity": ("vi", "iv"), "gravity": ("uv", "ci"), "solidity": ("uv", "ci")}
"""Type codes. Videos of codes with the same index have the same beginning."""
PAIRS_PUBLISHED = {"continuity": 1116, "gravity": 1182, "solidity": 450}
SCENES_PUBLISHED = {"continuity": 540, "gravity": 591, "solidity": 225}  # with all four videos, among those pairs
COLUMNS = tuple(f"vid{video}_{name}" for video in (1, 2) for name in ("path", "label", "end_priming_2"))
PROTOCOL = PublishedProtocol(fps=6.0, window_frames=32, stride_frames=2, contexts=(4, 8, 12, 16, 20))
NO_PRIMING = (
    "Videos begin after their priming. In gravity and solidity only the priming shows whether the tube is open. Without it "
    "possible and impossible videos cannot be distinguished, and chance is the expected score; compare with ?priming=yes.",
)
WITH_PRIMING = ("Videos begin with their priming (?priming=yes).",)
BY_NAME = (
    "Videos are paired by the codes in their names, each possible with each impossible one of a scene, because the folder has "
    "no pair CSV. Without it the end of the priming is not known, so videos begin with their priming.",
)


class VideoPart(NamedTuple):
    """A video file, from a frame on."""

    path: Path
    possible: bool
    start: int  # first frame after its priming


def open_folder(folder: Path, priming: str = "") -> Suite:
    """Read the suite. Raises TrialError where videos or labels are missing.

    priming: yes or no; "" means no if CSVs state where it ends.
    """
    root = subfolder(folder, "inflevel_lab", list(POSSIBLE))
    tables = {name: root / f"{name}.csv" for name in POSSIBLE if (root / f"{name}.csv").is_file()}
    if priming not in ("", "yes", "no"):
        raise TrialError(f"priming={priming}: expected yes or no")
    problems = [
        f"{name}.csv is missing, but others exist: put all three into {root}"
        for name in POSSIBLE
        if tables and name not in tables
    ]
    if priming == "no" and not tables:
        problems.append("priming=no needs continuity.csv, gravity.csv and solidity.csv: they state where priming ends")
    notes: tuple[str, ...] = (WITH_PRIMING if priming == "yes" else NO_PRIMING) if tables else BY_NAME
    scenes: dict[tuple[str, str], list[tuple[VideoPart, ...]]] = defaultdict(list)
    left_out = 0
    for name in POSSIBLE:
        if not (root / name).is_dir():
            problems.append(f"folder {name} is missing")
        elif name in tables:
            _read_table(tables[name], root, name, priming == "yes", scenes, problems)
        elif not tables:
            left_out += _read_names(root, name, scenes, problems)
    if left_out:
        notes += (f"{left_out} scenes lack one of their four videos and are left out.",)
    found, unreadable = video_lengths(
        list(dict.fromkeys(clip.path for many in scenes.values() for clips in many for clip in clips))
    )
    raise_problems(folder, problems + unreadable, SOURCE)
    trials = tuple(_trial(scene, name, scenes[name, scene], found, problems) for name, scene in sorted(scenes))
    raise_problems(folder, problems, SOURCE)
    counts = tuple(_count(name, trials, bool(tables)) for name in POSSIBLE)
    return Suite(
        "inflevel",
        folder,
        trials,
        SOURCE,
        protocol=PROTOCOL,
        geometry="resize",
        notes=notes + incomplete_notes(counts),
        counts=counts,
    )


def _count(name: str, trials: tuple[Trial, ...], by_table: bool) -> Count:
    mine = [trial for trial in trials if trial.property == name]
    if by_table:
        return Count(f"pairs of {name}", sum(len(trial.pairs) for trial in mine), PAIRS_PUBLISHED[name])
    return Count(f"scenes of {name} with four videos", len(mine), SCENES_PUBLISHED[name])


def _read_table(
    table: Path,
    root: Path,
    name: str,
    priming: bool,
    scenes: dict[tuple[str, str], list[tuple[VideoPart, ...]]],
    problems: list[str],
) -> None:
    """Read pairs, one per row."""
    try:
        rows = read_rows(table, COLUMNS)
    except TrialError as error:
        problems.append(str(error))
        return
    for number, row in enumerate(rows, 2):
        wrong: list[str] = []
        clips = [clip for video in ("vid1", "vid2") if (clip := _clip(row, video, root, name, priming, wrong))]
        if not wrong and clips[0].possible == clips[1].possible:
            wrong.append("its videos must be one possible and one impossible")
        if not wrong and len({_scene(clip.path) for clip in clips}) > 1:
            wrong.append(f"its videos are of different scenes ({clips[0].path.name}, {clips[1].path.name})")
        problems += [f"{table.name}, line {number}: {problem}" for problem in wrong]
        if not wrong:
            scenes[name, _scene(clips[0].path)].append(tuple(sorted(clips, key=lambda clip: not clip.possible)))


def _clip(row: Mapping[str, str], video: str, root: Path, name: str, priming: bool, wrong: list[str]) -> VideoPart | None:
    path, label, end = (row[f"{video}_{column}"] for column in ("path", "label", "end_priming_2"))
    if label not in ("possible", "impossible"):
        wrong.append(f"{video}_label is {label!r}; expected possible or impossible")
    if not end.isdecimal():
        wrong.append(f"{video}_end_priming_2 is {end!r}; expected a frame number")
    file = file_below(root, path, wrong)
    if file is not None and (_code(file) not in (POSSIBLE if label == "possible" else IMPOSSIBLE)[name]):
        wrong.append(f"{file.name} has label {label}, which its code {_code(file)!r} contradicts")
    return None if wrong or file is None else VideoPart(file, label == "possible", 0 if priming else int(end) + 1)


def _read_names(root: Path, name: str, scenes: dict[tuple[str, str], list[tuple[VideoPart, ...]]], problems: list[str]) -> int:
    """Read complete quadruplets, as in the benchmark's own metric. Returns how many are incomplete."""
    by_code: dict[str, dict[str, Path]] = defaultdict(dict)
    codes = POSSIBLE[name] + IMPOSSIBLE[name]
    for path in sorted((root / name).glob("*.mp4")):
        if _code(path) in codes:
            by_code[_scene(path)][_code(path)] = path
        else:
            problems.append(
                f"{name}/{path.name}: its name has no code {', '.join(codes)} in its fifth part, so it has no label"
            )
    if not by_code:
        problems.append(f"{name} holds no .mp4 with a label")
    whole = {scene: videos for scene, videos in by_code.items() if len(videos) == len(codes)}
    for scene, videos in whole.items():
        scenes[name, scene].append(tuple(VideoPart(videos[code], code in POSSIBLE[name], 0) for code in codes))
    return len(by_code) - len(whole)


def _code(path: Path) -> str:
    parts = path.name.split(".")[0].split("__")
    return parts[4] if len(parts) > 4 else ""


def _scene(path: Path) -> str:
    """The file name without its code."""
    parts = path.name.split(".")[0].split("__")
    return "__".join(parts[:4] + parts[5:])


def _trial(
    scene: str, name: str, groups: list[tuple[VideoPart, ...]], found: Mapping[Path, tuple[float, int]], problems: list[str]
) -> Trial:
    """Build a trial.

    Videos that are compared end at the same frame, so longer ones begin later (as published).
    """
    videos: list[Video] = []
    pairs: list[Pair] = []
    for clips in groups:
        left = min(found[clip.path][1] - clip.start for clip in clips)
        if left < 2:
            problems.append(f"{clips[0].path.name}: it, or its partner, has fewer than 2 frames after its priming")
        first = len(videos)
        for clip in clips:
            fps, frames = found[clip.path]
            code = _code(clip.path)
            stem = clip.path.name.split(".")[0]
            videos.append(Video(stem, str(clip.path), fps, left, clip.possible, code[:1], code[1:], frames - left))
        labels = {first + index: clip.possible for index, clip in enumerate(clips)}
        pairs += [Pair("matched", p, i) for p in labels if labels[p] for i in labels if not labels[i]]
    return Trial(scene, tuple(videos), tuple(pairs), name)
