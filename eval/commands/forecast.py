"""Forecast errors and forecast skill by horizon, of open-loop and direct forecasts, with baselines.

    python -m eval forecast --model RUN --data MANIFEST --out OUT

The context of each video is encoded, and the rest is forecast from it: in one step as far as the
model reaches (direct), and with predictions fed back (open loop). Baselines: the last latent for
all horizons (copy last), the straight line through the last two latents (linear extrapolation), and
the mean latent of other videos at the same time (mean). Latents that change fast can raise the
skill of latents. Where videos have a ground truth, a probe of position therefore also gives the
error in pixels. OUT gets forecast.json, forecast.csv, forecast.md and forecast.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from eval.errors import EvalError
from eval.forecasts.figure import forecast_figure
from eval.forecasts.forecast_errors import (
    COPY_LAST,
    DIRECT,
    LAST_SEEN,
    LINEAR,
    MEAN,
    OPEN_LOOP,
    TARGET,
    latent_errors,
    make_forecasts,
    position_errors,
)
from eval.forecasts.results import ForecastResults
from eval.forecasts.skill import mean_error, skills
from eval.forecasts.tables import write_tables
from eval.precision import add_precision_argument
from eval.probes.clips import choose_clips, equally_long, open_possible
from eval.probes.constant_velocity import CONSTANT_VELOCITY, MIN_VISIBLE_STEPS
from eval.probes.dataset import MODEL, networks, shortest_context, with_ground_truth
from eval.provenance import provenance, provenance_caption
from eval.result_folder import check_same_model, result_folder
from eval.subject import Subject, open_subject
from worldmodel.files.atomic import write_json
from worldmodel.models.world_model import direct_horizon
from worldmodel.process.arguments import positive_number, whole_number
from worldmodel.process.devices import add_device_argument
from worldmodel.process.terminal import print_escaped
from worldmodel.render import save_figure

HELP = "forecast errors and forecast skill by horizon"
WRITTEN = ("forecast.json", "forecast.csv", "forecast.md", "forecast.png")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, metavar="SPEC", help="RUN folder, hf:FOLDER or untrained:RECIPE.yaml")
    parser.add_argument(
        "--data", required=True, metavar="MANIFEST", help="possible videos; with ground truth for errors of the position"
    )
    parser.add_argument("--out", required=True, type=Path, help="folder for numbers, tables and figure")
    parser.add_argument("--split", default="val", help="split of the manifest (default val)")
    parser.add_argument("--max-videos", type=whole_number(1), metavar="N", help="use N videos at most, a random sample")
    parser.add_argument(
        "--context-s",
        type=positive_number("seconds"),
        help="length of the context (default: a third of the window, >= 3 steps)",
    )
    parser.add_argument("--folds", type=whole_number(2), default=5, help="folds of cross-validation for the probe (default 5)")
    add_device_argument(parser)
    add_precision_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Raises EvalError and other user-facing errors if the model or the videos are unsuitable."""
    device = torch.device(args.device)
    subject = open_subject(args.model, device, args.precision)
    with result_folder(args.out, WRITTEN, "forecast.json"):
        check_same_model(args.out / "forecast.json", subject.hash, args.data, args.split, subject.precision)
        return forecast(args, subject, device)


def forecast(args: argparse.Namespace, subject: Subject, device: torch.device) -> int:
    """Compute errors and write the results into OUT, whose lock is held."""
    model = networks(subject, device)[MODEL]
    f, step_s = model.tubelet_size, model.tubelet_size / model.fps
    context_steps = shortest_context(model, args.context_s)
    chosen = choose_clips(open_possible(args.data), args.split, args.max_videos)
    clips, steps = equally_long(chosen, model, context_steps + 1)
    if len(clips) < 2:
        raise EvalError(f"{args.data}: {len(clips)} {args.split} video(s), but intervals over videos need at least 2")
    forecasts = make_forecasts(model, clips, context_steps, steps, device)
    errors = latent_errors(model, forecasts)
    notes = [] if len(clips) == len(chosen) else [f"{len(chosen) - len(clips)} shorter videos are left out."]
    if steps - context_steps > (reach := direct_horizon(model, context_steps * f)):
        notes.append(f"Direct forecasts end at {reach * step_s:.3g} s, which is as far as the model forecasts directly.")
    found: ForecastResults = {
        "made": provenance(subject),
        "target_scope": model.target_scope,
        "data": {
            "manifest": args.data,
            "split": args.split,
            "videos": len(clips),
            "context_s": context_steps * step_s,
            "video_s": steps * step_s,
        },
        "horizons_s": [(k + 1) * step_s for k in range(steps - context_steps)],
        "error": {name: mean_error(values) for name, values in errors.items()},
        "skill": skills(errors, (OPEN_LOOP, DIRECT), (COPY_LAST, LINEAR, MEAN)),
    }
    if any(clip.truth is not None for clip in clips):
        data = with_ground_truth(clips, steps, model, args.folds)
        positions = position_errors(data, forecasts, context_steps, device)
        if np.isfinite(positions[TARGET]).any():
            baselines = (COPY_LAST, LAST_SEEN, CONSTANT_VELOCITY, MEAN)
            found["position_px"] = {name: mean_error(values) for name, values in positions.items()}
            found["position_skill"] = skills(positions, (OPEN_LOOP, DIRECT), baselines)
        else:
            notes.append(f"No errors of position: no body is visible at {MIN_VISIBLE_STEPS} steps of the context and after it.")
    else:
        notes.append("No errors of position: the videos have no ground truth.")
    found["notes"] = notes
    write_json(args.out / "forecast.json", found)
    write_tables(args.out, found)
    save_figure(forecast_figure(found, caption(found)), args.out / "forecast.png")
    print_escaped((args.out / "forecast.md").read_text(encoding="utf-8"))
    return 0


def caption(found: ForecastResults) -> str:
    data = found["data"]
    return (
        f"{data['videos']} {data['split']} videos of {data['manifest']}, context {data['context_s']:.2g} s; bands: 95 % over "
        f"videos. {provenance_caption(found['made'])}"
    )
