"""IntPhys 2019: DIR/dev/O1/01/1/{scene/scene_001.png..., status.json}; DIR/test/O1/0001/1/scene, whose labels are secret.

Scenes of the test set come as O1/0001 or O1/0001_O1_test_visible_static_nobj1; the task.txt beside it tells the long names
of short folders. The long name says what is seen of the event, and answers are sent in under it.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from eval.voe.suites.layout import choose_part, read_rows, refuse
from eval.voe.suites.prefix import match_by_prefix
from eval.voe.suites.suite import Count, Published, Suite, incomplete
from eval.voe.trials import Film, Pair, Trial, TrialError
from worldmodel.files.json_files import parsed
from worldmodel.video import VideoError
from worldmodel.video.frame_folder.frames import frame_names

SOURCE = (
    "https://download-intphys.cognitive-ml.fr/dev.tar.gz, test from https://intphys.cognitive-ml.fr "
    "(no licence of the data was found: do not pass them on)"
)
BLOCKS = {"O1": "permanence", "O2": "shape", "O3": "continuity"}
FPS = 15.0
FRAMES = 100
PLACES = ("1", "2", "3", "4")
PAIRS_CSV = "intphys_pairs.csv"
PAIR_COLUMNS = ("Property", "id", "Video1", "Video2")
SCENE = re.compile(r"(?P<number>\d{2,4})(?:_(?P<block>O\d)_\w+?_(?P<visibility>visible|occluded)_(?P<level>\w+?_nobj\d))?")
TASK = re.compile(r"(?P<block>O\d)/(?P<scene>\d{4}\w*)/(?P<film>[1-4])")
JOIN = "__"  # for "/" in names of films, which become names of files
PROTOCOL = Published(fps=7.5, window_frames=16, stride_frames=2, contexts=(2, 4, 6, 8, 10))
NOTES = (
    "Copying the context's last latent reaches 85% on IntPhys dev, a published predictor 89%: read the latent copy first.",
)
SECRET = (
    "Labels of the test set are secret: there is nothing to score here; "
    "`python -m eval export OUT --to answer.txt` writes the answers.",
)
Matching = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Scene:
    """Four films of one folder."""

    block: str
    number: str
    folder: Path
    name: str  # as the test set's answers name it

    @property
    def short(self) -> str:
        return f"{self.block}/{self.number}"

    @property
    def long(self) -> re.Match[str]:
        match = SCENE.fullmatch(self.name)
        assert match is not None
        return match

    def frames(self, film: str) -> Path:
        return self.folder / film / "scene"


def open_folder(folder: Path, part: str = "") -> Suite:
    """`part`: dev (default where it is there) or test. Raises TrialError where films, frames or labels are missing."""
    root, part = choose_part(folder, part, ("dev", "test"), list(BLOCKS), SOURCE)
    problems: list[str] = []
    scenes = _scenes(root, folder, part, problems)
    csv = (
        next((place / PAIRS_CSV for place in (folder, root) if (place / PAIRS_CSV).is_file()), None) if part == "dev" else None
    )
    given = _pairs_given(csv, problems) if csv else None

    def read(scene: Scene) -> Trial | list[str]:
        return _trial(scene, part == "dev", given)

    with ThreadPoolExecutor(4) as pool:
        read_scenes = list(pool.map(read, scenes))
    problems += [problem for it in read_scenes if not isinstance(it, Trial) for problem in it]
    refuse(folder, problems, SOURCE)
    trials = tuple(it for it in read_scenes if isinstance(it, Trial))
    films = sum(len(trial.films) for trial in trials)
    whole = sum(film.frames == FRAMES for trial in trials for film in trial.films)
    if part == "dev":
        how = "from " + PAIRS_CSV if csv else "found by their longest common beginning"
        said = (f"Pairs are {how}.",)
        counts = (
            Count("pairs of dev", sum(len(trial.pairs) for trial in trials), 180),
            Count("films of 100 frames", whole, films),
        )
    else:
        said, counts = SECRET, (Count("films of test", films, 12960), Count("films of 100 frames", whole, films))
    return Suite("intphys", folder, trials, SOURCE, protocol=PROTOCOL, notes=NOTES + said + incomplete(counts), counts=counts)


def _scenes(root: Path, folder: Path, part: str, problems: list[str]) -> list[Scene]:
    task = next((place / "task.txt" for place in (root, folder, root.parent) if (place / "task.txt").is_file()), None)
    names = _tasks(task, problems) if part == "test" and task else {}
    scenes = []
    for block in BLOCKS:
        if not (root / block).is_dir():
            problems.append(f"{root.name} has no folder {block} ({BLOCKS[block]})")
            continue
        for path in sorted(path for path in (root / block).iterdir() if path.is_dir() and not path.name.startswith(".")):
            match = SCENE.fullmatch(path.name)
            if match is None or (match["block"] or block) != block:
                problems.append(
                    f"{block}/{path.name} is no name of a scene; expected {block}/01, or the long form of the test set"
                )
                continue
            name = names.pop(f"{block}/{match['number']}", path.name)
            scenes.append(Scene(block, match["number"], path, name))
    problems += [f"{block_scene} stands in task.txt, but is not there" for block_scene in names]
    return scenes


def _tasks(path: Path, problems: list[str]) -> dict[str, str]:
    """O1/0001 -> the long name of the scene."""
    names = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").split(), 1):
        match = TASK.fullmatch(line)
        scene = match and SCENE.fullmatch(match["scene"])
        if not match or not scene:
            problems.append(f"task.txt, line {number}: {line!r} is no film; expected O1/0001_O1_test_visible_static_nobj1/1")
        else:
            names[f"{match['block']}/{scene['number']}"] = match["scene"]
    return names


def _trial(scene: Scene, labelled: bool, given: dict[str, Matching] | None) -> Trial | list[str]:
    """A scene as a trial, or what is wrong with it."""
    problems = [f"{scene.short} has no film {film}" for film in PLACES if not scene.frames(film).is_dir()]
    if problems:
        return problems
    lengths = [_count_frames(scene, film, problems) for film in PLACES]
    if len(set(lengths)) > 1 and not problems:
        problems.append(f"{scene.short} has films of {', '.join(map(str, lengths))} frames; those of a scene are equally long")
    labels = [_label(scene, film, problems) if labelled else None for film in PLACES]
    matching: Matching = ()
    if labelled and not problems:
        matching = _matching(scene, given, problems)
    pairs = []
    for one, other in matching:
        if labels[one] == labels[other]:
            what = "possible" if labels[one] else "impossible"
            problems.append(f"{scene.short}: films {PLACES[one]} and {PLACES[other]} are a pair, and both {what}")
        pairs.append(Pair("same context", one, other) if labels[one] else Pair("same context", other, one))
    if problems:
        return problems
    context = {place: "ab"[number] for number, pair in enumerate(matching) for place in pair}
    films = tuple(
        Film(
            JOIN.join((scene.block, scene.name, film)),
            str(scene.frames(film)),
            FPS,
            lengths[place],
            labels[place],
            context_id=context.get(place, ""),
        )
        for place, film in enumerate(PLACES)
    )
    group = JOIN.join((scene.block, scene.name))
    long = scene.long
    return Trial(
        group, films, tuple(pairs), BLOCKS[scene.block], visibility=long["visibility"] or "", level=long["level"] or ""
    )


def _count_frames(scene: Scene, film: str, problems: list[str]) -> int:
    try:
        names = frame_names(scene.frames(film))
    except VideoError as error:
        problems.append(str(error))
        return 0
    last = re.findall(r"\d+", names[-1])
    if last and int(last[-1]) not in (len(names), len(names) - 1):
        problems.append(f"{scene.short}/{film} has {len(names)} frames, the last one is {names[-1]}: some are missing")
    return len(names)


def _label(scene: Scene, film: str, problems: list[str]) -> bool | None:
    """header.is_possible of status.json. A label that is missing is a problem, not a guess."""
    path = scene.folder / film / "status.json"
    try:
        said = parsed(path.read_bytes())
        label = said["header"]["is_possible"]
        if isinstance(label, bool):
            return label
        problems.append(f"{scene.short}/{film}/status.json: header.is_possible is {label!r}; expected true or false")
    except OSError:
        problems.append(f"{scene.short}/{film} has no status.json, so no label (a test set? Then say ?part=test)")
    except (ValueError, KeyError, TypeError):
        problems.append(f"{scene.short}/{film}/status.json has no header.is_possible")
    return None


def _pairs_given(path: Path, problems: list[str]) -> dict[str, Matching]:
    """O1/01 -> its pairs of places, from the table that others have made (its places count from 0)."""
    pairs: dict[str, Matching] = {}
    try:
        for number, row in enumerate(read_rows(path, PAIR_COLUMNS, delimiter=";"), 2):
            try:
                scene = f"{row['Property']}/{int(row['id']):02d}"
                one, other = int(row["Video1"]), int(row["Video2"])
                if row["Property"] not in BLOCKS or not 0 <= one < 4 or not 0 <= other < 4:
                    raise ValueError
            except ValueError:
                problems.append(f"{PAIRS_CSV}, line {number}: expected a block (O1), a scene (1) and two places from 0 to 3")
                continue
            pairs[scene] = (*pairs.get(scene, ()), (one, other))
    except TrialError as error:
        problems.append(str(error))
    return pairs


def _matching(scene: Scene, given: dict[str, Matching] | None, problems: list[str]) -> Matching:
    if given is None:
        try:
            return match_by_prefix([scene.frames(film) for film in PLACES])[0]
        except (ValueError, VideoError, OSError) as error:
            problems.append(f"{scene.short}: {error}; put {PAIRS_CSV} beside the films, if you have it")
            return ()
    matching = given.get(scene.short, ())
    if sorted(place for pair in matching for place in pair) != [0, 1, 2, 3]:
        problems.append(f"{scene.short}: {PAIRS_CSV} does not pair its four films")
        return ()
    return matching
