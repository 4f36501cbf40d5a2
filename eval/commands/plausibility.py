"""How surprising are films that nobody paired? Over time, in the picture, and as one number among lawful films.

    python -m eval score --model runs/demo outputs/ clip.mp4 frames/ --html page.html > scores.jsonl

FILES are videos, folders of frames, folders of videos, or manifests (.parquet). Each film becomes a JSON object on a line of
its own, on standard output or in --out; a ranking is printed. What the model makes of lawful films is kept for the next time,
also in the run folder (RUN/reference), so that the model can score where its training data is missing. Without FILES this is
all that is done.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import shutil
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

from eval.cache import run_folder as run_reference
from eval.cache.cache_folder import cache_folder
from eval.cache.cache_lock import cache_lock
from eval.errors import EvalError
from eval.plausibility.batches import Viewing, frames_at
from eval.plausibility.expectations import decoder_of, expectations, no_decoder
from eval.plausibility.page import Scored, ends, short_names, write_page
from eval.plausibility.reference_choice import choose_reference
from eval.plausibility.reference_videos import Reference, file_name
from eval.plausibility.results import result
from eval.plausibility.sliding_windows import usual_plan
from eval.plausibility.video_list import Named, Unread, find_films
from eval.provenance import named as named_source
from eval.provenance import provenance
from eval.report.rendering import percent, seconds
from eval.subject import open_subject
from eval.voe.surprise.windows import WindowPlan, frames_of
from eval.workload import SILENT_S, start_ranks
from worldmodel.files.atomic import write_text
from worldmodel.files.outputs import output_file
from worldmodel.manifest import Clip
from worldmodel.models.world_model import WorldModel, window_frames
from worldmodel.process.arguments import frames_or_seconds, listed, rate
from worldmodel.process.devices import add_device
from worldmodel.process.launch import on_main_process
from worldmodel.process.terminal import on_one_line, say
from worldmodel.ranks.watched import watched
from worldmodel.video.square import SEEN, add_square

HELP = "surprise of any film, over time and in the picture, and its plausibility among lawful films"
RESUMES = True
MOST_ROWS = 30  # of the ranking on the terminal: both ends
NAME = 30  # letters of a film's name there, from its end
FAILED = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="*", metavar="FILES", help="videos, folders of frames or of videos, manifests")
    parser.add_argument("--model", required=True, metavar="SPEC", help="RUN folder, hf:FOLDER or untrained:RECIPE.yaml")
    parser.add_argument("--lawful", metavar="MANIFEST", help="lawful films to compare with (default: the run's val split)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="for the JSON lines (default: standard output)")
    parser.add_argument(
        "--html",
        type=Path,
        metavar="FILE",
        help="a page with each film, its curve, heat map and, of a run that has a decoder, what was expected; opens offline",
    )
    parser.add_argument("--fps", type=rate, help="frames a second films are seen at (default: the model's)")
    parser.add_argument("--folder-fps", type=rate, default=10.0, metavar="N", help="rate of folders of frames (default 10)")
    parser.add_argument(
        "--window", type=frames_or_seconds, metavar="N|Xs", help="length of a sliding window (default: the most the model sees)"
    )
    parser.add_argument(
        "--stride", type=frames_or_seconds, metavar="N|Xs", help="from one window to the next (default 2 frames)"
    )
    parser.add_argument(
        "--contexts",
        type=listed(frames_or_seconds),
        metavar="A,B",
        help="how much of a window is seen; the mean over all is taken",
    )
    parser.add_argument(
        "--horizon", type=frames_or_seconds, metavar="N|Xs", help="how far forecasts are judged (default: as far as they reach)"
    )
    add_square(parser)
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    """2 where a film could not be scored, after all others were. Raises EvalError and its like where none can be."""
    ranks = start_ranks()
    with watched(ranks, SILENT_S, "Run the same command again"):
        return _locked(args, ranks)


def _locked(args: argparse.Namespace, ranks: PartialState) -> int:
    files = [path for path in (args.out, args.html) if path is not None]
    for path in files:
        if not path.absolute().parent.is_dir():
            raise EvalError(f"{path} cannot be written: there is no folder {path.absolute().parent}")
    with contextlib.ExitStack() as held:
        on_main_process(ranks, lambda: [held.enter_context(output_file(path, "give another name")) for path in files])
        return _run(args, ranks)


def _run(args: argparse.Namespace, ranks: PartialState) -> int:
    device = ranks.device if ranks.num_processes > 1 else torch.device(args.device)
    subject = open_subject(args.model, device)
    if subject.model is None:
        raise EvalError(f"{args.model} makes no forecasts; --model takes a RUN folder, hf:FOLDER or untrained:RECIPE.yaml")
    decoder = decoder_of(subject, device) if args.html is not None else None
    if not args.files and (args.lawful or subject.checkpoint is None):
        raise EvalError("nothing to score: name FILES, or --model RUN without --lawful, which stores what RUN compares with")
    films = list(find_films(args.files, args.folder_fps))
    failed = {it.name: it.why for it in films if isinstance(it, Unread)}
    named = list({(it.name, it.clip.start_s): it for it in films if isinstance(it, Named)}.values())
    choice = choose_reference(args.lawful, subject, partial(plan_windows, args, subject.model), device, ranks, args.square)
    reference, viewing, manifest = choice.reference, choice.viewing, choice.manifest
    if not args.files:
        say(run_reference.folder_of(subject))
        return 0
    scored, unwatched = _score(viewing, reference, named)
    if ranks.is_main_process:
        facts = {"model": {"name": subject.name, "hash": subject.hash}, "lawful": manifest, "square": args.square}
        if args.html is not None and scored:
            expecting = None if decoder is None else partial(expectations, viewing, decoder)
            notes = [f"The model sees {SEEN[viewing.square]}."] + ([] if decoder is not None else [no_decoder(subject)])
            made = f"{named_source(provenance(subject))}; lawful films of {manifest}"
            write_page(
                args.html, subject.name, scored, failed | unwatched, reference.yardstick, viewing.square, expecting, notes, made
            )
        _tell(args, scored, failed | unwatched, facts, reference)
    ranks.wait_for_everyone()
    return FAILED if failed or unwatched else 0


def plan_windows(args: argparse.Namespace, model: WorldModel, lawful: Sequence[Clip]) -> WindowPlan:
    """From the arguments, else windows of all that the model can see, but no longer than lawful films are."""
    fps = args.fps or model.fps
    given = {name: frames_of(text, fps) for name in ("window", "stride", "horizon") if (text := getattr(args, name))}
    return usual_plan(
        model,
        given.get("window", min(window_frames(model), max(frames_at(clip, fps) for clip in lawful))),
        fps,
        given.get("stride"),
        [frames_of(text, fps) for text in args.contexts.split(",")] if args.contexts else None,
        max(1, given["horizon"] // model.tubelet_size) if "horizon" in given else None,
    )


def _score(viewing: Viewing, reference: Reference, named: Sequence[Named]) -> tuple[list[Scored], dict[str, str]]:
    """Films with a number, the most plausible first, and the others with the reason."""
    folder = cache_folder() / "films" / _key(reference, named)
    with cache_lock(folder, "films", viewing.ranks):
        found = _scored(viewing, reference, named, folder)
        viewing.ranks.wait_for_everyone()
        if viewing.ranks.is_main_process:
            shutil.rmtree(folder, ignore_errors=True)
    return found


def _scored(
    viewing: Viewing, reference: Reference, named: Sequence[Named], folder: Path
) -> tuple[list[Scored], dict[str, str]]:
    """As `_score`; files in FOLDER are used again where an interrupted command left them."""
    watched = viewing.watch("films", [it.clip for it in named], reference.measures, folder, by_place=True)
    yardstick, failed, found = reference.yardstick, {}, []
    lawful = {film.name for film in yardstick.films}
    for it, seen in zip(named, watched, strict=True):
        if isinstance(seen, str):
            failed[it.name] = seen
            continue
        own = {file_name(it.clip)} & lawful
        try:
            found.append((it, seen, result(it, seen, yardstick.place(seen, own), yardstick, bool(own))))
        except ValueError as error:
            failed[it.name] = str(error)
    found.sort(key=lambda one: _order(one[2]))
    return [(it, seen, {"rank": rank, **row}) for rank, (it, seen, row) in enumerate(found, 1)], failed


def _order(row: Mapping[str, Any]) -> tuple[float, float, float]:
    """Plausible before implausible; of equally plausible films those that copying explains less, then by surprise."""
    return -row["plausibility"], -row["copy_adjusted_plausibility"], row["scorers"][row["scorer"]]["surprise"]


def _tell(
    args: argparse.Namespace,
    scored: Sequence[Scored],
    failed: Mapping[str, str],
    facts: Mapping[str, Any],
    reference: Reference,
) -> None:
    """JSON, ranking, and a line on standard error for what went wrong."""
    rows = [{**row, **facts} for _, _, row in scored] + [{"film": name, "error": why} for name, why in failed.items()]
    lines = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
    if args.out is None:
        sys.stdout.write(lines)
        sys.stdout.flush()
    else:
        write_text(args.out, lines)
    console = Console(stderr=args.out is None, soft_wrap=True)
    if scored:
        console.print(_ranking(scored))
    if reference.why_raw:
        console.print(f"Not whitened: {reference.why_raw}.", markup=False, highlight=False)
    for name, why in failed.items():
        say(f"eval score: {on_one_line(name)}: {why}", file=sys.stderr)
    if reference.unread:
        name, why = next(iter(reference.unread.items()))
        said = f"{len(reference.unread)} lawful films were left out, such as {on_one_line(name)}: {why}"
        say(f"eval score: {said}", file=sys.stderr)


def _ranking(scored: Sequence[Scored]) -> Table:
    """Both ends of it."""
    rows = [row for _, _, row in scored]
    caption = "percent of like lawful films that surprise at least as much; adjusted: relative to copying"
    table = Table(box=SIMPLE, caption=caption, caption_justify="left")
    for head in ("", "film", "plausible", "adjusted", rows[0]["scorer"], "peak"):
        table.add_column(head, justify="left" if head == "film" else "right", no_wrap=True)
    names = [on_one_line(name) for name in short_names([row["film"] for row in rows])]
    shown = ends(len(rows), MOST_ROWS)
    for place, after in zip(shown, [*shown[1:], None], strict=True):
        row, main = rows[place], rows[place]["scorers"][rows[place]["scorer"]]
        name = names[place] if len(names[place]) <= NAME else "…" + names[place][1 - NAME :]
        shares = [percent(row[key]) for key in ("plausibility", "copy_adjusted_plausibility")]
        numbers = [*shares, f"{main['surprise']:.3g}", seconds(main["peak_s"])]
        table.add_row(str(row["rank"]), escape(name), *numbers, end_section=after not in (None, place + 1))
    return table


def _key(reference: Reference, named: Sequence[Named]) -> str:
    """Of films as they lie on the disk, and what they are measured by, which unread lawful films change: 16 hex digits."""
    films = [[it.name, it.clip.clip_id, it.clip.start_s, it.clip.fps, os.stat(it.clip.path).st_mtime_ns] for it in named]
    return hashlib.sha256(json.dumps([reference.key, sorted(reference.unread), films]).encode()).hexdigest()[:16]
