"""Pairs of several models on the same quadruplets of several worlds, with intervals and paired differences.

    python -m benchmarks.transfer_scores OUT --models plain=runs/demo painted=runs/transfer \
        --suites flat=data/flat lookaway=data/lookaway builtin=data/mini

A model is a run folder or what benchmarks.transfer_training wrote. Of folders that are separated by commas, the weights are
averaged; of models that are joined by +, the surprises are added. Pairs are scored by adjusted surprise in at most three locked
windows (benchmarks/locked_pairs.py). The table shows the percent of pairs right [95 % interval over quadruplets], and in round
brackets the percent of quadruplets whose impossible videos have the larger sum; chance is 50 for both. Differences are those to
the first model, over the same quadruplets. OUT/NAME.json holds the values of all quadruplets of a model. The same command again
reads them, and scores the models that are missing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.locked_pairs import LockedPairs, calibration_videos, in_calibration_windows, read_quadruplets
from benchmarks.measure import describe_machine, markdown_table
from benchmarks.transfer_training import open_trained
from eval.intervals import bootstrap_mean
from eval.voe.pairs import quadruplet_scores
from eval.voe.suites import open_suite
from eval.voe.surprise.windows import WindowOptions, plan_windows
from eval.voe.trials import read_video
from worldmodel.files.atomic import write_json, write_text
from worldmodel.files.outputs import record_outputs
from worldmodel.models import TrainedModel

WHAT_WENT_IN = ("permanence", "continuity", "colour", "shape", "size")
HOW_IT_MOVED = ("direction", "acceleration", "crossing", "impact", "delay", "queue")
PROPERTIES = (*WHAT_WENT_IN, "solidity", "gravity", "support", "inertia", "collision", *HOW_IT_MOVED)
LOCKED_WINDOWS = 3  # of a quadruplet, at most

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """Of the quadruplets of one property in one world."""

    pairs: Values  # fraction of the four pairs that are right [Q]
    sums: Values  # 1 where the impossible videos have the larger sum, 0 where the possible ones have it [Q]

    @classmethod
    def of_surprise(cls, surprise: Values) -> Scores:
        """surprise: [Q, 4] in the order of eval.voe.pairs.QUADRUPLET."""
        difference = surprise[:, 2:].sum(1) - surprise[:, :2].sum(1)
        return cls(quadruplet_scores(surprise), np.where(np.abs(difference) < 1e-6, 0.5, difference > 0))


ByProperty = dict[str, Scores]


@dataclass(frozen=True)
class Options:
    """How much is scored."""

    properties: Sequence[str]
    quadruplets: int  # per property
    calibration: int  # possible videos
    slope: float | None = None  # of the control variate; None: fitted on them


def score(spec: str, suite: Path, options: Options) -> ByProperty:
    """Score a model in one world. spec: see the top of this module."""
    by_model = [surprises(open_average(part), suite, options) for part in spec.split("+")]
    return {name: Scores.of_surprise(np.sum([it[name] for it in by_model], axis=0)) for name in by_model[0]}


def surprises(model: TrainedModel, suite: Path, options: Options) -> dict[str, Values]:
    """Adjusted surprise [Q, 4] of the quadruplets of each property."""
    opened = open_suite(f"builtin:{suite}")
    assert opened.calibration is not None, f"{suite}: this benchmark needs calibration.parquet"
    plan, size_px = plan_windows(WindowOptions(), model, opened), model.size_px
    plan = replace(plan, horizon=plan.reach)  # sliding windows may reach further
    possible = [
        in_calibration_windows(video, read_video(video, plan.fps, size_px), plan)
        for video in calibration_videos(opened.calibration, options.calibration)
    ]
    fours = read_quadruplets(opened, plan, options.properties, options.quadruplets, LOCKED_WINDOWS, size_px)
    return LockedPairs(plan, possible, fours, options.slope)(model)


def open_average(folders: str) -> TrainedModel:
    """The model of a folder; of several, separated by commas, with the mean of their weights (Wortsman et al. 2022)."""
    models = [open_trained(Path(folder)) for folder in folders.split(",")]
    if len(models) > 1:
        states = [model.state_dict() for model in models]
        models[0].load_state_dict({name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]})
    return models[0].eval()


def cell(scores: Scores) -> str:
    """Percent of pairs with its interval, and of sums."""
    mean, low, high = (100 * value for value in bootstrap_mean([scores.pairs]))
    return f"{mean:.1f} [{low:.1f}, {high:.1f}] ({100 * scores.sums.mean():.0f})"


def difference(ours: Sequence[Values], theirs: Sequence[Values]) -> str:
    """Ours minus theirs over the same quadruplets, in points: mean over properties, with its 95 % interval."""
    mean, low, high = (100 * value for value in bootstrap_mean([a - b for a, b in zip(ours, theirs, strict=True)]))
    return f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"


def tables(found: Mapping[str, Mapping[str, ByProperty]]) -> str:
    """Markdown: a column for each model, a row for each property and the mean of each world; then the differences."""
    names, first = list(found), next(iter(found.values()))
    rows: list[list[object]] = []
    differences: list[list[object]] = []
    for world, by_property in first.items():
        for key in by_property:
            rows.append([world, key, len(by_property[key].pairs), *(cell(found[name][world][key]) for name in names)])
        pairs = {name: [found[name][world][key].pairs for key in by_property] for name in names}
        means = [tuple(100 * value for value in bootstrap_mean(pairs[name])) for name in names]
        count = sum(map(len, pairs[names[0]]))
        rows.append([world, "mean", count, *(f"**{mean:.1f}** [{low:.1f}, {high:.1f}]" for mean, low, high in means)])
        differences.append([world, *(difference(pairs[name], pairs[names[0]]) for name in names[1:])])
    text = markdown_table(["world", "property", "quadruplets", *names], rows)
    if len(names) > 1:
        headers = ["mean of the world, points", *(f"{name} minus {names[0]}" for name in names[1:])]
        text += f"\n\n{markdown_table(headers, differences)}"
    return text


def read_scores(file: Path) -> dict[str, ByProperty]:
    """By world, what `main` wrote for one model."""
    stored = json.loads(file.read_text())["worlds"]
    return {
        world: {name: Scores(np.array(it["pairs"]), np.array(it["sums"])) for name, it in by_property.items()}
        for world, by_property in stored.items()
    }


def write_scores(file: Path, spec: str, by_world: Mapping[str, ByProperty]) -> None:
    """Write what `read_scores` reads."""
    worlds = {
        world: {name: {"pairs": it.pairs.tolist(), "sums": it.sums.tolist()} for name, it in by_property.items()}
        for world, by_property in by_world.items()
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, {"model": spec, "worlds": worlds})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--models", nargs="+", required=True, metavar="NAME=DIR[,DIR][+DIR]")
    parser.add_argument("--suites", nargs="+", required=True, metavar="WORLD=DIR")
    parser.add_argument("--properties", default=",".join(PROPERTIES), help="separated by commas; default: all")
    parser.add_argument("--quadruplets", type=int, default=60, help="per property")
    parser.add_argument("--calibration", type=int, default=100, help="number of possible videos")
    parser.add_argument("--slope", type=float, help="of the control variate, e.g. 1, a likelihood ratio (default: fitted)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    options = Options(args.properties.split(","), args.quadruplets, args.calibration, args.slope)
    suites = {world: Path(folder) for world, folder in (it.split("=", 1) for it in args.suites)}
    models = dict(it.split("=", 1) for it in args.models)
    found = {}
    with record_outputs(args.out, ["results.md", *(f"{name}.json" for name in models)], "give another OUT"):
        for name, spec in models.items():
            file = args.out / f"{name}.json"
            of_model = read_scores(file) if file.exists() else {}
            for world in [it for it in suites if it not in of_model]:
                of_model[world] = score(spec, suites[world], options)
                print(name, world, *(f"{key} {cell(it)}" for key, it in of_model[world].items()), sep="; ", flush=True)
                write_scores(file, spec, of_model)
            found[name] = {world: of_model[world] for world in suites}
        text = f"{describe_machine().line()}\n\n{tables(found)}\n"
        print(text)
        write_text(args.out / "results.md", text)


if __name__ == "__main__":
    main()
