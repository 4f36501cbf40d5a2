"""How often does curation find camera cuts and near-duplicates? On a folder of videos, by cuts and copies made at random.

    python -m benchmarks.curation DIR --sequences 200

Cuts: stretches of 1 to 3 s without a cut, of random videos, are joined; a cut counts as found at the exact frame that was
examined. Stretches of one video are joined too: cuts between like pictures are the hard ones. Transitions: two
stretches are joined by a dissolve or by a fade through black of 0.4 to 2 s; one counts as found if the frames that are found
and those that were blended share more than half of their union. Near-duplicates: each video is changed (half the size, darker,
the middle 60 % of its time, compressed more, all of these) and compared with all others.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from data_prep.curation.analysis import VideoAnalysis, VideoClips, analyse_video
from data_prep.curation.cuts import find_cuts, find_static_cuts, measure_changes
from data_prep.curation.near_duplicates import match_share
from data_prep.curation.recipe import CurationRecipe
from data_prep.curation.transitions import brightness_cells, find_transitions
from data_prep.inspection import VideoRecord, inspect_item
from data_prep.sources import SOURCES, Item, SkippedFiles
from data_prep.splits import clips_of, whole_file
from worldmodel.process.arguments import whole_number
from worldmodel.video import read_frames, write_video

MIN_S, STRETCH_S, PIECES, MAX_S = 1.0, (1.0, 3.0), 4, 30.0
BLEND_S = (0.4, 2.0)


def video_clips(path: Path) -> VideoClips | None:
    """A video as `curate` sees it; None for one that cannot be used."""
    record = inspect_item(Item(str(path)), MIN_S, thorough=False)
    if not isinstance(record, VideoRecord) or record.reason is not None:
        return None
    return VideoClips(record.path, None, None, tuple(clips_of(record, whole_file(record, "train"), "bench")))


def analysed(video: VideoClips, recipe: CurationRecipe) -> VideoAnalysis:
    """The analysis of a video that can be read."""
    analysis = analyse_video(video, recipe)
    if not isinstance(analysis, VideoAnalysis):
        raise SystemExit(f"{video.path}: {analysis}")
    return analysis


def read_shots(video: VideoClips, recipe: CurationRecipe, size_px: int) -> list[np.ndarray]:
    """Frames of the usable stretches of a video that are long enough, at the rate of the recipe."""
    analysis = analysed(video, recipe)
    shots = []
    for stretch in analysis.stretches:
        start, stop = stretch["start"], min(stretch["stop"], stretch["start"] + int(MAX_S * recipe.fps))
        if stretch["decision"] == "used" and stop - start >= STRETCH_S[0] * recipe.fps:
            times = analysis.start_s + np.arange(start, stop) / recipe.fps
            frames = read_frames(video.path, times_s=times, size=(size_px, size_px), timing=video.clips[0].timing)
            shots.append(frames)
    return shots


def measure_cuts(shots: list[np.ndarray], count: int, recipe: CurationRecipe, rng: np.random.Generator) -> dict[str, int]:
    """Cuts made, found, and found where there is none."""
    found = {"made": 0, "found": 0, "false": 0}
    for _ in range(count):
        pieces = []
        for _ in range(PIECES):
            shot = shots[int(rng.integers(len(shots)))]
            length = min(len(shot), int(rng.uniform(*STRETCH_S) * recipe.fps))
            start = int(rng.integers(len(shot) - length + 1))
            pieces.append(shot[start : start + length])
        cuts = set(np.cumsum([len(piece) for piece in pieces])[:-1].tolist())
        changes = measure_changes(np.concatenate(pieces))
        detected = {*find_cuts(changes.score, recipe.cuts), *find_static_cuts(changes.change, recipe.static_cuts)}
        found["made"] += len(cuts)
        found["found"] += len(cuts & detected)
        found["false"] += len(detected - cuts)
    return found


def blended(before: np.ndarray, after: np.ndarray, blend: int) -> np.ndarray:
    """Two shots of which the last and the first `blend` frames are dissolved into each other."""
    share = ((np.arange(blend) + 1) / (blend + 1))[:, None, None, None]
    mixed = before[len(before) - blend :] * (1 - share) + after[:blend] * share
    return np.concatenate([before[: len(before) - blend], mixed.round().astype(np.uint8), after[blend:]])


def measure_transitions(
    shots: list[np.ndarray], count: int, through_black: bool, recipe: CurationRecipe, rng: np.random.Generator
) -> dict[str, int]:
    """Transitions made, found, and found where there is none. A fade through black is two transitions."""
    found = {"made": 0, "found": 0, "false": 0}
    for _ in range(count):
        blend = round(rng.uniform(*BLEND_S) * recipe.fps)
        least = blend + round(STRETCH_S[0] * recipe.fps)
        long = [shot for shot in shots if len(shot) >= least]
        before, after = (long[int(index)] for index in rng.choice(len(long), 2, replace=False))
        first, second = (int(rng.integers(len(shot) - least + 1)) for shot in (before, after))
        before, after = before[first : first + least], after[second : second + least]
        if through_black:
            black = np.zeros_like(before[: blend + 2])
            frames = np.concatenate([blended(before, black, blend), blended(black, after, blend)])
            half = least + 2
            made = [(least - blend, least), (half + 2, half + 2 + blend)]
        else:
            frames, made = blended(before, after, blend), [(least - blend, least)]
        detected = find_transitions(brightness_cells(frames), recipe.transitions, recipe.fps, recipe.stills.plain_std)
        hits = [span for span in detected if any(_overlap(span, other) > 0.5 for other in made)]
        found["made"] += len(made)
        found["found"] += sum(any(_overlap(span, other) > 0.5 for span in detected) for other in made)
        found["false"] += len(detected) - len(hits)
    return found


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> float:
    """Intersection over union of two spans of frames."""
    shared = max(0, min(one[1], other[1]) - max(one[0], other[0]))
    return shared / (one[1] - one[0] + other[1] - other[0] - shared)


def changed_copies(video: VideoClips, folder: Path) -> dict[str, Path]:
    """Changed copies of a video, by the name of the change."""
    clip = video.clips[0]
    count = min(clip.frames, int(MAX_S * clip.fps))
    frames = read_frames(video.path, times_s=np.arange(count) / clip.fps, size=144, timing=clip.timing)
    middle = frames[count // 5 : count - count // 5]
    half = frames[:, ::2, ::2]
    copies = {
        "half the size": half,
        "darker": (frames * 0.7).astype(np.uint8),
        "the middle 60 %": middle,
        "all of these": (middle[:, ::2, ::2] * 0.7).astype(np.uint8),
    }
    written: dict[str, Path] = {}
    for name, content in copies.items():
        written[name] = folder / f"{Path(video.path).stem}-{len(written)}.mp4"
        write_video(written[name], content, clip.fps)
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--sequences", type=whole_number(1), default=200)
    args = parser.parse_args()
    recipe, rng = CurationRecipe(), np.random.default_rng(0)
    items = [item for item in SOURCES["folder"](args.folder.absolute(), SkippedFiles()) if item.problem is None]
    videos = [video for item in items if (video := video_clips(Path(item.path))) is not None]
    by_video = {video.path: read_shots(video, recipe, recipe.size_px) for video in videos}
    for name, pools in {
        "of any videos": [[shot for shots in by_video.values() for shot in shots]],
        "of one video": [shots for shots in by_video.values() if sum(map(len, shots)) > 2 * STRETCH_S[1] * recipe.fps],
    }.items():
        each = [measure_cuts(pool, max(1, args.sequences // len(pools)), recipe, rng) for pool in pools if pool]
        sums = {key: sum(found[key] for found in each) for key in ("made", "found", "false")}
        print(f"cuts between stretches {name}: {sums['found']} of {sums['made']} found, {sums['false']} false")
    everything = [shot for shots in by_video.values() for shot in shots]
    for name, through_black in (("dissolves", False), ("fades from and to black", True)):
        sums = measure_transitions(everything, args.sequences, through_black, recipe, rng)
        print(f"{name}: {sums['found']} of {sums['made']} found, {sums['false']} false")
    hashes = {video.path: [int(value, 16) for value in analysed(video, recipe).hashes] for video in videos}
    hits: dict[str, list[bool]] = {}
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for video in videos:
            for name, path in changed_copies(video, Path(folder)).items():
                copy = video_clips(path)
                own = [int(value, 16) for value in analysed(copy, recipe).hashes] if copy is not None else []
                share = {other: match_share(own, theirs, recipe.duplicates.max_bits) for other, theirs in hashes.items()}
                hits.setdefault(name, []).append(share[video.path] >= recipe.duplicates.min_match)
                wrong += sum(share[other] >= recipe.duplicates.min_match for other in share if other != video.path)
    for name, found in hits.items():
        print(f"copies, {name}: {sum(found)} of {len(found)} found")
    print(f"other videos taken for copies: {wrong} of {sum(map(len, hits.values())) * (len(videos) - 1)} pairs")


if __name__ == "__main__":
    main()
