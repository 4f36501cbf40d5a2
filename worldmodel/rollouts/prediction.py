"""What a model imagines of a clip, and how wrong it is, as arrays. Pictures of it: worldmodel/render/rollouts.py."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from worldmodel.models.decoder import Decoder
from worldmodel.models.world_model import WorldModel
from worldmodel.render.rollouts import Rollout
from worldmodel.rollouts.continuations import continuation
from worldmodel.rollouts.nearest import TrainingFrames, nearest


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
    residuals: torch.Tensor | None = None,
) -> Rollout:
    """Imagine all that follows the first `context_frames` of uint8 [T, S, S, 3].

    The first of `samples` continuations is the model's own, the others have errors drawn from `residuals`.
    """
    f = model.tubelet_size
    pixels = model.normalise(torch.from_numpy(frames)[None].to(device))
    target = model.encode(pixels)
    seen, context = context_frames // f, pixels[:, :context_frames]
    steps = target.shape[1] - seen
    imagined = torch.cat((target[:, :seen], model.imagine(context, steps)), dim=1)
    error = model.distance(imagined, target)
    others = []
    if decoder is not None and residuals is not None:
        for seed in range(1, samples):
            future = continuation(model, context, steps, residuals, torch.Generator().manual_seed(seed))  # type: ignore[arg-type]
            others.append(draw(decoder, torch.cat((target[:, :seen], future), dim=1)))
    closest, closest_error = None, None
    if train is not None:
        which, far = nearest(imagined[0].cpu().float(), train.latents.float(), model.distance)
        closest, closest_error = train.frames[which.numpy()].reshape(-1, *frames.shape[1:]), far.numpy()
    target_, imagined_, error_ = (x[0].float().cpu().numpy() for x in (target, imagined, error))
    return Rollout(
        name,
        frames,
        context_frames,
        np.arange(len(frames)) / model.fps,
        target_,
        imagined_,
        error_,
        None if decoder is None else draw(decoder, imagined),
        tuple(others),
        closest,
        closest_error,
    )


def draw(decoder: Decoder, latents: torch.Tensor) -> np.ndarray:
    """[1, T/f, N, D] -> uint8 [T, s, s, 3]."""
    return decoder(latents)[0].mul(255).round().byte().permute(0, 2, 3, 1).cpu().numpy()


@torch.no_grad()
def error_curves(model: WorldModel, held: torch.Tensor, context_frames: int, device: torch.device) -> dict[str, list[float]]:
    """Mean error at each latent step after the context, of the model and its baselines, over held-out windows.

    held: uint8 [B, T, S, S, 3]. imagined: predictions fed back; direct: asked at once, NaN beyond the model's reach;
    copy: the last latent seen; mean: the best constant per place, in hindsight.
    """
    f = model.tubelet_size
    seen = context_frames // f
    parts: dict[str, list[torch.Tensor]] = {name: [] for name in ("imagined", "direct", "copy")}
    targets = []
    for frames in held.split(16):
        pixels = model.normalise(frames.to(device))
        target = model.encode(pixels)
        context, ahead = pixels[:, :context_frames], target[:, seen:]
        steps = ahead.shape[1]
        direct = model.forecast(context, min(steps, model.max_steps))
        direct = F.pad(direct, (0, 0, 0, 0, 0, steps - direct.shape[1]), value=float("nan"))
        parts["imagined"].append(model.distance(model.imagine(context, steps), ahead))
        parts["direct"].append(model.distance(direct, ahead))
        last = model.encode(context)[:, -1:]  # of the context alone: within the window it may have seen what came
        parts["copy"].append(model.distance(last.expand_as(ahead), ahead))
        targets.append(ahead)
    ahead = torch.cat(targets)
    errors = {name: torch.cat(values) for name, values in parts.items()}
    errors["mean"] = model.distance(ahead.mean(dim=0, keepdim=True).mean(dim=1, keepdim=True).expand_as(ahead), ahead)
    return {name: error.cpu().double().mean(dim=(0, 2)).tolist() for name, error in errors.items()}
