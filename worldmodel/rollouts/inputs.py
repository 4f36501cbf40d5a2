"""Inputs of a rollout: the frames of clips, the length of the context, held-out windows and the decoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldmodel.checkpoint import Checkpoint
from worldmodel.data.loader import DataError, open_windows, read_fixed_batch
from worldmodel.data.window_config import WindowConfig
from worldmodel.models.decoder import Decoder
from worldmodel.models.world_model import WorldModel
from worldmodel.process.terminal import print_escaped
from worldmodel.recipe import Recipe
from worldmodel.rollouts.actions import RolloutActions, with_other_actions
from worldmodel.rollouts.decoder_fitting import fit_decoder, load_decoder
from worldmodel.runs.action_statistics import signal_sizes
from worldmodel.runs.held_out import load_held_out, load_held_out_actions
from worldmodel.runs.run_data import RunData, run_folder_of
from worldmodel.video import inspect_video
from worldmodel.video.geometry import read_square_frames

MAX_HELD_OUT_WINDOWS = 64  # over which errors are averaged
DECODER_STEPS = 600  # if the recipe itself trains no decoder


class RolloutError(ValueError):
    """A rollout that cannot be made. The message says what was requested and what is possible."""


def read_clip(path: str, model: WorldModel, window: WindowConfig, start_s: float, duration_s: float) -> np.ndarray:
    """Read the centre square of a file at the model's frame rate and size: uint8 [T, S, S, 3], T a multiple of f.

    Reads at most `duration_s` from `start_s` on. Raises RolloutError if that is less than two latent steps, and VideoError.
    """
    info = inspect_video(path)
    fps = model.fps if window.stride_frames is None else info.fps / window.stride_frames
    remaining_s = info.duration_s - start_s
    count = int(min(duration_s, remaining_s) * fps + 1e-6) // model.tubelet_size * model.tubelet_size
    if count < 2 * model.tubelet_size:
        raise RolloutError(
            f"{path}: {max(0.0, remaining_s):.2f} s remain after {start_s:g} s; that is less than two latent steps"
        )
    times = start_s + np.arange(count) / fps
    return read_square_frames(path, model.size_px, "center_crop", times_s=times, timing=info.timing)


def context_length(model: WorldModel, context_s: float | None, frames: int) -> int:
    """Context of a clip in frames: as requested, by default a third of the longest context. Raises RolloutError."""
    f = model.tubelet_size
    requested = model.max_context // 3 if context_s is None else round(context_s * model.fps)
    context = max(f, requested // f * f)
    if not context < frames or context > model.max_context:
        raise RolloutError(
            f"a context of {context} frames ({context / model.fps:.2f} s) is not possible: the clip has {frames} frames at "
            f"{model.fps:g} fps, and the longest context of the model is {model.max_context} frames"
        )
    return context


@dataclass(frozen=True)
class HeldOut:
    """Held-out windows."""

    frames: Tensor  # uint8 [B, T, S, S, 3]
    actions: Tensor | None  # [B, T - 1, k * A] between the frames; None where the model takes none, or they are not known

    def rollout_actions(self, contexts: Sequence[int]) -> list[RolloutActions] | None:
        """The actions of the first windows, with those of other windows after the context; None where they are not known.

        contexts: length of the context of each window, in frames.
        """
        if self.actions is None:
            return None
        return [
            RolloutActions(self.actions[number], with_other_actions(self.actions, context)[number])
            for number, context in enumerate(contexts)
        ]


def held_out_windows(recipe: Recipe, data: RunData, checkpoint: Checkpoint) -> tuple[HeldOut | None, str]:
    """Read held-out windows; return them and why they are not read from the run's data, if so.

    If the data are missing or cannot be read, the windows that the run folder stores are used; None if there are none.
    """
    missing, sizes = "; ".join(data.missing), signal_sizes(recipe)
    if not missing:
        try:
            windows = open_windows(recipe.data, recipe.window, recipe.seed, crops=False, signals=sizes)[1]
            batch = read_fixed_batch(windows, MAX_HELD_OUT_WINDOWS)
            return HeldOut(batch.frames, batch.actions), ""
        except DataError as error:
            missing = str(error)
    run = run_folder_of(checkpoint)
    frames, actions = load_held_out(run), None
    if frames is None:
        return None, missing
    if sizes is not None:
        actions = load_held_out_actions(run, (len(frames), frames.shape[1] - 1, sizes.actions_per_step * sizes.action))
    return HeldOut(frames, actions), missing


def checkpoint_decoder(
    checkpoint: Checkpoint, model: WorldModel, recipe: Recipe, device: torch.device, may_train: bool
) -> Decoder | None:
    """Load the checkpoint's decoder. If there is none, train it now if `may_train`, else return None."""
    decoder = load_decoder(checkpoint, model, recipe, device)
    if decoder is None and may_train:
        print_escaped("this checkpoint has no decoder yet; training one on the frozen latents")
        steps = recipe.decoder.max_steps or DECODER_STEPS
        decoder = fit_decoder(checkpoint.folder, device, steps=steps, data=recipe.data)
    return decoder
