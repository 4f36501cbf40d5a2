"""Show what a model predicts: `python -m worldmodel.rollout RUN [--clip FILE ...]`.

The model gets the beginning of a clip (the context) and predicts the rest; its predictions are fed back. Drawn side by side:
the ground truth, the prediction (drawn by the run's decoder), the latents, and the error at each time step. RUN/rollouts/ gets
an MP4, a GIF and a PNG strip of every clip, a curve of the error against the horizon with its baselines, and gallery.html,
one page that plays everything offline. The page also shows the training frame nearest to each predicted step, and with
`--samples` other continuations.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from worldmodel.process import cores, interrupts, streams

if __name__ == "__main__":
    streams.survive_broken_streams()
    interrupts.exit_at_once("rollout")
    cores.let_waiting_threads_sleep()

import numpy as np
import torch

from worldmodel.checkpoint import Checkpoint, CheckpointError, find_checkpoint, load_model
from worldmodel.config import ConfigError
from worldmodel.data.loader import DataError
from worldmodel.files.atomic import write_json
from worldmodel.files.folder_lock import FolderLockError
from worldmodel.files.output_mark import mark_new_folder
from worldmodel.files.outputs import ForeignFileError, output_folder
from worldmodel.manifest import ManifestError
from worldmodel.models import TrainedModel
from worldmodel.models.world_model import FrameWise, ReachError
from worldmodel.process.arguments import check_names, finite_number, path_or_url, positive_number, whole_number
from worldmodel.process.devices import add_device_argument
from worldmodel.process.git_commit import current_commit
from worldmodel.process.terminal import print_escaped
from worldmodel.render import horizon_curve, save_figure, write_gallery
from worldmodel.render.rollouts import KINDS, gallery_card, rollout_names, write_rollout_files
from worldmodel.rollouts.actions import action_input
from worldmodel.rollouts.continuations import one_step_errors
from worldmodel.rollouts.inputs import (
    MAX_HELD_OUT_WINDOWS,
    RolloutError,
    checkpoint_decoder,
    context_length,
    held_out_windows,
    read_clip,
)
from worldmodel.rollouts.nearest import training_frames
from worldmodel.rollouts.notes import ActionsUsed, gallery_notes
from worldmodel.rollouts.prediction import error_curves, roll_out
from worldmodel.runs.run_data import find_data, run_folder_of
from worldmodel.storage.urls import is_url
from worldmodel.video import VideoError

PAGE = ("gallery.html", "horizon.png", "horizon.json")
ERROR_NAMES = {"l2": "squared latent error", "l1": "absolute latent error", "smooth_l1": "smooth L1 latent error"}


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m worldmodel.rollout", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=path_or_url, help="run folder (its best checkpoint) or checkpoint folder, also a URL")
    parser.add_argument("--clip", nargs="+", default=[], metavar="FILE", help="videos to predict (default: held-out windows)")
    parser.add_argument(
        "--count", type=whole_number(1, MAX_HELD_OUT_WINDOWS), default=3, metavar="N", help="number of held-out windows"
    )
    parser.add_argument("--data", nargs="+", default=[], metavar="M.parquet", help="the run's manifests, if they were moved")
    parser.add_argument("--start-s", type=finite_number(0, expected="seconds"), default=0.0, help="start within the clip")
    parser.add_argument(
        "--seconds", type=positive_number("seconds"), default=20.0, help="longest part of the clip that is used (default 20)"
    )
    parser.add_argument(
        "--context-s", type=positive_number("seconds"), help="length of the context (default: a third of the longest one)"
    )
    parser.add_argument(
        "--samples", type=whole_number(1, 8), default=1, metavar="N", help="continuations per clip in the gallery, at most 8"
    )
    parser.add_argument("--no-decoder", action="store_true", help="do not train a decoder if the checkpoint has none")
    parser.add_argument("--out", type=Path, help="output folder (default: RUN/rollouts)")
    add_device_argument(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    parser = argument_parser()
    args = parser.parse_args(argv)
    check_names(parser, args)
    interrupts.raise_keyboard_interrupt()
    try:
        write_rollouts(args)
    except KeyboardInterrupt:
        return interrupts.report_interrupt("rollout", "the same command begins again")
    except (RolloutError, ReachError, CheckpointError, ConfigError, ManifestError, DataError, VideoError, OSError) as error:
        print_escaped(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    except (FolderLockError, ForeignFileError) as error:
        print_escaped(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    return 0


def write_rollouts(args: argparse.Namespace) -> None:
    """Write all files of one command and print their paths."""
    if is_url(args.run) and args.out is None:
        raise RolloutError(f"{args.run}: rollouts are written to a folder; give --out FOLDER")
    checkpoint = find_checkpoint(args.run)
    out = args.out or run_folder_of(checkpoint) / "rollouts"
    names = list(rollout_names(args.clip).values()) or [f"held_out_{i}" for i in range(args.count)]
    unrecorded = args.out is None and "data" not in checkpoint.state  # earlier versions did not record the files they wrote
    mark_new_folder(out, "python -m worldmodel.rollout")
    files = [*(f"{name}.{kind}" for name in names for kind in KINDS), *PAGE]
    with output_folder(out, files, adopt_unrecorded=unrecorded):
        _write_into(out, checkpoint, args)


def _write_into(out: Path, checkpoint: Checkpoint, args: argparse.Namespace) -> None:
    device = torch.device(args.device)
    model, recipe = load_model(checkpoint.folder, device)
    data = find_data(recipe, checkpoint, args.data)
    if args.data or data.complete:
        recipe = data.recipe(recipe)
    held_out, missing = held_out_windows(recipe, data, checkpoint)
    if args.data and missing:
        raise RolloutError(missing)
    if held_out is None and not args.clip:
        raise RolloutError(f"no held-out windows: {missing}. Give the run's manifest with --data, or videos with --clip")
    has_data = not missing
    decoder = checkpoint_decoder(checkpoint, model, recipe, device, may_train=has_data and not args.no_decoder)
    clips = [
        (name, read_clip(path, model, recipe.window, args.start_s, args.seconds))
        for path, name in rollout_names(args.clip).items()
    ]
    if held_out is not None:
        clips = clips or [(f"held_out_{i}", video.numpy()) for i, video in enumerate(held_out.frames[: args.count])]
    contexts = [context_length(model, args.context_s, len(frames)) for _, frames in clips]  # raises errors before the work
    actions = None if held_out is None or args.clip else held_out.rollout_actions(contexts)
    train = training_frames(model, recipe, device) if has_data else None
    residuals = None
    if held_out is not None and args.samples > 1 and isinstance(model, FrameWise):
        residuals = one_step_errors(model, held_out.frames, device, held_out.actions)

    source = _source(checkpoint)
    cards = []
    for number, ((name, frames), context) in enumerate(zip(clips, contexts, strict=True)):
        own = None if actions is None else actions[number]
        rollout = roll_out(model, decoder, frames, context, name, device, train, args.samples, residuals, own)
        print_escaped(out / write_rollout_files(rollout, out, model.fps)["mp4"])
        context_s, predicted_s = context / model.fps, (len(frames) - context) / model.fps
        cards.append(gallery_card(rollout, model.fps, f"{context_s:.2g} s of context, {predicted_s:.2g} s predicted; {source}"))
    stored = 0 if held_out is None or has_data else len(held_out.frames)
    used: ActionsUsed = "none" if action_input(model) is None else "mean" if actions is None else "recorded"
    notes = gallery_notes(decoder, train, args.samples, residuals, missing, stored, used)
    for note in notes:
        if note.startswith(("No ", "The held-out")):
            print_escaped(note)
    title = f"Rollouts of {run_folder_of(checkpoint).name}"
    print_escaped(write_gallery(out / "gallery.html", title, ERROR_NAMES[model.config.distance], source, cards, notes))
    if held_out is None:
        print_escaped("no curve of errors: there are no held-out windows")
        return
    context = context_length(model, args.context_s, held_out.frames.shape[1])
    curves = error_curves(model, held_out.frames, context, device, held_out.actions)
    _write_curve(curves, model, context, len(held_out.frames), source, out)
    print_escaped(out / "horizon.png")


def _source(checkpoint: Checkpoint) -> str:
    """Run, training step and commit, for captions."""
    commit = current_commit()
    return f"{run_folder_of(checkpoint).name}, step {checkpoint.step}{f', commit {commit}' if commit else ''}"


def _write_curve(
    curves: dict[str, list[float]], model: TrainedModel, context: int, windows: int, source: str, out: Path
) -> None:
    """Write horizon.png, and its numbers as horizon.json."""
    step_s = model.tubelet_size / model.fps
    horizons_s = [step_s * (k + 1) for k in range(len(curves["copy"]))]
    caption = f"{windows} held-out windows, {context / model.fps:.2g} s of context; {source}"
    figure = horizon_curve(horizons_s, curves, quantity=ERROR_NAMES[model.config.distance], caption=caption)
    save_figure(figure, out / "horizon.png")
    finite = {name: [None if np.isnan(v) else v for v in values] for name, values in curves.items()}
    numbers = {"horizons_s": horizons_s, "error": finite, "windows": windows, "context_s": context / model.fps}
    write_json(out / "horizon.json", numbers)


if __name__ == "__main__":
    sys.exit(main())
