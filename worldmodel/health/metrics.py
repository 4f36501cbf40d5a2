"""Health metrics: is there collapse, and are forecasts better than the baselines? The loss alone does not show it.

"Content" means latents centred at each spatial token: latents that encode only their position would otherwise pass the tests
of variance, covariance and rank.

The metrics cannot tell whether the content is useful. Harmonics of one scalar (the angle of a screen) have full variance, no
correlation and full rank, and features that are easy to predict give a high skill. Probes measure what latents encode.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan, nan

import torch
from einops import einsum
from torch import Tensor

from worldmodel.health.moments import Moments


@dataclass(frozen=True)
class HealthMetrics:
    """Tuples have one value per horizon. NaN: undefined (0 / 0)."""

    max_rank: int  # largest possible effective rank: D, or less if there are fewer rows
    effective_rank: float  # RankMe of the content: 1 to max_rank, and 0 if nothing varies
    effective_rank_with_position: float  # RankMe of the latents centred by one common mean, so that position counts too
    position_fraction: float  # fraction of the total variance that the spatial token alone explains
    size: float  # root mean square of the latents
    total_std: float  # root mean square of latents centred by one common mean, so that position counts too
    std_min: float  # standard deviation of the content, minimum over features
    std_mean: float  # the same, mean over features
    corr_offdiag: float  # mean squared correlation between two features of the content
    horizons_s: tuple[float, ...]
    skill_copy: tuple[float, ...]  # 1 - error / error of copying the last latent
    skill_mean: tuple[float, ...]  # 1 - error / error of the mean, the best constant of each spatial token
    change: float  # squared change of latents over a horizon / that between unrelated time steps
    moved: float  # squared distance from the last latent to the forecast / squared change of latents

    @property
    def skill(self) -> tuple[float, ...]:
        """Skill against the better baseline: the minimum of skill_copy and skill_mean, NaN if one of them is NaN."""
        pairs = zip(self.skill_copy, self.skill_mean, strict=True)
        return tuple(copy + mean if isnan(copy + mean) else min(copy, mean) for copy, mean in pairs)


def compute_metrics(moments: Moments, *, fps: float, tubelet_size: int = 1) -> HealthMetrics:
    """Compute health metrics; fps is that of the frames that the model saw. Raises ValueError for a single row.

    The mean baseline is the mean of the forecast targets themselves at each spatial token: the best constant in hindsight. It
    favours the baseline by about 1 / windows, never the model. The mean of training latents would be a weaker baseline, which
    any forecast beats if the held-out videos merely differ from the training videos.
    """
    if moments.rows < 2:
        raise ValueError("one latent per spatial token has no variance; hold out more windows")
    tokens, features = moments.mean.shape
    values = moments.rows * tokens * features
    centre = moments.mean.mean(0)
    position = moments.rows * (moments.mean - centre).T @ (moments.mean - centre)
    total = moments.scatter.trace() + position.trace()
    degrees_of_freedom = tokens * (moments.rows - 1)
    std = (moments.scatter.diagonal() / degrees_of_freedom).sqrt()
    unrelated_change = 2 * moments.mean_error  # squared distance of two unrelated time steps: twice the variance
    return HealthMetrics(
        max_rank=min(features, degrees_of_freedom),
        effective_rank=effective_rank(moments.scatter),
        effective_rank_with_position=effective_rank(moments.scatter + position),
        position_fraction=(position.trace() / total).item(),
        size=(total / values + centre.square().mean()).sqrt().item(),
        total_std=(total / values).sqrt().item(),
        std_min=std.min().item(),
        std_mean=std.mean().item(),
        corr_offdiag=mean_squared_correlation(moments.scatter),
        horizons_s=tuple(k * tubelet_size / fps for k in range(1, len(moments.targets) + 1)),
        skill_copy=tuple((1 - moments.error / moments.copy_error).tolist()),
        skill_mean=tuple((1 - moments.error / moments.mean_error).tolist()),
        change=(moments.copy_error.sum() / unrelated_change.sum()).item(),
        moved=(moments.moved.sum() / moments.copy_error.sum()).item(),
    )


def effective_rank(scatter: Tensor) -> float:
    """RankMe (Garrido et al. 2023): exp of the entropy of the singular values of centred rows.

    Takes the Gram matrix of the rows [D, D].
    """
    variances = torch.linalg.eigvalsh(scatter).clamp(min=0)
    noise = len(scatter) * torch.finfo(scatter.dtype).eps * variances.max()
    singular = variances[variances > noise].sqrt()
    if not len(singular):
        return 0.0
    fraction = singular / singular.sum()
    return (-(fraction * fraction.log()).sum()).exp().item()


def mean_squared_correlation(scatter: Tensor) -> float:
    """Mean over pairs of features that vary: 0 (uncorrelated) to 1 (copies), given the Gram matrix [D, D] of centred rows.

    NaN if fewer than two features vary.
    """
    variances = scatter.diagonal()
    varies = variances > torch.finfo(scatter.dtype).eps * variances.max()
    varying = scatter[varies][:, varies]
    count = len(varying)
    if count < 2:
        return nan
    squared = varying.square() / einsum(varying.diagonal(), varying.diagonal(), "d, e -> d e")
    return ((squared.sum() - count) / (count * (count - 1))).item()


def average(values: tuple[float, ...]) -> float:
    return sum(values) / len(values)
