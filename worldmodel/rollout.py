"""See what a model imagines: `python -m worldmodel.rollout RUN [--clip FILE ...]`.

The model sees the beginning of a clip and imagines the rest, its predictions fed back. Beside one another: what came, what was
imagined (drawn by the run's decoder), the latents, and how wrong each moment is. RUN/films/ gets an MP4, a GIF and a PNG strip
of every clip, a curve of the error against the horizon with its baselines, and gallery.html, all of it on one page to play:
with the nearest training frame of every moment, and other continuations where `--samples` asks for them.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from worldmodel.process import interrupts, streams

if __name__ == "__main__":
    streams.survive_broken_streams()
    interrupts.exit_at_once("rollout")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch loads OpenMP; see train.py

import numpy as np
import torch

from worldmodel.checkpoint import Checkpoint, CheckpointError, find_checkpoint, load_model
from worldmodel.config import ConfigError
from worldmodel.data.loader import DataError, held_out, open_windows
from worldmodel.data.window_config import WindowConfig
from worldmodel.files.atomic import write_json
from worldmodel.files.folder_lock import FolderLockError
from worldmodel.files.output_mark import mark_output
from worldmodel.files.outputs import ForeignFileError, output_folder
from worldmodel.manifest import ManifestError
from worldmodel.models import TrainedModel
from worldmodel.models.decoder import Decoder
from worldmodel.models.world_model import FrameWise, ReachError, WorldModel
from worldmodel.process.arguments import above_zero, check_text, count, number
from worldmodel.process.commit import commit
from worldmodel.process.devices import add_device
from worldmodel.process.terminal import say
from worldmodel.recipe import Recipe
from worldmodel.render import horizon_curve, save_figure, write_gallery
from worldmodel.render.rollouts import KINDS, card_of, rollout_names, write_rollout
from worldmodel.rollouts.continuations import step_errors
from worldmodel.rollouts.decoder_fitting import fit_decoder, load_decoder
from worldmodel.rollouts.nearest import TrainingFrames, training_frames
from worldmodel.rollouts.prediction import error_curves, roll_out
from worldmodel.runs.held_out import load_held_out
from worldmodel.runs.run_data import RunData, find_data, run_folder_of
from worldmodel.video import VideoError, probe
from worldmodel.video.square import read_square

PAGE = ("gallery.html", "horizon.png", "horizon.json")
_CURVE_WINDOWS = 64  # held-out windows behind the curve of errors


class RolloutError(ValueError):
    """A rollout that cannot be made; says what was asked and what is possible."""


# --- which clips -----------------------------------------------------------------------------------------------------
def clip_frames(path: str, model: WorldModel, window: WindowConfig, start_s: float, seconds: float) -> np.ndarray:
    """The centre square of a file at the pace and size the model was trained at: uint8 [T, S, S, 3], T a multiple of f."""
    info = probe(path)
    fps = model.fps if window.stride_frames is None else info.fps / window.stride_frames
    left_s = info.duration_s - start_s
    count = int(min(seconds, left_s) * fps + 1e-6) // model.tubelet_size * model.tubelet_size
    if count < 2 * model.tubelet_size:
        raise RolloutError(
            f"{path}: {max(0.0, left_s):.2f} s are left from {start_s:g} s on; that is less than two latent steps"
        )
    times = start_s + np.arange(count) / fps
    return read_square(path, model.size_px, "crop", times_s=times, timing=info.timing)


def context_of(model: WorldModel, context_s: float | None, frames: int) -> int:
    """Frames of context: as asked, else a third of the window."""
    f = model.tubelet_size
    wanted = model.max_context // 3 if context_s is None else round(context_s * model.fps)
    context = max(f, wanted // f * f)
    if not context < frames or context > model.max_context:
        raise RolloutError(
            f"a context of {context} frames ({context / model.fps:.2f} s) does not do: the clip has {frames} frames at "
            f"{model.fps:g} fps, the model sees at most {model.max_context}"
        )
    return context


def held_windows(recipe: Recipe, data: RunData, checkpoint: Checkpoint) -> tuple[torch.Tensor | None, str]:
    """Held-out windows uint8 [B, T, S, S, 3] and, where they are not of the run's data, the reason.

    Those that the run folder keeps stand in for data that is missing or cannot be read; None where there are none.
    """
    missing = "; ".join(data.missing)
    if not missing:
        try:
            held = open_windows(recipe.data, recipe.window, recipe.seed, crops=False)[1]
            return held_out(held, _CURVE_WINDOWS).frames, ""
        except DataError as error:
            missing = str(error)
    return load_held_out(run_folder_of(checkpoint)), missing


def decoder_of(
    checkpoint: Checkpoint, model: WorldModel, recipe: Recipe, device: torch.device, can_train: bool
) -> Decoder | None:
    """The checkpoint's decoder; trained now where it has none and may be, else None."""
    decoder = load_decoder(checkpoint, model, recipe, device)
    if decoder is None and can_train:
        say("this checkpoint has no decoder yet; training one on the frozen latents")
        decoder = fit_decoder(checkpoint.folder, device, updates=recipe.decoder.max_steps or 600, data=recipe.data)
    return decoder


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m worldmodel.rollout", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="run folder (its best checkpoint) or a checkpoint folder")
    parser.add_argument("--clip", nargs="+", default=[], metavar="FILE", help="films to imagine on (default: held-out ones)")
    parser.add_argument("--count", type=count(1, _CURVE_WINDOWS), default=3, metavar="N", help="held-out windows")
    parser.add_argument("--data", nargs="+", default=[], metavar="M.parquet", help="the run's manifests, where they were moved")
    parser.add_argument("--start-s", type=number(0, what="seconds"), default=0.0, help="where in the clip to begin")
    parser.add_argument(
        "--seconds", type=above_zero("seconds"), default=20.0, help="how much of the clip, at most (default 20)"
    )
    parser.add_argument(
        "--context-s", type=above_zero("seconds"), help="how much of it is seen (default: a third of the model's window)"
    )
    parser.add_argument("--samples", type=count(1, 8), default=1, metavar="N", help="continuations a clip in the gallery, to 8")
    parser.add_argument("--no-decoder", action="store_true", help="train no decoder where the checkpoint has none")
    parser.add_argument("--out", type=Path, help="folder (default: RUN/films)")
    add_device(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    parser = argument_parser()
    args = parser.parse_args(argv)
    check_text(parser, args)
    interrupts.raise_from_now_on()
    try:
        write_films(args)
    except KeyboardInterrupt:
        return interrupts.stopped("rollout", "the same command begins again")
    except (RolloutError, ReachError, CheckpointError, ConfigError, ManifestError, DataError, VideoError, OSError) as error:
        say(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    except (FolderLockError, ForeignFileError) as error:
        say(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    return 0


def write_films(args: argparse.Namespace) -> None:
    """All that one call makes; prints the paths."""
    checkpoint = find_checkpoint(args.run)
    out = args.out or checkpoint.folder.parent.parent / "films"
    names = list(rollout_names(args.clip).values()) or [f"held_out_{i}" for i in range(args.count)]
    earlier = args.out is None and "data" not in checkpoint.state  # a run of a version that kept no record of its files
    mark_output(out, "python -m worldmodel.rollout")
    with output_folder(out, [*(f"{name}.{kind}" for name in names for kind in KINDS), *PAGE], adopt=earlier):
        write_into(out, checkpoint, args)


def write_into(out: Path, checkpoint: Checkpoint, args: argparse.Namespace) -> None:
    """All that one call makes, into a folder that is ours."""
    device = torch.device(args.device)
    model, recipe = load_model(checkpoint.folder, device)
    data = find_data(recipe, checkpoint, args.data)
    if args.data or data.complete:
        recipe = data.recipe(recipe)
    held, missing = held_windows(recipe, data, checkpoint)
    if args.data and missing:
        raise RolloutError(missing)
    if held is None and not args.clip:
        raise RolloutError(f"no held-out windows: {missing}. Give the run's manifest by --data M.parquet, or --clip FILE")
    has_films = not missing
    decoder = decoder_of(checkpoint, model, recipe, device, can_train=has_films and not args.no_decoder)
    clips = [
        (name, clip_frames(path, model, recipe.window, args.start_s, args.seconds))
        for path, name in rollout_names(args.clip).items()
    ]
    train, residuals = None, None
    if held is not None:
        clips = clips or [(f"held_out_{i}", film.numpy()) for i, film in enumerate(held[: args.count])]
    contexts = [context_of(model, args.context_s, len(frames)) for _, frames in clips]  # says at once what cannot be
    if has_films:
        train = training_frames(model, recipe, device)
    if held is not None and args.samples > 1 and isinstance(model, FrameWise):
        residuals = step_errors(model, held, device)

    source = source_of(checkpoint)
    cards = []
    for (name, frames), context in zip(clips, contexts, strict=True):
        rollout = roll_out(model, decoder, frames, context, name, device, train, args.samples, residuals)
        say(out / write_rollout(rollout, out, model.fps)["mp4"])
        about = f"{context / model.fps:.2g} s seen, {(len(frames) - context) / model.fps:.2g} s imagined; {source}"
        cards.append(card_of(rollout, model.fps, about))
    notes = gallery_notes(decoder, train, args.samples, residuals, missing, 0 if held is None or has_films else len(held))
    for note in notes:
        if note.startswith(("No ", "The held-out")):
            say(note)
    title = f"What {checkpoint.folder.parent.parent.name} imagines"
    say(write_gallery(out / "gallery.html", title, error_name(model), source, cards, notes))
    if held is None:
        say("no curve of errors: there are no held-out windows")
        return
    context = context_of(model, args.context_s, held.shape[1])
    write_curve(error_curves(model, held, context, device), model, context, len(held), source, out)
    say(out / "horizon.png")


def gallery_notes(
    decoder: Decoder | None,
    train: TrainingFrames | None,
    samples: int,
    residuals: torch.Tensor | None,
    missing: str = "",
    stored: int = 0,
) -> list[str]:
    """How to read the page, and what is not on it and why; a line each.

    missing: why the run's data is not used; stored: how many held-out windows of the run folder are used instead.
    """
    notes = ["Latents: three principal components of what came, the same axes for every moment and for what was imagined."]
    if decoder is None:
        stand_in = "" if train is None else "; the nearest training frame stands in for the picture"
        notes.append(f"No decoder: what was imagined cannot be drawn{stand_in}.")
    if train is None:
        notes.append(f"No nearest training frame: {missing}. Where the run's data lies elsewhere, name its manifest by --data.")
    else:
        notes.append(
            f"Nearest training frame: by the model's own distance between latents, among {len(train.latents)} latent steps of "
            f"{train.windows} of {train.of} training windows."
        )
    if stored:
        notes.append(f"The held-out windows are the {stored} that the run folder keeps, since the run's data is not here.")
    if samples > 1 and decoder is not None and residuals is not None:
        notes.append(
            "Other continuations: this model has no randomness of its own. At each step an error is drawn, normal with the "
            f"covariance of {len(residuals)} errors it made one step ahead on held-out windows, and fed back."
        )
    elif samples > 1:
        if decoder is None:
            reason = "there is no decoder to draw them"
        elif train is None and not stored:
            reason = "there are no held-out videos to take the model's errors from"
        else:
            reason = "latents of this family depend on the whole window and cannot be fed back with an error"
        notes.append(f"No other continuations: {reason}.")
    return notes


def source_of(checkpoint: Checkpoint) -> str:
    """For captions: run, update and commit."""
    made = commit()
    return f"{checkpoint.folder.parent.parent.name}, update {checkpoint.update}{f', commit {made}' if made else ''}"


def error_name(model: TrainedModel) -> str:
    return {"l2": "squared", "l1": "absolute", "smooth_l1": "smooth L1"}[model.config.distance] + " latent error"


def write_curve(
    curves: dict[str, list[float]], model: TrainedModel, context: int, windows: int, source: str, out: Path
) -> None:
    """horizon.png and the numbers behind it, horizon.json."""
    step_s = model.tubelet_size / model.fps
    horizons_s = [step_s * (k + 1) for k in range(len(curves["copy"]))]
    caption = f"{windows} held-out windows, {context / model.fps:.2g} s seen; {source}"
    save_figure(horizon_curve(horizons_s, curves, quantity=error_name(model), caption=caption), out / "horizon.png")
    finite = {name: [None if np.isnan(v) else v for v in values] for name, values in curves.items()}
    write_json(
        out / "horizon.json", {"horizons_s": horizons_s, "error": finite, "windows": windows, "context_s": context / model.fps}
    )


if __name__ == "__main__":
    sys.exit(main())
