"""Do the quadruplets leak? Blind scorers on many spliced quadruplets a property, against 50 %.

    python benchmarks/blind_table.py --quadruplets 400 --workers 2 --out blind.json

Films are made in memory and scored at once. A cell is the mean over quadruplets of the four pairs of each. Proven cells
must be 50 exactly; the others must lie within 5 points of 50, and none may differ from it after Holm's correction. The
last row is an oracle's, which must be 100.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path

import numpy as np
from scipy.stats import ttest_1samp

from data_prep.physics.generation import single_threaded
from data_prep.physics.keyed_random import Dice
from data_prep.physics.quadruplets import draw_quadruplet
from data_prep.physics.scenes import Format
from data_prep.physics.suite import BY_NAME, PROPERTIES, QuadrupletJob, Size, suite_jobs
from data_prep.pool import Failed, run_each
from data_prep.progress import bar
from eval.voe.baselines import BLIND, FrameClassifier, frame_features, pixel_copy, pixel_extrapolation, prefix_only, suffix_only
from eval.voe.oracle import count_violations
from eval.voe.pairs import FILMS, quadruplet_scores
from worldmodel.process.arguments import count

PROVEN = (
    "prefix only",
    "suffix only",
    "each frame alone",
    "pixel copy, locked",
    "pixel extrapolation, locked",
    "frame classifier",
)
ORACLE = "oracle that reads the truth"
FRAMES_TAUGHT = 4  # a film, so that their labels do not cancel as those of all frames would


def measure(job: QuadrupletJob, film: Format) -> dict:
    """One quadruplet: each blind scorer's surprise of its four films, and features of their frames for the classifier."""
    property_ = BY_NAME[job.property]
    made = draw_quadruplet(property_, property_.templates[job.template], film, job.level, *job.key())
    films = [made.films[pair].frames for pair in FILMS]
    assert made.splice is not None
    scores = {name: [score(frames) for frames in films] for name, score in BLIND.items()}
    scores["prefix only"] = [prefix_only(frames, made.splice) for frames in films]
    scores["suffix only"] = [suffix_only(frames, made.splice) for frames in films]
    scores["pixel copy, locked"] = [pixel_copy(frames, made.splice) for frames in films]
    # its last two frames must both be hidden, or the line it draws knows where things came from
    late = max(made.splice, made.occlusion[0] + 2) if made.occlusion else made.splice
    scores["pixel extrapolation, locked"] = [pixel_extrapolation(frames, late) for frames in films]
    scores[ORACLE] = [float(count_violations(made.films[pair].truth(), film.fps)) for pair in FILMS]
    features = np.stack([frame_features(frames) for frames in films])
    chosen = Dice(*job.key(), "taught").geometry.integers(film.frames, size=(4, FRAMES_TAUGHT))
    return {"job": job, "copy_class": made.copy_class, "scores": scores, "features": features, "chosen": chosen}


def classify(quads: list[dict]) -> np.ndarray:
    """Surprise [Q, 4] by classifiers each taught on the other four fifths of the quadruplets."""
    surprise = np.zeros((len(quads), 4))
    fold = np.arange(len(quads)) % 5
    for held_out in range(5):
        taught = [quad for quad, its in zip(quads, fold, strict=True) if its != held_out]
        rows = np.concatenate([quad["features"][f][quad["chosen"][f]] for quad in taught for f in range(4)])
        labels = np.tile(np.repeat([False, False, True, True], FRAMES_TAUGHT), len(taught))
        model = FrameClassifier.fit(rows, labels)
        for index in np.nonzero(fold == held_out)[0]:
            surprise[index] = [model.surprise(quads[index]["features"][f]) for f in range(4)]
    return surprise


def summarise(quads: list[dict]) -> dict[str, dict]:
    """Per scorer: the mean in percent, its p-value against 50, and means by copy class."""
    surprise = {name: np.array([quad["scores"][name] for quad in quads]) for name in quads[0]["scores"]}
    surprise["frame classifier"] = classify(quads)
    classes = np.array([quad["copy_class"] for quad in quads])
    table = {}
    for name, values in surprise.items():
        scores = quadruplet_scores(values)
        p = 1.0 if np.ptp(scores) == 0 else float(ttest_1samp(scores, 0.5).pvalue)
        by_class = {str(c): round(100 * float(scores[classes == c].mean()), 1) for c in np.unique(classes)}
        table[name] = {"percent": 100 * float(scores.mean()), "p": p, "n": len(scores), "by_copy_class": by_class}
    return table


def holm(p_values: list[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given."""
    order = np.argsort(p_values)
    adjusted, worst = np.ones(len(p_values)), 0.0
    for place, index in enumerate(order):
        worst = max(worst, (len(p_values) - place) * p_values[index])
        adjusted[index] = min(1.0, worst)
    return [float(p) for p in adjusted]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quadruplets", type=count(1), default=400)
    parser.add_argument("--properties", default=",".join(BY_NAME))
    parser.add_argument("--workers", type=count(1), default=2)
    parser.add_argument("--seed", type=count(0), default=1)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    single_threaded()
    film, tables = Format(), {}
    size = Size(args.quadruplets, 0, 0, 0, (1, 2), film.size_px, film.frames, 0)
    chosen = [property_ for property_ in PROPERTIES if property_.name in args.properties.split(",")]
    for property_ in chosen:
        quads = []
        with bar(property_.name, args.quadruplets) as progress:
            for job, quad in run_each(
                partial(measure, film=film), suite_jobs(size, (property_,), args.seed), args.workers, 600.0
            ):
                if isinstance(quad, Failed):
                    raise SystemExit(f"{job}: {quad.detail}")
                quads.append(quad)
                progress.step()
        tables[property_.name] = summarise(quads)
        args.out.write_text(json.dumps(tables, indent=1) + "\n")
    show(tables)


def show(tables: dict[str, dict[str, dict]]) -> None:
    """The table as Markdown, and what fails."""
    cells = [(name, scorer) for name, table in tables.items() for scorer in table if scorer not in (*PROVEN, ORACLE)]
    adjusted = dict(zip(cells, holm([tables[name][scorer]["p"] for name, scorer in cells]), strict=True))
    print("| scorer | " + " | ".join(tables) + " |\n|---|" + "---|" * len(tables))
    for scorer in next(iter(tables.values())):
        row = [f"{tables[name][scorer]['percent']:.1f}" for name in tables]
        print(f"| {scorer}{' (proven)' if scorer in PROVEN else ''} | " + " | ".join(row) + " |")
    for name, table in tables.items():
        for scorer, cell in table.items():
            off = abs(cell["percent"] - (100 if scorer == ORACLE else 50))
            if (scorer in PROVEN and off > 0) or off > 5 or adjusted.get((name, scorer), 1.0) < 0.05:
                print(f"LEAK: {name}, {scorer}: {cell['percent']:.2f} (adjusted p {adjusted.get((name, scorer), 1.0):.3g})")


if __name__ == "__main__":
    main()
