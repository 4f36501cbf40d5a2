"""How far ahead does a model see? Errors by horizon, open loop and direct, against what knows nothing: one card a model.

    python -m eval forecast --model RUN --data MANIFEST --out OUT

Each film is seen for a while (the context) and forecast from there: in one step (direct), as far as the model reaches, and
with predictions fed back (open loop). Beside: the last latent again (copy), on in a straight line from the last two (linear
extrapolation), the mean of other films' latents at the same moment. Latent skill can be bought by features that change
fast: where films have their truth, a probe of position says how many pixels a forecast is off. OUT gets forecast.json,
forecast.csv, forecast.md and the card, forecast.png.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from data_prep.progress import bar
from eval.errors import EvalError
from eval.forecasts.card import card
from eval.forecasts.skill import mean_error, others_mean, skills
from eval.forecasts.tables import write_tables
from eval.probes.clips import alike, choose, open_lawful, read_clips
from eval.probes.evaluation import CONSTANT_VELOCITY, SEEN_STEPS, Question, extrapolate, last_place
from eval.probes.gathering import FILMS_AT_ONCE, MODEL, Films, film_cohort, first_cut, networks
from eval.probes.recordings import Recording, numpy
from eval.probes.targets import PROPERTIES
from eval.provenance import named, provenance
from eval.result_folder import check_same_model, result_folder
from eval.subject import Subject, open_subject
from worldmodel.files.atomic import write_json
from worldmodel.manifest import Clip
from worldmodel.models.world_model import WorldModel, direct_steps, window_frames
from worldmodel.process.arguments import above_zero, count
from worldmodel.process.devices import add_device
from worldmodel.process.terminal import say
from worldmodel.render import save_figure

HELP = "how far ahead does a model see?"
WRITTEN = ("forecast.json", "forecast.csv", "forecast.md", "forecast.png")
OPEN_LOOP, DIRECT = "open loop", "direct"
COPY, LINEAR, MEAN = "copy", "linear extrapolation", "mean"
LAST_PLACE, WHAT_CAME = "last place", "latents of what came"
Latents = dict[str, NDArray[np.float32]]  # by forecaster: [F, K, N, D]; WHAT_CAME is the target


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, metavar="SPEC", help="RUN folder, hf:FOLDER or untrained:RECIPE.yaml")
    parser.add_argument("--data", required=True, metavar="MANIFEST", help="films; with their truth, if position is to be read")
    parser.add_argument("--out", required=True, type=Path, help="folder for numbers and card")
    parser.add_argument("--split", default="val", help="which films (default val)")
    parser.add_argument("--films", type=count(1), metavar="N", help="at most so many, drawn at random (default: all)")
    parser.add_argument(
        "--context-s", type=above_zero("seconds"), help="how much is seen (default: a third of the window, >= 3 steps)"
    )
    parser.add_argument("--folds", type=count(2), default=5, help="parts that films are divided into for the probe (default 5)")
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    """Raises EvalError and its like for what cannot be measured."""
    device = torch.device(args.device)
    subject = open_subject(args.model, device)
    with result_folder(args.out, WRITTEN, "forecast.json"):
        check_same_model(args.out / "forecast.json", subject.hash, args.data, args.split)
        return forecast(args, subject, device)


def forecast(args: argparse.Namespace, subject: Subject, device: torch.device) -> int:
    """Measure and write into OUT, which is ours."""
    model = networks(subject, device)[MODEL]
    cut = first_cut(model, args.context_s)
    chosen = choose(open_lawful(args.data), args.split, args.films)
    clips, steps = alike(chosen, model, cut + 1)
    if len(clips) < 2:
        raise EvalError(f"{args.data}: {len(clips)} {args.split} film is too few; intervals are over films")
    step_s = model.tubelet_size / model.fps
    context, latents = watch(model, clips, cut, steps, device)
    errors = latent_errors(model, latents)
    notes = [] if len(clips) == len(chosen) else [f"{len(chosen) - len(clips)} shorter films are left out."]
    if steps - cut > (reach := direct_steps(model, cut * model.tubelet_size)):
        notes.append(f"Direct forecasts end at {reach * step_s:.3g} s: further the model does not reach.")
    found: dict[str, Any] = {
        "made": provenance(subject),
        "target_scope": model.target_scope,
        "data": {
            **{"manifest": args.data, "split": args.split, "films": len(clips), "context_s": cut * step_s},
            "film_s": steps * step_s,
        },
        "horizons_s": [(k + 1) * step_s for k in range(steps - cut)],
        "error": {name: mean_error(values) for name, values in errors.items()},
        "skill": skills(errors, (OPEN_LOOP, DIRECT), (COPY, LINEAR, MEAN)),
    }
    if any(clip.truth is not None for clip in clips):
        places = place_errors(film_cohort(clips, steps, model, args.folds), context, latents, cut, device)
        if np.isfinite(places[WHAT_CAME]).any():
            found["position_px"] = {name: mean_error(values) for name, values in places.items()}
            found["position_skill"] = skills(places, (OPEN_LOOP, DIRECT), (COPY, LAST_PLACE, CONSTANT_VELOCITY, MEAN))
        else:
            notes.append(f"No position is read: no body is in sight at {SEEN_STEPS} steps of the context and after it.")
    else:
        notes.append("No position is read: the films have no truth.")
    found["notes"] = notes
    write_json(args.out / "forecast.json", found)
    write_tables(args.out, found)
    save_figure(card(found, caption(found)), args.out / "forecast.png")
    say((args.out / "forecast.md").read_text(encoding="utf-8"))
    return 0


def caption(found: Mapping[str, Any]) -> str:
    data = found["data"]
    return (
        f"{data['films']} {data['split']} films of {data['manifest']}, {data['context_s']:.2g} s seen; bands: 95 % over films. "
        f"{named(found['made'])}"
    )


@torch.no_grad()
def watch(
    model: WorldModel, clips: list[Clip], cut: int, steps: int, device: torch.device
) -> tuple[NDArray[np.float32], Latents]:
    """Latents of the context [F, cut, N, D], encoded without what follows, and by forecaster of the K steps after it."""
    f, ahead = model.tubelet_size, steps - cut
    contexts, parts = [], defaultdict(list)
    with bar("films", len(clips)) as progress:
        for first in range(0, len(clips), FILMS_AT_ONCE):
            some = clips[first : first + FILMS_AT_ONCE]
            frames = torch.from_numpy(read_clips(some, model.fps, model.size_px, steps * f, [0] * len(some))).to(device)
            pixels = model.normalise(frames)
            context = pixels[:, : cut * f]
            seen = model.encode(context)
            came = torch.cat([model.encode(part) for part in pixels.split(window_frames(model), 1)], 1)[:, cut:]
            contexts.append(numpy(seen))
            parts[WHAT_CAME].append(numpy(came))
            parts[OPEN_LOOP].append(numpy(model.imagine(context, ahead)))
            direct = numpy(model.forecast(context, min(ahead, direct_steps(model, cut * f))))
            beyond = ((0, 0), (0, ahead - direct.shape[1]), (0, 0), (0, 0))
            parts[DIRECT].append(np.pad(direct, beyond, constant_values=np.nan))
            progress.step(len(some))
    latents = {name: np.concatenate(some) for name, some in parts.items()}
    context_latents = np.concatenate(contexts)
    last, before = context_latents[:, -1:], context_latents[:, -2:][:, :1]
    k = np.arange(1, ahead + 1, dtype=np.float32)[:, None, None]
    latents[COPY] = np.repeat(last, ahead, axis=1)
    latents[LINEAR] = last + k * (last - before)
    latents[MEAN] = others_mean(latents[WHAT_CAME]).astype(np.float32)
    return context_latents, latents


def latent_errors(model: WorldModel, latents: Latents) -> dict[str, NDArray[np.float64]]:
    """The model's own distance to what came, mean over places: [F, K] by forecaster."""
    target = torch.from_numpy(latents[WHAT_CAME])
    named = (name for name in latents if name != WHAT_CAME)
    return {name: model.distance(torch.from_numpy(latents[name]), target).mean(-1).double().numpy() for name in named}


