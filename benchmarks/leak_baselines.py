"""Do the quadruplets leak their labels? Scores baselines that forecast nothing on many spliced quadruplets per property.

    python -m benchmarks.leak_baselines --quadruplets 400 --workers 2 --out baselines.json

Videos are rendered in memory and scored at once. A cell of the table is the mean over quadruplets of the fraction of correct
pairs among the four of each; the chance level is 50 %. Cells of proven baselines must be exactly 50. The others must lie
within 5 points of 50, and none may differ from it after Holm's correction. An oracle must reach 100.

In the dynamics world there is one more baseline: bodies keep the velocity of the last two seen frames. It reads the ground
truth, and must be at 50 because every property has hidden times after which it is right and others after which it is wrong.
Where the number of templates does not divide the number of quadruplets, the last, incomplete turn may move it off 50.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ttest_1samp

from data_prep.physics.generation import limit_threads
from data_prep.physics.job_plan import QuadrupletJob, SuiteSize, suite_jobs
from data_prep.physics.keyed_random import KeyedRandom
from data_prep.physics.video_format import VideoFormat
from data_prep.physics.worlds import WORLDS
from data_prep.pool import Failed, run_each
from data_prep.progress import bar
from eval.intervals import holm
from eval.voe.leak_baselines import (
    WHOLE_VIDEO,
    FrameClassifier,
    frame_features,
    l1_context_copy,
    l1_context_extrapolation,
    last_velocity_kept,
    prefix_only,
    suffix_only,
)
from eval.voe.oracle import count_violations
from eval.voe.pairs import QUADRUPLET, quadruplet_scores
from worldmodel.files.atomic import write_text
from worldmodel.files.outputs import output_file
from worldmodel.process.arguments import whole_number

PROVEN = (
    "prefix only",
    "suffix only",
    "each frame alone",
    "pixel copy, locked",
    "pixel extrapolation, locked",
    "frame classifier",
    "last velocity kept, at the reveal",
)
UNIFORM = ("delay", "queue")
"""Properties of the dynamics world in which bodies do keep their velocity."""
ORACLE = "oracle that reads the ground truth"
TRAINING_FRAMES = 4  # frames per video that train the classifier; with all frames, the labels of equal frames would cancel
FOLDS = 5
MAX_POINTS_OFF = 5.0  # allowed difference of an unproven baseline from 50 %
ALPHA = 0.05


@dataclass(frozen=True)
class Quadruplet:
    """Scores of one quadruplet's four videos, and what the frame classifier needs of them."""

    copy_class: str
    scores: dict[str, list[float]]  # baseline -> surprise of each video
    features: NDArray[np.float64]  # [4, T, F] of every frame
    training_frames: NDArray[np.int64]  # [4, TRAINING_FRAMES]


class Cell(TypedDict):
    """One property and one baseline."""

    percent: float
    p: float  # of a t-test against 50 %
    n: int
    by_copy_class: dict[str, float]


def score_quadruplet(job: QuadrupletJob, video_format: VideoFormat) -> Quadruplet:
    """Render one quadruplet and score its four videos by every baseline."""
    world = WORLDS[job.world]
    property_ = world.property(job.property)
    quadruplet = world.sample_quadruplet(property_, property_.templates[job.template], video_format, job.level, *job.key())
    videos = [quadruplet.videos[pair].frames for pair in QUADRUPLET]
    splice = quadruplet.splice
    assert splice is not None
    scores = {name: [score(frames) for frames in videos] for name, score in WHOLE_VIDEO.items()}
    scores["prefix only"] = [prefix_only(frames, splice) for frames in videos]
    scores["suffix only"] = [suffix_only(frames, splice) for frames in videos]
    scores["pixel copy, locked"] = [l1_context_copy(frames, splice) for frames in videos]
    # the last two frames of the context must both be occluded, or the line through them shows where objects came from
    cut = max(splice, quadruplet.occlusion[0] + 2) if quadruplet.occlusion else splice
    scores["pixel extrapolation, locked"] = [l1_context_extrapolation(frames, cut) for frames in videos]
    truths = [quadruplet.videos[pair].ground_truth() for pair in QUADRUPLET]
    if job.world == "dynamics" and job.property not in UNIFORM:
        assert quadruplet.occlusion is not None
        for name, frames in (("at the reveal", 1), ("to the end", None)):
            scores[f"last velocity kept, {name}"] = [last_velocity_kept(it, quadruplet.occlusion, frames) for it in truths]
    scores[ORACLE] = [float(count_violations(truth, video_format.fps)) for truth in truths]
    features = np.stack([frame_features(frames) for frames in videos])
    # "taught" seeds the random numbers: it must not change
    rng = KeyedRandom(*job.key(), "taught").geometry
    training_frames = rng.integers(video_format.frames, size=(len(QUADRUPLET), TRAINING_FRAMES))
    return Quadruplet(quadruplet.copy_class, scores, features, training_frames)


