"""IntPhys 2019.

DIR/dev/O1/01/1/{scene/scene_001.png..., status.json}; DIR/test/O1/0001/1/scene, whose labels are
secret.

Scenes of the test set have names like O1/0001 or O1/0001_O1_test_visible_static_nobj1. The file
task.txt in the same folder lists the long names of short folders. The long name states whether the
event is visible, and answers are submitted under it.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from eval.voe.suites.checked_files import choose_part, raise_problems, read_rows
from eval.voe.suites.prefix import match_by_prefix
from eval.voe.suites.suite import Count, PublishedProtocol, Suite, incomplete_notes
from eval.voe.trials import Pair, Trial, TrialError, Video
from worldmodel.files.json_files import parse_json
from worldmodel.video import VideoError
from worldmodel.video.frame_folder.frames import frame_names

SOURCE = (
    "https://download-intphys.cognitive-ml.fr/dev.tar.gz, test from https://intphys.cognitive-ml.fr "
    "(no licence of the data was found: do not redistribute them)"
)
BLOCKS = {"O1": "permanence", "O2": "shape", "O3": "continuity"}
FPS = 15.0
FRAMES = 100
NUMBERS = ("1", "2", "3", "4")
PAIRS_CSV = "intphys_pairs.csv"
PAIR_COLUMNS = ("Property", "id", "Video1", "Video2")
SCENE = re.compile(r"(?P<number>\d{2,4})(?:_(?P<block>O\d)_\w+?_(?P<visibility>visible|occluded)_(?P<level>\w+?_nobj\d))?")
TASK = re.compile(r"(?P<block>O\d)/(?P<scene>\d{4}\w*)/(?P<video>[1-4])")
JOIN = "__"  # replaces "/" in the ids of videos, which become file names
PROTOCOL = PublishedProtocol(fps=7.5, window_frames=16, stride_frames=2, contexts=(2, 4, 6, 8, 10))
NOTES = (
    "Copying the context's last latent reaches 85% on IntPhys dev, a published predictor 89%: compare with the latent copy.",
)
SECRET = (
    "Labels of the test set are secret, so no scores can be computed; "
    "`python -m eval submit OUT --to answer.txt` writes the answers.",
)
Matching = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Scene:
    """The four videos of one folder."""

    block: str
    number: str
    folder: Path
    name: str  # as in the answers for the test set

    @property
    def short(self) -> str:
        return f"{self.block}/{self.number}"

    @property
    def long(self) -> re.Match[str]:
        match = SCENE.fullmatch(self.name)
        assert match is not None
        return match

    def frames(self, video: str) -> Path:
        return self.folder / video / "scene"


def open_folder(folder: Path, part: str = "") -> Suite:
    """Read a part. Raises TrialError where videos, frames or labels are missing.

    part: dev (default where it exists) or test.
    """
    root, part = choose_part(folder, part, ("dev", "test"), list(BLOCKS), SOURCE)
    problems: list[str] = []
    scenes = _scenes(root, folder, part, problems)
    csv = next((it / PAIRS_CSV for it in (folder, root) if (it / PAIRS_CSV).is_file()), None) if part == "dev" else None
    given = _pairs_given(csv, problems) if csv else None

    def read(scene: Scene) -> Trial | list[str]:
        return _trial(scene, part == "dev", given)

    with ThreadPoolExecutor(4) as pool:
        read_scenes = list(pool.map(read, scenes))
    problems += [problem for it in read_scenes if not isinstance(it, Trial) for problem in it]
    raise_problems(folder, problems, SOURCE)
    trials = tuple(it for it in read_scenes if isinstance(it, Trial))
    videos = sum(len(trial.videos) for trial in trials)
    whole = sum(video.frames == FRAMES for trial in trials for video in trial.videos)
    if part == "dev":
        how = "from " + PAIRS_CSV if csv else "found by their longest common beginning"
        notes = (f"Pairs are {how}.",)
        counts = (
            Count("pairs of dev", sum(len(trial.pairs) for trial in trials), 180),
            Count("videos of 100 frames", whole, videos),
        )
    else:
        notes, counts = SECRET, (Count("videos of test", videos, 12960), Count("videos of 100 frames", whole, videos))
    return Suite(
        "intphys",
        folder,
        trials,
        SOURCE,
        protocol=PROTOCOL,
        geometry="resize",
        notes=NOTES + notes + incomplete_notes(counts),
        counts=counts,
    )


def _scenes(root: Path, folder: Path, part: str, problems: list[str]) -> list[Scene]:
    task_file = next((it / "task.txt" for it in (root, folder, root.parent) if (it / "task.txt").is_file()), None)
    names = _tasks(task_file, problems) if part == "test" and task_file else {}
    scenes = []
    for block in BLOCKS:
        if not (root / block).is_dir():
            problems.append(f"{root.name} has no folder {block} ({BLOCKS[block]})")
            continue
        for path in sorted(path for path in (root / block).iterdir() if path.is_dir() and not path.name.startswith(".")):
            match = SCENE.fullmatch(path.name)
            if match is None or (match["block"] or block) != block:
                problems.append(
                    f"{block}/{path.name} is not the name of a scene; expected {block}/01, or the long form of the test set"
                )
                continue
            name = names.pop(f"{block}/{match['number']}", path.name)
            scenes.append(Scene(block, match["number"], path, name))
    problems += [f"{block_scene} is listed in task.txt, but is missing" for block_scene in names]
    return scenes


def _tasks(path: Path, problems: list[str]) -> dict[str, str]:
    """The long names of scenes, by short name (O1/0001)."""
    names = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").split(), 1):
        match = TASK.fullmatch(line)
        scene = match and SCENE.fullmatch(match["scene"])
        if not match or not scene:
            problems.append(
                f"task.txt, line {number}: {line!r} names no video; expected O1/0001_O1_test_visible_static_nobj1/1"
            )
        else:
            names[f"{match['block']}/{scene['number']}"] = match["scene"]
    return names


def _trial(scene: Scene, labelled: bool, given: dict[str, Matching] | None) -> Trial | list[str]:
    """A scene as a trial, or its problems."""
    problems = [f"{scene.short} has no video {video}" for video in NUMBERS if not scene.frames(video).is_dir()]
    if problems:
        return problems
    lengths = [_count_frames(scene, video, problems) for video in NUMBERS]
    if len(set(lengths)) > 1 and not problems:
        problems.append(
            f"{scene.short} has videos of {', '.join(map(str, lengths))} frames; the videos of a scene are equally long"
        )
    labels = [_label(scene, video, problems) if labelled else None for video in NUMBERS]
    matching: Matching = ()
    if labelled and not problems:
        matching = _matching(scene, given, problems)
    pairs = []
    for one, other in matching:
        if labels[one] == labels[other]:
            what = "possible" if labels[one] else "impossible"
            problems.append(f"{scene.short}: videos {NUMBERS[one]} and {NUMBERS[other]} are a pair, and both are {what}")
        pairs.append(Pair("same context", one, other) if labels[one] else Pair("same context", other, one))
    if problems:
        return problems
    context = {index: "ab"[number] for number, pair in enumerate(matching) for index in pair}
    videos = tuple(
        Video(
            JOIN.join((scene.block, scene.name, video)),
            str(scene.frames(video)),
            FPS,
            lengths[index],
            labels[index],
            context_id=context.get(index, ""),
        )
        for index, video in enumerate(NUMBERS)
    )
    group = JOIN.join((scene.block, scene.name))
    long = scene.long
    return Trial(
        group, videos, tuple(pairs), BLOCKS[scene.block], visibility=long["visibility"] or "", level=long["level"] or ""
    )


def _count_frames(scene: Scene, video: str, problems: list[str]) -> int:
    try:
        names = frame_names(scene.frames(video))
    except VideoError as error:
        problems.append(str(error))
        return 0
    last = re.findall(r"\d+", names[-1])
    if last and int(last[-1]) not in (len(names), len(names) - 1):
        problems.append(f"{scene.short}/{video} has {len(names)} frames, the last one is {names[-1]}: some are missing")
    return len(names)


def _label(scene: Scene, video: str, problems: list[str]) -> bool | None:
    """header.is_possible of status.json. A missing label is a problem; it is never guessed."""
    path = scene.folder / video / "status.json"
    try:
        status = parse_json(path.read_bytes())
        label = status["header"]["is_possible"]
        if isinstance(label, bool):
            return label
        problems.append(f"{scene.short}/{video}/status.json: header.is_possible is {label!r}; expected true or false")
    except OSError:
        problems.append(f"{scene.short}/{video} has no status.json, so no label (for a test set add ?part=test)")
    except (ValueError, KeyError, TypeError):
        problems.append(f"{scene.short}/{video}/status.json has no header.is_possible")
    return None


def _pairs_given(path: Path, problems: list[str]) -> dict[str, Matching]:
    """Pairs of indices from 0 on, by scene (O1/01), from the table of another publication."""
    pairs: dict[str, Matching] = {}
    try:
        for number, row in enumerate(read_rows(path, PAIR_COLUMNS, delimiter=";"), 2):
            try:
                scene = f"{row['Property']}/{int(row['id']):02d}"
                one, other = int(row["Video1"]), int(row["Video2"])
                if row["Property"] not in BLOCKS or not 0 <= one < 4 or not 0 <= other < 4:
                    raise ValueError
            except ValueError:
                problems.append(f"{PAIRS_CSV}, line {number}: expected a block (O1), a scene (1) and two indices from 0 to 3")
                continue
            pairs[scene] = (*pairs.get(scene, ()), (one, other))
    except TrialError as error:
        problems.append(str(error))
    return pairs


def _matching(scene: Scene, given: dict[str, Matching] | None, problems: list[str]) -> Matching:
    if given is None:
        try:
            return match_by_prefix([scene.frames(video) for video in NUMBERS])[0]
        except (ValueError, VideoError, OSError) as error:
            problems.append(f"{scene.short}: {error}; put {PAIRS_CSV} into DIR, if you have it")
            return ()
    matching = given.get(scene.short, ())
    if sorted(index for pair in matching for index in pair) != [0, 1, 2, 3]:
        problems.append(f"{scene.short}: {PAIRS_CSV} does not pair its four videos")
        return ()
    return matching
