"""Where is information about a property lost: in the latents, or in the forecasts?

    python -m benchmarks.latents_to_forecasts --model runs/demo --suite data/mini [--properties shape,colour]

A spliced quadruplet has two possible videos whose contexts end in the same fully occluded frames. Let d be the difference of
the two videos' target latents, e the difference of their forecasts, and r the error of a forecast. Squares and products are
sums over tokens and features, and means over latent steps and locked windows. Columns of the table:

encoded: d^2 / r^2. Do the latents differ at all, compared with the mean squared forecast error?
forecast: e.d / d^2. The fraction of the difference that is forecast: 1 for all of it, 0 for a model that copies.
positive: the fraction of quadruplets with e.d > 0. In these the two impossible videos together surprise more, by squared error.
pairs: the percentage of correct pairs among the four of each quadruplet, by squared error.

The property `shape` is listed by the two shapes.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from data_prep.progress import bar
from eval.intervals import bootstrap_mean, bootstrap_of_sums
from eval.probes.ground_truth import read_ground_truth
from eval.subject import open_subject
from eval.voe.pairs import QUADRUPLET, quadruplet_scores
from eval.voe.suites import open_suite
from eval.voe.surprise.forecasting import predict_windows
from eval.voe.surprise.windows import widest_plan
from eval.voe.trials import Trial, read_video
from worldmodel.manifest import Clip, Manifest
from worldmodel.models.world_model import WorldModel


class TrialSums(NamedTuple):
    """Sums over the locked windows of one trial, with the names of the module docstring."""

    d_d: float
    e_d: float
    r_r: float  # mean of the two videos
    correct_pairs: float  # fraction


def trial_sums(model: WorldModel, trial: Trial) -> TrialSums | None:
    """Compute the sums of a trial; None if no context of the model ends in full occlusion."""
    assert trial.locked_cuts is not None
    frames = np.stack([read_video(video, model.fps, model.size_px) for video in trial.videos[:2]])
    windows = widest_plan(model).locked(trial.locked_cuts, trial.videos[0].fps, frames.shape[1])
    if not windows:
        return None
    sums, surprise = np.zeros(3), np.zeros((1, len(QUADRUPLET)))
    for prediction in predict_windows(model, torch.from_numpy(frames), windows):
        latents = (prediction.forecasts["model"], prediction.target)
        forecast, target = (it.double().flatten(1).numpy() for it in latents)
        d, e, r = target[0] - target[1], forecast[0] - forecast[1], forecast - target
        sums += np.array([d @ d, e @ d, np.square(r).sum() / 2]) / prediction.window.steps
        errors = [forecast["ab".index(context)] - target["uv".index(outcome)] for context, outcome in QUADRUPLET]
        surprise += np.square(errors).sum(1) / prediction.window.steps
    d_d, e_d, r_r = sums.tolist()
    return TrialSums(d_d, e_d, r_r, float(quadruplet_scores(surprise)[0]))


def row_name(trial: Trial, clips: Mapping[str, Clip]) -> str:
    """The property of a trial, for `shape` with the two shapes."""
    if trial.property != "shape":
        return trial.property
    truths = [read_ground_truth(clips[video.video_id]) for video in trial.videos[:2]]
    return "shape: " + ", ".join(sorted({str(truth.shape[truth.body]) for truth in truths if truth.body is not None}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, metavar="SPEC", help="RUN folder, hf:FOLDER or untrained:RECIPE.yaml")
    parser.add_argument("--suite", required=True, type=Path, metavar="DIR", help="folder of `data_prep synthesize --suite`")
    parser.add_argument("--properties", metavar="A,B", help="default: all that are spliced and occluded")
    args = parser.parse_args()
    model = open_subject(args.model, torch.device("cpu")).model
    if model is None:
        parser.error(f"{args.model} has no latents; give a world model")
    selected = args.properties.split(",") if args.properties else None
    trials = [
        trial
        for trial in open_suite(f"builtin:{args.suite}").trials
        if trial.split == "test" and trial.spliced and trial.locked_cuts and (selected is None or trial.property in selected)
    ]
    manifest = Manifest.open(args.suite / "suite.parquet")
    clips = {clip.clip_id: clip for clip in map(manifest.clip, range(len(manifest)))}
    rows: dict[str, list[TrialSums]] = defaultdict(list)
    with bar("quadruplets", len(trials)) as progress:
        for trial in trials:
            if (sums := trial_sums(model, trial)) is not None:
                rows[row_name(trial, clips)].append(sums)
            progress.step()
    print("| property | n | encoded | forecast | positive | pairs |\n| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, trials_sums in rows.items():
        table = np.array(trials_sums)  # [trials, 4]
        encoded, forecast = (
            bootstrap_of_sums(table[:, columns], lambda total: total[..., 0] / total[..., 1]) for columns in ([0, 2], [1, 0])
        )
        ratios = (f"{value:.2f} [{low:.2f}, {high:.2f}]" for value, low, high in (encoded, forecast))
        value, low, high = bootstrap_mean([100 * table[:, 3]])
        pairs = f"{value:.1f} [{low:.1f}, {high:.1f}]"
        print(f"| {name} | {len(table)} | {' | '.join(ratios)} | {(table[:, 1] > 0).mean():.2f} | {pairs} |")


if __name__ == "__main__":
    main()
