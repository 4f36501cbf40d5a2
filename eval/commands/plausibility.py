"""Plausibility of single videos: surprise over time and by location, and the rank among calibration videos.

    python -m eval plausibility --model runs/demo outputs/ clip.mp4 frames/ --html page.html > scores.jsonl

FILES are videos, folders of frames, folders of videos, or manifests (.parquet). Each video becomes one line of JSON on standard
output or in --out. A ranking is printed. Results on the calibration videos are cached, also in the run folder (RUN/reference).
The model can then score videos where its training data is missing. Without FILES, the command does only this.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from eval.cache import run_folder
from eval.errors import EvalError
from eval.plausibility.decoded_forecasts import decode_forecasts, no_decoder_note, run_decoder
from eval.plausibility.page import ends, short_names, write_page
from eval.plausibility.reference_choice import choose_reference
from eval.plausibility.reference_videos import Reference
from eval.plausibility.scoring import ScoredVideo, score_videos
from eval.plausibility.sliding_windows import default_plan
from eval.plausibility.video_list import NamedClip, UnreadableVideo, find_videos
from eval.precision import add_precision_argument, stored_with
from eval.provenance import provenance, provenance_caption
from eval.report.rendering import percent, seconds
from eval.resumable_work import RANK_TIMEOUT_S, start_ranks
from eval.subject import open_subject
from eval.voe.surprise.windows import WindowPlan, parse_frames
from worldmodel.files.atomic import write_text
from worldmodel.files.outputs import output_file
from worldmodel.manifest import Clip
from worldmodel.models.world_model import WorldModel, window_frames
from worldmodel.process.arguments import comma_separated, frame_rate, frames_or_seconds
from worldmodel.process.devices import add_device_argument
from worldmodel.process.terminal import escape_line, print_escaped
from worldmodel.ranks.launch import run_on_main_process
from worldmodel.ranks.start_monitors import monitor_ranks
from worldmodel.video.geometry import GEOMETRIES, add_geometry

HELP = "plausibility of single videos: surprise over time and by location, and the rank among possible videos"
RESUMES = True
MAX_ROWS = 30  # of the ranking on the terminal, which shows both ends
NAME_LETTERS = 30  # of a video name in the ranking; longer names are cut at the start
FAILED = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="*", metavar="FILES", help="videos, folders of frames or of videos, manifests")
    parser.add_argument("--model", required=True, metavar="SPEC", help="RUN folder, hf:FOLDER or untrained:RECIPE.yaml")
    parser.add_argument(
        "--calibration",
        metavar="MANIFEST",
        help="possible videos that FILES are compared with (default: the run's val split)",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="file for the JSON lines (default: standard output)")
    parser.add_argument(
        "--html",
        type=Path,
        metavar="FILE",
        help="page with each video, its surprise over time, a heat map and, if the run has a decoder, decoded forecasts; "
        "opens offline",
    )
    parser.add_argument("--fps", type=frame_rate, help="frame rate at which the model sees videos (default: the model's)")
    parser.add_argument(
        "--folder-fps", type=frame_rate, default=10.0, metavar="N", help="frame rate of folders of frames (default 10)"
    )
    parser.add_argument(
        "--window",
        type=frames_or_seconds,
        metavar="N|Xs",
        help="length of a sliding window (default: the longest that the model can see)",
    )
    parser.add_argument(
        "--stride",
        type=frames_or_seconds,
        metavar="N|Xs",
        help="distance from one window to the next (default 2 frames)",
    )
    parser.add_argument(
        "--contexts",
        type=comma_separated(frames_or_seconds),
        metavar="A,B",
        help="lengths of the context within a window; surprise is the mean over all",
    )
    parser.add_argument(
        "--horizon",
        type=frames_or_seconds,
        metavar="N|Xs",
        help="how far ahead forecasts are evaluated (default: as far as the model forecasts)",
    )
    add_geometry(parser, default="center_crop", default_help="center_crop")
    add_device_argument(parser)
    add_precision_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Return 2 if a video could not be scored; the others are scored first. Raises user-facing errors if none can be."""
    ranks = start_ranks()
    with monitor_ranks(ranks, RANK_TIMEOUT_S, "Run the same command again"):
        return _locked(args, ranks)


def _locked(args: argparse.Namespace, ranks: PartialState) -> int:
    files = [path for path in (args.out, args.html) if path is not None]
    for path in files:
        if not path.absolute().parent.is_dir():
            raise EvalError(f"{path} cannot be written: there is no folder {path.absolute().parent}")
    with contextlib.ExitStack() as locks:
        run_on_main_process(ranks, lambda: [locks.enter_context(output_file(path, "give another name")) for path in files])
        return _run(args, ranks)


