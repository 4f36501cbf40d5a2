"""What does a model know? Probes on frozen latents: is it encoded, is it predicted, does a hidden thing go on existing?

    python -m eval probe --model RUN --data films/mini/lawful.parquet --out OUT      # properties of bodies, and tracking
    python -m eval probe ... --physics EVALUATION      # and why quadruplets of `eval physics` fail: encoded, predicted, scored?
    python -m eval probe --model RUN --data CLIPS.parquet --labels --out OUT         # classes of labelled clips
    python -m eval probe ... --layers                  # and of each layer of the model: what is encoded where?

Films are divided into folds, and each is read by a probe that was fitted on the other folds. OUT gets probe.json,
probe.csv, probe.md and figures. The same command again goes on where it stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from data_prep.progress import bar
from eval.cache.results import Kept, content_digest
from eval.commands.compare import FILES as EVALUATION_FILES
from eval.errors import EvalError
from eval.probes.evaluation import Kind, Question, as_json, encoded, predicted
from eval.probes.gathering import MODEL, PIXELS, Films, cuts_from, first_cut, gather, horizons_of, networks, open_films
from eval.probes.labels import classify
from eval.probes.layers import check_layered, layers_of_physics
from eval.probes.output.figures import draw
from eval.probes.output.tables import write_tables
from eval.probes.recordings import Recording
from eval.probes.targets import PROPERTIES
from eval.probes.tracking import track
from eval.probes.triage import open_quadruplets, triage
from eval.provenance import provenance
from eval.result_folder import check_same_model, result_folder
from eval.subject import Subject, open_subject
from eval.voe.surprise.windows import widest
from worldmodel.files.atomic import write_json
from worldmodel.models.world_model import WorldModel
from worldmodel.process.arguments import above_zero, count, listed
from worldmodel.process.devices import add_device
from worldmodel.process.terminal import say

HELP = "what can be read off the latents, and off the forecasts?"
RESUMES = True
TEACHERS = "What is encoded is read off the frozen teacher's latents, which forecasts are compared with, not off the student's."
TRACKING = "tracking"
FIGURES = ("readings.png", "tracking.png", "classes.png", "layers.png")
WRITTEN = ("probe.json", "probe.csv", "probe.md", *FIGURES, "answers")
HORIZONS_S = "0.25,0.5,1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, metavar="SPEC", help="RUN folder, hf:FOLDER or untrained:RECIPE.yaml")
    parser.add_argument("--data", required=True, metavar="MANIFEST", help="lawful films with their truth, or labelled clips")
    parser.add_argument("--out", required=True, type=Path, help="folder for numbers, tables and figures")
    parser.add_argument("--labels", action="store_true", help="probe the manifest's labels instead of physics")
    parser.add_argument("--physics", type=Path, metavar="EVALUATION", help="also say why its quadruplets fail")
    parser.add_argument("--split", default="val", help="physics: which films (default val)")
    parser.add_argument("--films", type=count(1), metavar="N", help="at most so many, drawn at random (default: all)")
    parser.add_argument("--folds", type=count(2), default=5, help="parts that films are divided into (default 5)")
    parser.add_argument(
        "--horizons",
        type=listed(above_zero("seconds")),
        metavar="A,B",
        help=f"seconds ahead (default {HORIZONS_S}, as far as films reach)",
    )
    parser.add_argument(
        "--context-s", type=above_zero("seconds"), help="shortest context (default: a third of the window, >= 3 steps)"
    )
    parser.add_argument("--attentive", action="store_true", help="attentive probes, too (physics; a minute or two each)")
    parser.add_argument("--only", metavar="A,B", help=f"physics: of {', '.join((*PROPERTIES, TRACKING))} (default: all)")
    parser.add_argument("--layers", action="store_true", help="linear probes of every layer too: what is encoded where?")
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    """Raises EvalError and its like for what cannot be probed."""
    device = torch.device(args.device)
    subject = open_subject(args.model, device)
    nets = networks(subject, device)
    if args.layers:
        check_layered(nets, args.model)
    quadruplets = None if args.physics is None else open_quadruplets(args.physics, subject, nets[MODEL])
    with result_folder(args.out, WRITTEN, "probe.json"):
        check_same_model(args.out / "probe.json", subject.hash, args.data, None if args.labels else args.split)
        return probe(args, subject, nets, quadruplets, device)


def probe(
    args: argparse.Namespace, subject: Subject, nets: Mapping[str, WorldModel], quadruplets: Any, device: torch.device
) -> int:
    """Measure and write into OUT, which is ours."""
    made = {"made": provenance(subject), "target_scope": nets[MODEL].target_scope}
    kept = Kept.of(args.out, {**on_what(args, nets[MODEL]), "weights": subject.hash})
    if args.labels:
        found = made | classify(nets, args.data, args.films, device, args.layers, kept)
    else:
        found = made | probe_physics(args, nets, device, kept)
        if quadruplets is not None:
            asked = (quadruplets, nets, args.data, args.split, args.films, device)
            of = content_digest(*(args.physics / name for name in EVALUATION_FILES))  # of no other answer
            found["triage"] = kept.get(f"triage {of[:16]}", lambda: triage(*asked)) | {"of": str(args.physics)}
    if has_frozen_teacher(nets[MODEL]):
        found["notes"].append(TEACHERS)
    write_json(args.out / "probe.json", found)
    write_tables(args.out, found)
    draw(args.out, found)
    kept.forget()
    say((args.out / "probe.md").read_text(encoding="utf-8"))
    return 0


def has_frozen_teacher(model: WorldModel) -> bool:
    said = model.architecture.get("model")
    return isinstance(said, Mapping) and said.get("target", {}).get("kind") == "frozen"


def on_what(args: argparse.Namespace, model: WorldModel) -> dict[str, Any]:
    """What answers depend on beside the weights. Not on `--physics`: the name of the one answer that does says so."""
    options = {name: value for name, value in vars(args).items() if name != "physics"}
    return {**options, "architecture": model.architecture, "films": content_digest(Path(args.data))}


def probe_physics(args: argparse.Namespace, nets: Mapping[str, WorldModel], device: torch.device, kept: Kept) -> dict[str, Any]:
    """Encoded, predicted, tracking, and what they are of."""
    only = _only(args.only)
    model = nets[MODEL]
    first = first_cut(model, args.context_s)
    films = open_films(args.data, args.split, args.films, model, first + 1, args.folds)
    steps, step_s = films.cohort.steps, films.cohort.step_s
    horizons = horizons_of(args.horizons or _within(HORIZONS_S, step_s, steps - first), step_s, steps - first)
    cuts = cuts_from(first, steps)
    reach = {cut: min(max(horizons.values()), steps - cut) for cut in cuts}
    recordings = gather("films", nets, [(films.clips, reach)], films.frames, device)[0]
    found: dict[str, Any] = {
        "kind": "physics",
        "data": {
            "manifest": args.data,
            "split": args.split,
            "films": len(films.clips),
            "with_one_body": sum(truth.body is not None for truth in films.cohort.truths),
            "folds": args.folds,
            "film_s": steps * step_s,
            "contexts_s": [cut * step_s for cut in cuts],
            "direct_up_to_s": widest(model).reach * step_s,
        },
        "properties": {
            it.name: {"meaning": it.meaning, "unit": it.unit, "classes": list(it.classes), "moments": it.moments}
            for it in PROPERTIES.values()
            if it.name in only
        },
        "encoded": {},
        "predicted": {},
        "notes": [],
    }
    latents = {name: it for name, it in recordings.items() if name != PIXELS}  # pixels are read by ridge alone
    asked: dict[Kind, Mapping[str, Recording]] = {"linear": recordings, **({"attentive": latents} if args.attentive else {})}
    properties = [it for it in PROPERTIES.values() if it.name in only]
    with bar("probes", len(asked) * len(properties)) as progress:
        for kind, sources in asked.items():
            for prop in properties:
                question = Question.of(films.cohort, prop, kind, device)
                told = kept.get(f"{prop.name}, {kind}", partial(_ask, question, kind, sources, cuts, horizons))
                for part in ("encoded", "predicted"):
                    if told[part]:
                        found[part].setdefault(prop.name, {})[kind] = told[part]
                found["notes"] += told["notes"]
                progress.step()
    if not found["encoded"]:
        raise EvalError(f"{args.data}: nothing can be probed in its {args.split} films; {' '.join(found['notes'])}")
    found["tracking"] = None
    if TRACKING in only:
        found["tracking"], notes = kept.get(TRACKING, lambda: _track(films, nets, recordings, device))
        found["notes"] += notes
    if args.layers:
        found["layers"], notes = kept.get("layers", lambda: layers_of_physics(nets, films, recordings[PIXELS], device))
        found["notes"] += notes
    return found


def _ask(
    question: Question,
    kind: Kind,
    recordings: Mapping[str, Recording],
    cuts: list[int],
    horizons: Mapping[str, int],
) -> dict[str, Any]:
    """{"encoded": by source, "predicted": by time and source, "notes": what could not be asked}."""
    name = question.prop.name
    found: dict[str, Any] = {"encoded": {}, "predicted": {}, "notes": []}
    try:
        scores, probes = encoded(question, recordings)
        found["encoded"] = {source: as_json(score) for source, score in scores.items()}
        for time, horizon in horizons.items():
            ahead = predicted(question, recordings, probes, cuts, horizon, fitted=kind == "linear")
            if not ahead:
                found["notes"].append(f"{name}: too few films have it {time} s after a context.")
            else:
                found["predicted"][time] = {
                    source: {how: as_json(score) for how, score in each.items()} for source, each in ahead.items()
                }
    except EvalError as error:
        found["notes"].append(f"{name}, {kind} probe: left out, {error}.")
    return found


def _track(
    films: Films, nets: Mapping[str, WorldModel], recordings: Mapping[str, Recording], device: torch.device
) -> tuple[dict[str, Any] | None, list[str]]:
    """And why there is nothing to tell, where that is so."""
    question = Question.of(films.cohort, PROPERTIES["position"], "linear", device)
    try:
        probes = {name: question.probe(recording) for name, recording in recordings.items()}
    except EvalError as error:
        return None, [f"tracking: left out, {error}."]
    tracked = track(films, nets, probes, device)
    return tracked, [] if tracked is not None else ["tracking: left out, no body goes out of sight in these films."]


def _only(text: str | None) -> list[str]:
    """What is asked for, all without a word. Raises EvalError for what is none of it, or tracking alone."""
    known = [*PROPERTIES, TRACKING]
    only = text.split(",") if text else known
    if unknown := [name for name in only if name not in known]:
        raise EvalError(f"--only {text}: {', '.join(unknown)} is none of {', '.join(known)}")
    if only == [TRACKING]:
        raise EvalError(f"--only {TRACKING}: name a property beside it, such as position,{TRACKING}")
    return only


def _within(text: str, step_s: float, most: int) -> str:
    """Of the usual horizons those that films reach, else the longest there is."""
    there = [part for part in text.split(",") if 1 <= round(float(part) / step_s) <= most]
    return ",".join(there) or f"{most * step_s}"
