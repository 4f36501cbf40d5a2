"""Roll a model out on a clip, and compute errors by horizon. Pictures of rollouts: worldmodel/render/rollouts.py."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from worldmodel.models.decoder import Decoder
from worldmodel.models.world_model import WorldModel
from worldmodel.render.rollouts import Rollout
from worldmodel.rollouts.continuations import sample_continuation
from worldmodel.rollouts.nearest import TrainingFrames, nearest_latents


@torch.no_grad()
def roll_out(
    model: WorldModel,
    decoder: Decoder | None,
    frames: np.ndarray,
    context_frames: int,
    name: str,
    device: torch.device,
    train: TrainingFrames | None = None,
    samples: int = 1,
    residuals: Tensor | None = None,
) -> Rollout:
    """Predict everything that follows the first `context_frames` of uint8 [T, S, S, 3] by feeding predictions back.

    decoder: draws the latents as frames. train: training frames among which the nearest to each predicted step is found.
    samples: number of continuations. The first is the model's own prediction; in the others an error drawn from `residuals`
    is added at each step. They need a decoder.
    """
    f = model.tubelet_size
    pixels = model.normalise(torch.from_numpy(frames)[None].to(device))
    target = model.encode(pixels)
    context_steps, context = context_frames // f, pixels[:, :context_frames]
    steps = target.shape[1] - context_steps
    prediction = torch.cat((target[:, :context_steps], model.rollout(context, steps)), dim=1)
    error = model.distance(prediction, target)
    continuations = []
    if decoder is not None and residuals is not None:
        for seed in range(1, samples):
            generator = torch.Generator().manual_seed(seed)
            future = sample_continuation(model, context, steps, residuals, generator)  # type: ignore[arg-type]
            continuations.append(decode_frames(decoder, torch.cat((target[:, :context_steps], future), dim=1)))
    nearest, nearest_distance = None, None
    if train is not None:
        index, distance = nearest_latents(prediction[0].cpu().float(), train.latents.float(), model.distance)
        nearest, nearest_distance = train.frames[index.numpy()].reshape(-1, *frames.shape[1:]), distance.numpy()
    return Rollout(
        name=name,
        frames=frames,
        context_frames=context_frames,
        times_s=np.arange(len(frames)) / model.fps,
        target=_first_clip(target),
        prediction=_first_clip(prediction),
        error=_first_clip(error),
        decoded=None if decoder is None else decode_frames(decoder, prediction),
        samples=tuple(continuations),
        nearest=nearest,
        nearest_distance=nearest_distance,
    )


def decode_frames(decoder: Decoder, latents: Tensor) -> np.ndarray:
    """Draw latents [1, T/f, N, D] as uint8 [T, s, s, 3]."""
    return decoder(latents)[0].mul(255).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def _first_clip(values: Tensor) -> np.ndarray:
    return values[0].float().cpu().numpy()


@torch.no_grad()
def error_curves(model: WorldModel, windows: Tensor, context_frames: int, device: torch.device) -> dict[str, list[float]]:
    """Compute the mean error at each latent step after the context over held-out windows, uint8 [B, T, S, S, 3].

    rollout: predictions are fed back. direct: all steps are forecast at once; NaN beyond the longest horizon of the model.
    copy: the last latent of the context is repeated. mean: the best constant per token, fitted to the targets themselves.
    """
    f = model.tubelet_size
    context_steps = context_frames // f
    parts: dict[str, list[Tensor]] = {name: [] for name in ("rollout", "direct", "copy")}
    targets = []
    for frames in windows.split(16):
        pixels = model.normalise(frames.to(device))
        context, target = pixels[:, :context_frames], model.encode(pixels)[:, context_steps:]
        steps = target.shape[1]
        direct = model.forecast(context, min(steps, model.max_horizon))
        direct = F.pad(direct, (0, 0, 0, 0, 0, steps - direct.shape[1]), value=float("nan"))
        parts["rollout"].append(model.distance(model.rollout(context, steps), target))
        parts["direct"].append(model.distance(direct, target))
        last = model.encode(context)[:, -1:]  # from the context alone: latents of a whole window may depend on later frames
        parts["copy"].append(model.distance(last.expand_as(target), target))
        targets.append(target)
    target = torch.cat(targets)
    errors = {name: torch.cat(values) for name, values in parts.items()}
    mean = target.mean(dim=0, keepdim=True).mean(dim=1, keepdim=True)
    errors["mean"] = model.distance(mean.expand_as(target), target)
    order = ("rollout", "copy", "mean", "direct")  # figures colour the baselines by position
    return {name: errors[name].cpu().double().mean(dim=(0, 2)).tolist() for name in order}