def place_errors(
    films: Films, context: NDArray[np.float32], latents: Latents, cut: int, device: torch.device
) -> dict[str, NDArray[np.float64]]:
    """Distance in px of the place a probe reads from the body's true place: [F, K], NaN where it is not in sight, or was not
    for long enough before.

    The probe is fitted on latents of what came in other films. From the truth: the last place seen, constant velocity, and
    the mean place of other films at the same moment.
    """
    film = np.arange(len(films.clips))
    centre, sight = films.cohort.body_track()
    asked = sight[:, cut:] & (sight[:, :cut].sum(1) >= SEEN_STEPS)[:, None]
    question = Question.of(films.cohort, PROPERTIES["position"], "linear", device)
    probe = question.probe(Recording(np.concatenate([context, latents[WHAT_CAME]], axis=1), {}, {}))
    horizons = range(asked.shape[1])
    places = {name: np.stack([probe(some[:, [k]], film) for k in horizons], axis=1) for name, some in latents.items()}
    known = np.flatnonzero(asked.any(1))
    for name in (LAST_PLACE, CONSTANT_VELOCITY):
        places[name] = np.full_like(centre[:, cut:], np.nan)
    for k in horizons:
        places[CONSTANT_VELOCITY][known, k] = extrapolate(centre[known, :cut], sight[known, :cut], k + 1)[0]
        places[LAST_PLACE][known, k] = last_place(centre[known, :cut], sight[known, :cut])
    places[MEAN] = mean_place(np.where(asked[..., None], centre[:, cut:], np.nan))
    return {name: np.where(asked, np.linalg.norm(some - centre[:, cut:], axis=2), np.nan) for name, some in places.items()}


def mean_place(there: NDArray[np.float64]) -> NDArray[np.float64]:
    """[F, K, 2], NaN where a film is not asked -> the mean over all other films at the same moment."""
    known = np.isfinite(there)
    total, count = np.where(known, there, 0).sum(0), known.sum(0)
    with np.errstate(invalid="ignore"):
        return (total - np.where(known, there, 0)) / np.where(count - known > 0, count - known, np.nan)
