"""Where does a property get lost? How much of what differs between two films do latents show, and forecasts carry?

    python benchmarks/carried.py --model runs/demo --suite films/mini [--properties shape,colour]

A spliced quadruplet has two lawful films, whose contexts end in the same hidden picture. d: how latents of what came
differ between the two, e: how the forecasts do, r: the error of a forecast; sums over places, means over latent steps and
locked windows. Shown (d^2 / r^2): is what differs in the latents at all, beside the usual error? Carried (e.d / d^2):
which share of it is forecast, 1 for all, 0 for what copies. Remembered: the share of quadruplets with e.d > 0, whose two
impossible films together surprise more by squared distance. Pairs: the share of their four pairs that are right by it, in
percent. `shape` is divided by which two shapes they are.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from data_prep.progress import bar
from eval.intervals import bootstrap_mean, bootstrap_of_sums
from eval.probes.ground_truth import read_truth
from eval.subject import open_subject
from eval.voe.pairs import FILMS, quadruplet_scores
from eval.voe.suites import open_suite
from eval.voe.surprise.forecasting import outlooks
from eval.voe.surprise.windows import widest
from eval.voe.trials import Trial, read_film
from worldmodel.manifest import Clip, Manifest
from worldmodel.models.world_model import WorldModel


def sums(model: WorldModel, trial: Trial) -> tuple[float, float, float, float] | None:
    """(d^2, e.d, mean r^2, share of pairs right) of a trial; None where no context of the model's ends in full occlusion."""
    assert trial.locked is not None
    films = np.stack([read_film(film, model.fps, model.size_px) for film in trial.films[:2]])
    windows = widest(model).locked(trial.locked, trial.films[0].fps, films.shape[1])
    found, surprise = np.zeros(3), np.zeros((1, len(FILMS)))
    for outlook in outlooks(model, torch.from_numpy(films), windows):
        forecast, target = (it.double().flatten(1).numpy() for it in (outlook.forecasts["model"], outlook.target))
        d, e, r = target[0] - target[1], forecast[0] - forecast[1], forecast - target
        found += np.array([d @ d, e @ d, np.square(r).sum() / 2]) / outlook.window.steps
        errors = [forecast["ab".index(context)] - target["uv".index(outcome)] for context, outcome in FILMS]
        surprise += np.square(errors).sum(1) / outlook.window.steps
    return (*found.tolist(), float(quadruplet_scores(surprise)[0])) if windows else None


def name_of(trial: Trial, clips: Mapping[str, Clip]) -> str:
    if trial.property != "shape":
        return trial.property
    truths = [read_truth(clips[film.film_id]) for film in trial.films[:2]]
    return "shape: " + ", ".join(sorted({str(truth.shape[truth.body]) for truth in truths if truth.body is not None}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, metavar="SPEC", help="RUN folder, hf:FOLDER or untrained:RECIPE.yaml")
    parser.add_argument("--suite", required=True, type=Path, metavar="DIR", help="films of `data_prep synthesize --suite`")
    parser.add_argument("--properties", metavar="A,B", help="default: all that are spliced and occluded")
    args = parser.parse_args()
    model = open_subject(args.model, torch.device("cpu")).model
    if model is None:
        parser.error(f"{args.model} has no latents")
    only = args.properties.split(",") if args.properties else None
    trials = [
        trial
        for trial in open_suite(f"builtin:{args.suite}").trials
        if trial.split == "test" and trial.spliced and trial.locked and (only is None or trial.property in only)
    ]
    manifest = Manifest.open(args.suite / "suite.parquet")
    clips = {clip.clip_id: clip for clip in map(manifest.clip, range(len(manifest)))}
    found: dict[str, list[tuple[float, float, float, float]]] = defaultdict(list)
    with bar("quadruplets", len(trials)) as progress:
        for trial in trials:
            if (of_trial := sums(model, trial)) is not None:
                found[name_of(trial, clips)].append(of_trial)
            progress.step()
    print("| property | n | shown | carried | remembered | pairs |\n| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, rows in found.items():
        table = np.array(rows)
        shown, carried = (
            bootstrap_of_sums(table[:, places], lambda total: total[..., 0] / total[..., 1]) for places in ([0, 2], [1, 0])
        )
        intervals = (f"{value:.2f} [{low:.2f}, {high:.2f}]" for value, low, high in (shown, carried))
        value, low, high = bootstrap_mean([100 * table[:, 3]])
        right = f"{value:.1f} [{low:.1f}, {high:.1f}]"
        print(f"| {name} | {len(table)} | {' | '.join(intervals)} | {(table[:, 1] > 0).mean():.2f} | {right} |")


if __name__ == "__main__":
    main()