def _run(args: argparse.Namespace, ranks: PartialState) -> int:
    device = ranks.device if ranks.num_processes > 1 else torch.device(args.device)
    subject = open_subject(args.model, device, args.precision)
    if subject.model is None:
        raise EvalError(f"{args.model} makes no forecasts; --model takes a RUN folder, hf:FOLDER or untrained:RECIPE.yaml")
    decoder = run_decoder(subject, device) if args.html is not None else None
    if not args.files and (args.calibration or subject.checkpoint is None):
        raise EvalError(
            "nothing to score: give FILES, or --model RUN without --calibration to store the reference distribution of RUN"
        )
    found = list(find_videos(args.files, args.folder_fps))
    failed = {it.name: it.reason for it in found if isinstance(it, UnreadableVideo)}
    named = list({(it.name, it.clip.start_s): it for it in found if isinstance(it, NamedClip)}.values())
    plan_of = partial(plan_windows, args, subject.model)
    choice = choose_reference(args.calibration, subject, plan_of, device, ranks, args.geometry)
    if not args.files:
        print_escaped(run_folder.folder_of(subject))
        return 0
    scored, more_failed = score_videos(choice.inference, choice.reference, named)
    failed |= more_failed
    if ranks.is_main_process:
        facts = {
            "model": {"name": subject.name, "hash": subject.hash, **stored_with(subject.precision)},
            "calibration": choice.manifest,
            "geometry": args.geometry,
        }
        if args.html is not None and scored:
            decode = None if decoder is None else partial(decode_forecasts, choice.inference, decoder)
            notes = [f"The model sees {GEOMETRIES[args.geometry]}."]
            notes += [] if decoder is not None else [no_decoder_note(subject)]
            source = f"{provenance_caption(provenance(subject))}; calibration videos of {choice.manifest}"
            distribution = choice.reference.distribution
            write_page(args.html, subject.name, scored, failed, distribution, args.geometry, decode, notes, source)
        _write_results(args, scored, failed, facts, choice.reference)
    ranks.wait_for_everyone()
    return FAILED if failed else 0


def plan_windows(args: argparse.Namespace, model: WorldModel, calibration: Sequence[Clip]) -> WindowPlan:
    """The plan of the arguments. Windows are by default as long as the model sees, but no longer than calibration videos."""
    fps = args.fps or model.fps
    given = {name: parse_frames(text, fps) for name in ("window", "stride", "horizon") if (text := getattr(args, name))}
    return default_plan(
        model,
        given.get("window", min(window_frames(model), max(clip.frames_at(fps) for clip in calibration))),
        fps,
        given.get("stride"),
        [parse_frames(text, fps) for text in args.contexts.split(",")] if args.contexts else None,
        max(1, given["horizon"] // model.tubelet_size) if "horizon" in given else None,
    )


def _write_results(
    args: argparse.Namespace,
    scored: Sequence[ScoredVideo],
    failed: Mapping[str, str],
    facts: Mapping[str, Any],
    reference: Reference,
) -> None:
    """Write the JSON lines, and print the ranking and one line on standard error for each failure."""
    rows: list[Mapping[str, Any]] = [{"rank": it.rank, **it.result, **facts} for it in scored]
    rows += [{"video": name, "error": reason} for name, reason in failed.items()]
    lines = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
    if args.out is None:
        sys.stdout.write(lines)
        sys.stdout.flush()
    else:
        write_text(args.out, lines)
    console = Console(stderr=args.out is None, soft_wrap=True)
    if scored:
        console.print(_ranking(scored))
    if reference.why_not_whitened:
        console.print(f"Errors are not whitened: {reference.why_not_whitened}.", markup=False, highlight=False)
    for name, reason in failed.items():
        print_escaped(f"eval plausibility: {escape_line(name)}: {reason}", file=sys.stderr)
    if reference.unreadable:
        name, reason = next(iter(reference.unreadable.items()))
        count = len(reference.unreadable)
        first = f"such as {escape_line(name)}: {reason}"
        print_escaped(f"eval plausibility: {count} calibration videos were left out, {first}", file=sys.stderr)


def _ranking(scored: Sequence[ScoredVideo]) -> Table:
    """A table of both ends of the ranking."""
    results = [it.result for it in scored]
    caption = (
        "plausible: percent of similar calibration videos that surprise at least as much; "
        "adjusted: relative to the copy baseline"
    )
    table = Table(box=SIMPLE, caption=caption, caption_justify="left")
    for head in ("", "video", "plausible", "adjusted", results[0]["scorer"], "peak"):
        table.add_column(head, justify="left" if head == "video" else "right", no_wrap=True)
    names = [escape_line(name) for name in short_names([result["video"] for result in results])]
    shown = ends(len(scored), MAX_ROWS)
    for index, following in zip(shown, [*shown[1:], None], strict=True):
        result, main = results[index], results[index]["scorers"][results[index]["scorer"]]
        name = names[index] if len(names[index]) <= NAME_LETTERS else "…" + names[index][1 - NAME_LETTERS :]
        plausible, adjusted = percent(result["plausibility"]), percent(result["copy_adjusted_plausibility"])
        surprise = "–" if main["surprise"] is None else f"{main['surprise']:.3g}"
        numbers = [plausible, adjusted, surprise, seconds(main["peak_s"])]
        has_gap = following not in (None, index + 1)
        table.add_row(str(scored[index].rank), escape(name), *numbers, end_section=has_gap)
    return table
