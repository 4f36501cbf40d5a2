"""Sums over latents and forecasts of held-out windows. They are float64 on the CPU, so that merged batches equal one batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import einsum, rearrange
from torch import Tensor


class NotFiniteError(RuntimeError):
    """Loss, gradient or latents became NaN or infinite; the message says where and what to do."""


@dataclass(frozen=True)
class Moments:
    """Over R rows (windows x time steps) at each of N spatial tokens, with D features and K horizons."""

    rows: int
    mean: Tensor  # [N, D] mean latent of each token
    scatter: Tensor  # [D, D] centred Gram matrix, each token about its own mean, summed over tokens
    targets: Tensor  # [K] number of rows that were forecast; the sums below are over them, tokens and features
    target_mean: Tensor  # [K, N, D] over those rows
    mean_error: Tensor  # [K] squared distance from the target to that mean
    copy_error: Tensor  # [K] squared distance from the target to the last latent of the context
    error: Tensor  # [K] squared distance from the target to the forecast
    moved: Tensor  # [K] squared distance from the last latent of the context to the forecast


def compute_moments(latents: Tensor, forecasts: Tensor) -> Moments:
    """Compute the moments of one batch: target latents [B, T, N, D] and direct forecasts [B, T, K, N, D].

    forecasts[:, t, k - 1], made from latents up to t, is for latents[:, t + k]; it is ignored where t + k >= T. Raises
    ValueError where the shapes do not match, NotFiniteError for NaN or infinity.
    """
    _check_shapes(latents, forecasts)
    latents = latents.detach().cpu().double()
    mean = latents.mean((0, 1))
    content = latents - mean
    sums = []
    for k in range(1, forecasts.shape[2] + 1):
        last, target, forecast = latents[:, :-k], latents[:, k:], forecasts[:, :-k, k - 1].detach().cpu().double()
        target_mean = target.mean((0, 1))
        pairs = [(target, target_mean), (target, last), (target, forecast), (forecast, last)]
        sums.append((target_mean, *((a - b).square().sum() for a, b in pairs)))
    target_means, mean_errors, copy_errors, errors, moved = map(torch.stack, zip(*sums, strict=True))
    if not (mean.isfinite().all() and errors.isfinite().all()):
        raise NotFiniteError(
            "latents or forecasts of held-out windows are NaN or infinite: training has diverged. The last checkpoint was "
            "saved before; lower optim.lr or optim.clip_norm"
        )
    windows, steps = latents.shape[:2]
    return Moments(
        rows=windows * steps,
        mean=mean,
        scatter=einsum(content, content, "b t n d, b t n e -> d e"),
        targets=windows * (steps - torch.arange(1, len(errors) + 1, dtype=torch.float64)),
        target_mean=target_means,
        mean_error=mean_errors,
        copy_error=copy_errors,
        error=errors,
        moved=moved,
    )


def _check_shapes(latents: Tensor, forecasts: Tensor) -> None:
    windows, steps, tokens, features = latents.shape
    if forecasts.ndim != 5 or forecasts.shape[:2] + forecasts.shape[3:] != latents.shape:
        raise ValueError(
            f"latents {tuple(latents.shape)} are [B, T, N, D], so forecasts must be "
            f"[{windows}, {steps}, K, {tokens}, {features}], not {tuple(forecasts.shape)}"
        )
    if not 1 <= forecasts.shape[2] < steps:
        raise ValueError(f"forecasts of {forecasts.shape[2]} steps have no targets in windows of {steps} latent steps")


def merge_moments(one: Moments, other: Moments) -> Moments:
    """Return the moments of both batches together (Chan, Golub & LeVeque 1983)."""
    rows, targets = one.rows + other.rows, one.targets + other.targets
    difference, target_difference = other.mean - one.mean, other.target_mean - one.target_mean
    weight = one.targets * other.targets / targets
    return Moments(
        rows=rows,
        mean=one.mean + difference * (other.rows / rows),
        scatter=one.scatter + other.scatter + difference.T @ difference * (one.rows * other.rows / rows),
        targets=targets,
        target_mean=one.target_mean + target_difference * rearrange(other.targets / targets, "k -> k 1 1"),
        mean_error=one.mean_error + other.mean_error + target_difference.square().sum((1, 2)) * weight,
        copy_error=one.copy_error + other.copy_error,
        error=one.error + other.error,
        moved=one.moved + other.moved,
    )