def classify_frames(quadruplets: list[Quadruplet]) -> NDArray[np.float64]:
    """Surprise [Q, 4] by frame classifiers, each trained on the other folds of the quadruplets."""
    surprise = np.zeros((len(quadruplets), 4))
    fold = np.arange(len(quadruplets)) % FOLDS
    for held_out in range(FOLDS):
        training = [it for it, its_fold in zip(quadruplets, fold, strict=True) if its_fold != held_out]
        rows = np.concatenate([it.features[video][it.training_frames[video]] for it in training for video in range(4)])
        labels = np.tile(np.repeat([False, False, True, True], TRAINING_FRAMES), len(training))
        model = FrameClassifier.fit(rows, labels)
        for index in np.nonzero(fold == held_out)[0]:
            surprise[index] = [model.surprise(quadruplets[index].features[video]) for video in range(4)]
    return surprise


def summarise(quadruplets: list[Quadruplet]) -> dict[str, Cell]:
    """Per baseline: the mean in percent, its p-value against 50 %, and means by copy class."""
    surprise = {name: np.array([it.scores[name] for it in quadruplets]) for name in quadruplets[0].scores}
    surprise["frame classifier"] = classify_frames(quadruplets)
    classes = np.array([it.copy_class for it in quadruplets])
    table: dict[str, Cell] = {}
    for name, values in surprise.items():
        scores = quadruplet_scores(values)
        p = 1.0 if np.ptp(scores) == 0 else float(ttest_1samp(scores, 0.5).pvalue)
        by_class = {str(c): round(100 * float(scores[classes == c].mean()), 1) for c in np.unique(classes)}
        table[name] = {"percent": 100 * float(scores.mean()), "p": p, "n": len(scores), "by_copy_class": by_class}
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quadruplets", type=whole_number(1), default=400, help="per property")
    parser.add_argument("--world", choices=WORLDS, default="builtin")
    parser.add_argument("--properties", metavar="A,B", help="use only some of the properties of the world")
    parser.add_argument("--workers", type=whole_number(1), default=2)
    parser.add_argument("--seed", type=whole_number(0), default=1)
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    args = parser.parse_args()
    limit_threads()
    video_format = VideoFormat()
    if (duration_s := WORLDS[args.world].duration_s) is not None:
        video_format = replace(video_format, frames=round(duration_s * video_format.fps))
    size = SuiteSize(args.quadruplets, 0, 0, 0, (1, 2), video_format.size_px, video_format.frames, 0)
    tables: dict[str, dict[str, Cell]] = {}
    names = [property_.name for property_ in WORLDS[args.world].properties]
    for name in [it for it in names if args.properties is None or it in args.properties.split(",")]:
        quadruplets = []
        jobs = suite_jobs(size, (name,), args.seed, args.world)
        with bar(name, args.quadruplets) as progress:
            for job, result in run_each(partial(score_quadruplet, video_format=video_format), jobs, args.workers, 600.0):
                if isinstance(result, Failed):
                    raise SystemExit(f"{job}: {result.detail}")
                quadruplets.append(result)
                progress.step()
        tables[name] = summarise(quadruplets)
        with output_file(args.out):
            write_text(args.out, json.dumps(tables, indent=1) + "\n")
    show(tables)


def show(tables: dict[str, dict[str, Cell]]) -> None:
    """Print the table as Markdown, and the cells that show a leak."""
    tested = {
        f"{name}, {scorer}": cell["p"]
        for name, table in tables.items()
        for scorer, cell in table.items()
        if scorer not in (*PROVEN, ORACLE)
    }
    adjusted = holm(tested)
    print("| scorer | " + " | ".join(tables) + " |\n|---|" + "---|" * len(tables))
    for scorer in dict.fromkeys(scorer for table in tables.values() for scorer in table):
        row = [f"{table[scorer]['percent']:.1f}" if scorer in table else "-" for table in tables.values()]
        print(f"| {scorer}{' (proven)' if scorer in PROVEN else ''} | " + " | ".join(row) + " |")
    for name, table in tables.items():
        for scorer, cell in table.items():
            off = abs(cell["percent"] - (100 if scorer == ORACLE else 50))
            p = adjusted.get(f"{name}, {scorer}", 1.0)
            if (scorer in PROVEN and off > 0) or off > MAX_POINTS_OFF or p < ALPHA:
                print(f"LEAK: {name}, {scorer}: {cell['percent']:.2f} (adjusted p {p:.3g})")


if __name__ == "__main__":
    main()
