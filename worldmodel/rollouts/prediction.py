"""Roll a model out on a clip, and compute errors by horizon. Pictures of rollouts: worldmodel/render/rollouts.py."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from worldmodel.models.condition import condition_arguments
from worldmodel.models.decoder import Decoder
from worldmodel.models.world_model import WorldModel
from worldmodel.render.rollouts import Rollout
from worldmodel.rollouts.actions import RolloutActions, shown_actions, with_other_actions
from worldmodel.rollouts.continuations import sample_continuation
from worldmodel.rollouts.nearest import TrainingFrames, nearest_frames


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
    actions: RolloutActions | None = None,
) -> Rollout:
    """Predict everything that follows the first `context_frames` of uint8 [T, S, S, 3] by feeding predictions back.

    decoder: draws the latents as frames. train: training frames among which the nearest to each predicted step is found.
    samples: number of continuations. The first is the model's own prediction; in the others an error drawn from `residuals`
    is added at each step. They need a decoder. actions: of a model that takes them; None: it gets their mean.
    """
    f = model.tubelet_size
    pixels = model.normalise(torch.from_numpy(frames)[None].to(device))
    target = model.encode(pixels)
    context_steps, context = context_frames // f, pixels[:, :context_frames]
    steps = target.shape[1] - context_steps
    recorded = None if actions is None else actions.recorded[None].to(device)
    prediction = torch.cat((target[:, :context_steps], model.rollout(context, steps, **condition_arguments(recorded))), dim=1)
    error = model.distance(prediction, target)
    continuations = []
    if decoder is not None and residuals is not None:
        for seed in range(1, samples):
            generator = torch.Generator().manual_seed(seed)
            future = sample_continuation(model, context, steps, residuals, generator, recorded)  # type: ignore[arg-type]
            continuations.append(decode_frames(decoder, torch.cat((target[:, :context_steps], future), dim=1)))
    nearest, nearest_distance = (None, None) if train is None else nearest_frames(model, train, prediction)
    decode = None if decoder is None else partial(decode_frames, decoder)
    find = None if train is None else partial(nearest_frames, model, train)
    return Rollout(
        name=name,
        frames=frames,
        context_frames=context_frames,
        times_s=np.arange(len(frames)) / model.fps,
        target=_first_clip(target),
        prediction=_first_clip(prediction),
        error=_first_clip(error),
        decoded=None if decode is None else decode(prediction),
        samples=tuple(continuations),
        nearest=nearest,
        nearest_distance=nearest_distance,
        actions=None if actions is None else shown_actions(model, actions, context, target, decode, find),
    )


def decode_frames(decoder: Decoder, latents: Tensor) -> np.ndarray:
    """Draw latents [1, T/f, N, D] as uint8 [T, s, s, 3]."""
    return decoder(latents)[0].mul(255).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def _first_clip(values: Tensor) -> np.ndarray:
    return values[0].float().cpu().numpy()


@torch.no_grad()
def error_curves(
    model: WorldModel, windows: Tensor, context_frames: int, device: torch.device, actions: Tensor | None = None
) -> dict[str, list[float]]:
    """Compute the mean error at each latent step after the context over held-out windows, uint8 [B, T, S, S, 3].

    rollout: predictions are fed back. direct: all steps are forecast at once; NaN beyond the longest horizon of the model.
    copy: the last latent of the context is repeated. mean: the best constant per token, fitted to the targets themselves.
    With `actions` [B, T - 1, k * A], the forecasts are those for the recorded actions; "other actions": the rollout for the
    actions of another window.
    """
    f = model.tubelet_size
    context_steps = context_frames // f
    names = ("rollout", "direct", "copy", *(() if actions is None else ("other actions",)))
    parts: dict[str, list[Tensor]] = {name: [] for name in names}
    other = None if actions is None else with_other_actions(actions, context_frames)
    targets = []
    for rows in torch.arange(len(windows)).split(16):
        pixels = model.normalise(windows[rows].to(device))
        context, target = pixels[:, :context_frames], model.encode(pixels)[:, context_steps:]
        steps = target.shape[1]
        given = condition_arguments(None if actions is None else actions[rows].to(device))
        reached = min(steps, model.max_horizon)
        ahead = {name: some[:, : context_frames - 1 + reached * f] for name, some in given.items()}
        direct = model.forecast(context, reached, **ahead)
        direct = F.pad(direct, (0, 0, 0, 0, 0, steps - direct.shape[1]), value=float("nan"))
        parts["rollout"].append(model.distance(model.rollout(context, steps, **given), target))
        parts["direct"].append(model.distance(direct, target))
        last = model.encode(context)[:, -1:]  # from the context alone: latents of a whole window may depend on later frames
        parts["copy"].append(model.distance(last.expand_as(target), target))
        if other is not None:
            predicted = model.rollout(context, steps, **condition_arguments(other[rows].to(device)))
            parts["other actions"].append(model.distance(predicted, target))
        targets.append(target)
    target = torch.cat(targets)
    errors = {name: torch.cat(values) for name, values in parts.items()}
    mean = target.mean(dim=0, keepdim=True).mean(dim=1, keepdim=True)
    errors["mean"] = model.distance(mean.expand_as(target), target)
    order = ("rollout", "copy", "mean", "direct", *names[3:])  # figures colour the baselines by position
    return {name: errors[name].cpu().double().mean(dim=(0, 2)).tolist() for name in order}
