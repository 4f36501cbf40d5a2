"""Probe evaluation on videos of the physics world: every property encoded and predicted, tracking,
and layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypedDict

import torch

from data_prep.progress import bar
from eval.cache.results import ResultCache
from eval.errors import EvalError
from eval.probes.dataset import (
    MODEL,
    PIXELS,
    ProbeData,
    collect_latents,
    context_lengths,
    open_probe_data,
    parse_horizons,
    shortest_context,
)
from eval.probes.evaluation import ProbeKind, ProbeTask, evaluate_encoded, evaluate_predicted
from eval.probes.latents import ClipLatents
from eval.probes.layers import probe_layers
from eval.probes.results import BySource, ProbeResults, ScoreJson, Tracking, score_json
from eval.probes.targets import PROBE_TARGETS, Property
from eval.probes.tracking import track
from eval.voe.surprise.windows import widest_plan
from worldmodel.models.world_model import WorldModel

TRACKING = "tracking"
HORIZONS_S = "0.25,0.5,1"


@dataclass(frozen=True)
class PhysicsOptions:
    """Options of `eval probe` for videos of the physics world."""

    data: str  # manifest of possible videos
    split: str
    videos: int | None  # None: all of the split
    folds: int
    horizons_s: str | None  # "0.25,0.5"; None: those of HORIZONS_S that the videos reach
    context_s: float | None
    attentive: bool
    only: str | None  # names of properties, and "tracking"; None: all
    layers: bool


class PropertyScores(TypedDict):
    """One property read by one kind of probe."""

    encoded: BySource
    predicted: dict[str, dict[str, dict[str, ScoreJson]]]  # by seconds ahead, source, and the probe that reads it
    notes: list[str]  # what could not be probed


def probe_physics(
    options: PhysicsOptions, nets: Mapping[str, WorldModel], device: torch.device, cache: ResultCache
) -> ProbeResults:
    """Probe all chosen properties. Raises EvalError where none of them can be probed."""
    names = chosen_names(options.only)
    model = nets[MODEL]
    shortest = shortest_context(model, options.context_s)
    data = open_probe_data(options.data, options.split, options.videos, model, shortest + 1, options.folds)
    steps, step_s = data.truth.steps, data.truth.step_s
    horizons_s = options.horizons_s or _reachable(HORIZONS_S, step_s, steps - shortest)
    horizons = parse_horizons(horizons_s, step_s, steps - shortest)
    contexts = context_lengths(shortest, steps)
    forecast_steps = {context: min(max(horizons.values()), steps - context) for context in contexts}
    latents = collect_latents("videos", nets, [(data.clips, forecast_steps)], data.frames, device)[0]
    properties = [it for it in PROBE_TARGETS.values() if it.name in names]
    found: ProbeResults = {
        "kind": "physics",
        "data": {
            "manifest": options.data,
            "split": options.split,
            "videos": len(data.clips),
            "with_one_body": sum(truth.body is not None for truth in data.truth.clips),
            "folds": options.folds,
            "video_s": steps * step_s,
            "contexts_s": [context * step_s for context in contexts],
            "direct_up_to_s": widest_plan(model).reach * step_s,
        },
        "properties": {
            it.name: {
                "description": it.description,
                "unit": it.unit,
                "classes": list(it.classes),
                "input_steps": it.input_steps,
            }
            for it in properties
        },
        "encoded": {},
        "predicted": {},
        "notes": [],
    }
    sources: dict[ProbeKind, Mapping[str, ClipLatents]] = {"linear": latents}
    if options.attentive:  # not of pixels
        sources["attentive"] = {name: it for name, it in latents.items() if name != PIXELS}
    with bar("probes", len(sources) * len(properties)) as progress:
        for kind, of_kind in sources.items():
            for prop in properties:
                score = partial(_score_property, data, prop, kind, of_kind, contexts, horizons, device)
                scores = cache.get_or_compute(f"{prop.name}, {kind}", score)
                if scores["encoded"]:
                    found["encoded"].setdefault(prop.name, {})[kind] = scores["encoded"]
                if scores["predicted"]:
                    found["predicted"].setdefault(prop.name, {})[kind] = scores["predicted"]
                found["notes"] += scores["notes"]
                progress.step()
    if not found["encoded"]:
        notes = " ".join(found["notes"])
        raise EvalError(f"{options.data}: nothing can be probed in its {options.split} videos; {notes}")
    found["tracking"] = None
    if TRACKING in names:
        found["tracking"], notes_of_tracking = cache.get_or_compute(TRACKING, lambda: _track(data, nets, latents, device))
        found["notes"] += notes_of_tracking
    if options.layers:
        found["layers"], notes_of_layers = cache.get_or_compute(
            "layers", lambda: probe_layers(nets, data, latents[PIXELS], device)
        )
        found["notes"] += notes_of_layers
    return found


def _score_property(
    data: ProbeData,
    prop: Property,
    kind: ProbeKind,
    latents: Mapping[str, ClipLatents],
    contexts: list[int],
    horizons: Mapping[str, int],
    device: torch.device,
) -> PropertyScores:
    task = ProbeTask.create(data.truth, prop, kind, device)
    found: PropertyScores = {"encoded": {}, "predicted": {}, "notes": []}
    try:
        scores, probes = evaluate_encoded(task, latents)
        found["encoded"] = {source: score_json(score) for source, score in scores.items()}
        for time, horizon in horizons.items():
            predicted = evaluate_predicted(task, latents, probes, contexts, horizon, refit=kind == "linear")
            if not predicted:
                found["notes"].append(f"{prop.name}: too few videos have this property {time} s after a context.")
            else:
                found["predicted"][time] = {
                    source: {read_by: score_json(score) for read_by, score in by_probe.items()}
                    for source, by_probe in predicted.items()
                }
    except EvalError as error:
        found["notes"].append(f"{prop.name}, {kind} probe: left out, {error}.")
    return found


def _track(
    data: ProbeData, nets: Mapping[str, WorldModel], latents: Mapping[str, ClipLatents], device: torch.device
) -> tuple[Tracking | None, list[str]]:
    """Errors of tracking, and a note where there are none."""
    task = ProbeTask.create(data.truth, PROBE_TARGETS["position"], "linear", device)
    try:
        probes = {name: task.fit_probe(it) for name, it in latents.items()}
    except EvalError as error:
        return None, [f"tracking: left out, {error}."]
    tracked = track(data, nets, probes, device)
    return tracked, [] if tracked is not None else ["tracking: left out, no body is ever fully occluded in these videos."]


def chosen_names(only: str | None) -> list[str]:
    """Names of the chosen properties, all where none is given.

    Raises EvalError for unknown names, or tracking alone.
    """
    known = [*PROBE_TARGETS, TRACKING]
    names = only.split(",") if only else known
    if unknown := [name for name in names if name not in known]:
        raise EvalError(f"--only {only}: {', '.join(unknown)} is not one of {', '.join(known)}")
    if names == [TRACKING]:
        raise EvalError(f"--only {TRACKING}: name a property as well, such as position,{TRACKING}")
    return names


def _reachable(text: str, step_s: float, max_steps: int) -> str:
    """The horizons in `text` that the videos reach, else the longest one that is possible."""
    reachable = [part for part in text.split(",") if 1 <= round(float(part) / step_s) <= max_steps]
    return ",".join(reachable) or f"{max_steps * step_s}"
