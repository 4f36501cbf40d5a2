"""Data passed from models to objectives: latents, and pairs of forecast and target, for every model family."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class LatentSizes:
    """Sizes of a model's outputs for one window. They follow from the config, before the model is built."""

    steps: int  # largest number of latent time steps that the trained encoder sees
    tokens: int  # spatial tokens N of a time step
    features: int  # of a latent
    target_features: int  # of a forecast and its target; they differ from `features` where targets are pixels
    targets_per_horizon: int  # largest number of target time steps of a clip at one spatial token and horizon
    horizons: int | None  # forecasts have horizons 1..K; None where they have no horizons
    action: int = 0  # numbers of the action from a time step to the next; 0: the model takes none
    tokens_kept: float = 1.0  # share of the tokens of a clip that training uses


@dataclass(frozen=True)
class Latents:
    """Latents of one batch and the forecasts made from them.

    Shapes: B clips, T time steps, N spatial tokens, D features; R rows, one per forecast (clip, time step, token, horizon).
    Forecasts are rows instead of a dense array, so that several horizons and ragged masks have one layout. If each clip
    has V views (masks), `context` holds V*B clips: row v*B + b is view v of clip b.
    """

    context: Tensor  # [B, T, N, D] latents of the trained encoder, with gradient
    context_mask: Tensor  # [B, T, N] bool, True where `context` holds a latent
    predicted: Tensor  # [R, D]
    target: Tensor  # [R, D]
    clip: Tensor  # [R] int64: index of the clip in the batch
    time: Tensor  # [R] int64: time step of the target
    token: Tensor  # [R] int64: spatial token of the target
    horizon: Tensor  # [R] int64: time steps from the last visible one to the target; 0 = filled in between visible tokens
    is_rollout: Tensor  # [R] bool: made by feeding predictions back, not directly from the context
    step_seed: int = 0  # random number of the training step, the same on all ranks and micro-batches
    # [B] int64: ids of the windows, unique within the global batch; None: this batch is the global batch
    window_ids: Tensor | None = field(default=None, kw_only=True)
    # [R] bool: forecasts that the forecast loss counts; None: all
    scored: Tensor | None = field(default=None, kw_only=True)
    # [B, T - 1, A] normalised actions from each time step to the next; None: the model takes no actions
    actions: Tensor | None = field(default=None, kw_only=True)
