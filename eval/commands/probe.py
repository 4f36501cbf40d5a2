"""Probes of frozen latents: which properties are encoded or predicted, and are occluded bodies
tracked?

    python -m eval probe --model RUN --data data/mini/calibration.parquet --out OUT     # physical properties, and tracking
    python -m eval probe ... --voe-results RESULTS     # also why quadruplets of `eval voe` fail: encoded, predicted, scored?
    python -m eval probe --model RUN --data CLIPS.parquet --labels --out OUT         # classes of labelled clips
    python -m eval probe ... --layers                  # also every layer of the model

Videos are divided into folds, and each is scored by a probe that was fitted on the other folds. OUT
gets probe.json, probe.csv, probe.md and figures. An interrupted command resumes when it is run
again.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from eval.cache.keys import content_digest
from eval.cache.results import ResultCache
from eval.precision import add_precision_argument
from eval.probes.dataset import MODEL, networks
from eval.probes.label_probes import probe_labels
from eval.probes.layers import check_layered
from eval.probes.output.figures import draw
from eval.probes.output.tables import write_tables
from eval.probes.physics import HORIZONS_S, TRACKING, PhysicsOptions, probe_physics
from eval.probes.quadruplets.failures import Quadruplets, analyse_failures, open_quadruplets
from eval.probes.results import ProbeResults
from eval.probes.targets import PROBE_TARGETS
from eval.provenance import provenance
from eval.result_folder import check_same_model, result_folder
from eval.subject import Subject, open_subject
from eval.voe.evaluation import RESULT_FILES
from worldmodel.files.atomic import write_json
from worldmodel.models.world_model import WorldModel
from worldmodel.process.arguments import comma_separated, positive_number, whole_number
from worldmodel.process.devices import add_device_argument
from worldmodel.process.terminal import print_escaped

HELP = "probes of latents and forecasts: which properties are encoded, and which are predicted?"
RESUMES = True
TEACHER_NOTE = "Encoded properties are read from the latents of the frozen teacher (the forecast targets), not of the student."
FIGURES = ("properties.png", "tracking.png", "classes.png", "layers.png")
WRITTEN = ("probe.json", "probe.csv", "probe.md", *FIGURES, "answers")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, metavar="SPEC", help="RUN folder, hf:FOLDER or untrained:RECIPE.yaml")
    parser.add_argument(
        "--data", required=True, metavar="MANIFEST", help="possible videos with their ground truth, or labelled clips"
    )
    parser.add_argument("--out", required=True, type=Path, help="folder for numbers, tables and figures")
    parser.add_argument("--labels", action="store_true", help="probe the manifest's labels instead of physical properties")
    parser.add_argument(
        "--voe-results", type=Path, metavar="RESULTS", help="folder of `eval voe`: also analyse why its quadruplets fail"
    )
    parser.add_argument("--split", default="val", help="physical properties: split of the manifest (default val)")
    parser.add_argument("--max-videos", type=whole_number(1), metavar="N", help="use N videos at most, a random sample")
    parser.add_argument("--folds", type=whole_number(2), default=5, help="folds of cross-validation (default 5)")
    parser.add_argument(
        "--horizons",
        type=comma_separated(positive_number("seconds")),
        metavar="A,B",
        help=f"seconds ahead (default {HORIZONS_S}, as far as the videos reach)",
    )
    parser.add_argument(
        "--context-s", type=positive_number("seconds"), help="shortest context (default: a third of the window, >= 3 steps)"
    )
    parser.add_argument(
        "--attentive", action="store_true", help="attentive probes, too (physical properties; a minute or two each)"
    )
    parser.add_argument(
        "--only", metavar="A,B", help=f"physical properties: of {', '.join((*PROBE_TARGETS, TRACKING))} (default: all)"
    )
    parser.add_argument("--layers", action="store_true", help="linear probes of every layer, too")
    add_device_argument(parser)
    add_precision_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Raises EvalError and other user-facing errors if the model or the videos cannot be probed."""
    device = torch.device(args.device)
    subject = open_subject(args.model, device, args.precision)
    nets = networks(subject, device)
    if args.layers:
        check_layered(nets, args.model)
    quadruplets = None if args.voe_results is None else open_quadruplets(args.voe_results, subject, nets[MODEL])
    with result_folder(args.out, WRITTEN, "probe.json"):
        split = None if args.labels else args.split
        check_same_model(args.out / "probe.json", subject.hash, args.data, split, subject.precision)
        return probe(args, subject, nets, quadruplets, device)


def probe(
    args: argparse.Namespace,
    subject: Subject,
    nets: Mapping[str, WorldModel],
    quadruplets: Quadruplets | None,
    device: torch.device,
) -> int:
    """Probe and write the results into OUT, whose lock is held."""
    cache = ResultCache.for_inputs(args.out, {**cache_key(args, nets[MODEL]), "weights": subject.hash})
    head: ProbeResults = {"made": provenance(subject), "target_scope": nets[MODEL].target_scope}
    if args.labels:
        found: ProbeResults = {**head, **probe_labels(nets, args.data, args.max_videos, device, args.layers, cache)}
    else:
        found = {**head, **probe_physics(physics_options(args), nets, device, cache)}
        if quadruplets is not None:
            inputs = (quadruplets, nets, args.data, args.split, args.max_videos, device)
            digest = content_digest(*(args.voe_results / name for name in RESULT_FILES))
            failures = cache.get_or_compute(f"failures {digest[:16]}", lambda: analyse_failures(*inputs))
            found["failures"] = {**failures, "of": str(args.voe_results)}
    if has_frozen_teacher(nets[MODEL]):
        found["notes"].append(TEACHER_NOTE)
    write_json(args.out / "probe.json", found)
    write_tables(args.out, found)
    draw(args.out, found)
    cache.clear()
    print_escaped((args.out / "probe.md").read_text(encoding="utf-8"))
    return 0


def physics_options(args: argparse.Namespace) -> PhysicsOptions:
    return PhysicsOptions(
        data=args.data,
        split=args.split,
        videos=args.max_videos,
        folds=args.folds,
        horizons_s=args.horizons,
        context_s=args.context_s,
        attentive=args.attentive,
        only=args.only,
        layers=args.layers,
    )


def has_frozen_teacher(model: WorldModel) -> bool:
    config = model.architecture.get("model")
    return isinstance(config, Mapping) and config.get("target", {}).get("kind") == "frozen"


def cache_key(args: argparse.Namespace, model: WorldModel) -> dict[str, Any]:
    """What cached results depend on besides the weights.

    `--voe-results` is left out: it changes one result only, whose name contains its digest.
    """
    options = {name: value for name, value in vars(args).items() if name != "voe_results"}
    return {**options, "architecture": model.architecture, "videos": content_digest(Path(args.data))}
