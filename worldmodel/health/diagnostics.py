"""The collapse doctor: are the latents alive, and are the forecasts worth something? The loss alone cannot tell.

    vitals = reduce(merge, (measure(latents, forecasts) for latents, forecasts in held_out))
    health = diagnose(vitals, HealthConfig(), update=500, updates=20_000, fps=12.0)

Vitals are sums, in float64 on the CPU: batches merged are one batch, to the last digits. All that is said of content is
centred per place, since latents that encode nothing but their position satisfy variance, covariance and rank together.

What the doctor cannot see: whether the content is worth having. Harmonics of one scalar (the angle of a screen) have
full variance, no covariance and full rank, and skill can be bought with features that are easy to foresee. A probe can
tell, for what it was asked about.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan, log, nan
from typing import Literal

import torch
from einops import einsum, rearrange
from pydantic import Field, NonNegativeFloat
from torch import Tensor

from worldmodel.config import Config

Verdict = Literal[
    "warming_up",
    "healthy",
    "dimensional_collapse",
    "complete_collapse",
    "predictor_copies",
    "position_only",
    "unpredictable",
]


STILL = 1e-3  # change below this share of the change between unrelated moments is none


class HealthConfig(Config):
    """Where the doctor draws its lines. They are ratios, so that they mean the same for 32 and for 1024 features."""

    # Share of all updates in which no verdict is given: fresh weights look collapsed and forecast nothing.
    warmup_fraction: NonNegativeFloat = 0.05
    # Latents whose std is below this share of their size (root mean square), or of 1, are dead: some sink to a
    # constant, others towards 0 in proportion. VICReg's margin and LayerNorm hold targets to 1; healthy ones were
    # seen at 0.5 to 1.2, those without any such pressure at 0.003 to 0.07 after 200 updates.
    collapse_std: float = Field(0.1, gt=0)
    # Latents of whose variance less than this is content know only their position (untrained ones: 0.8 to 0.9).
    min_content_fraction: float = Field(0.02, ge=0, le=1)
    # log(rank) / log(D) below this is dimensional collapse: rank under the square root of D, 5.7 of 32 or 32 of 1024.
    # Where variances fall as 1/i^2, steep but usual, it is .83 and .75; as 1/i^4, .42 and .23.
    min_rank_exponent: float = Field(0.5, ge=0, le=1)
    # Mean skill over horizons that counts as more than none: less is hard to tell from 0 in some tens of windows.
    min_skill: float = 0.05


@dataclass(frozen=True)
class Vitals:
    """Sums over held-out windows: R rows (windows x times) at each of N places, D features, K horizons."""

    rows: int
    mean: Tensor  # [N, D] of each place
    scatter: Tensor  # [D, D] centred Gram matrix, each place about its own mean, summed over places
    targets: Tensor  # [K] rows of each place that were forecast; the sums below are over them, places and features
    target_mean: Tensor  # [K, N, D] of those rows
    mean_error: Tensor  # [K] squared distance to that mean
    copy_error: Tensor  # [K] squared distance to the last latent seen
    error: Tensor  # [K] squared distance to the forecast
    moved: Tensor  # [K] squared distance from the last latent seen to the forecast


@dataclass(frozen=True)
class Signs:
    """What the vitals amount to; tuples have one value per horizon. NaN: cannot be said (0 / 0)."""

    directions: int  # D, or less where rows are too few to show as many
    effective_rank: float  # RankMe of the content: 1 to D, and 0 where nothing varies
    effective_rank_pooled: float  # the same with position counted as content
    position_share: float  # of all variance, that which place alone explains
    size: float  # root mean square of the latents
    std_pooled: float  # root mean square of their distance from one common mean, so that position counts too
    std_min: float  # over features, of the content
    std_mean: float
    corr_offdiag: float  # mean squared correlation of two features of the content
    horizons_s: tuple[float, ...]
    skill_copy: tuple[float, ...]  # 1 - error / error of repeating the last latent seen
    skill_mean: tuple[float, ...]  # 1 - error / error of the best constant per place
    change: float  # squared change over a horizon, as a share of that between unrelated moments
    moved: float  # squared distance of forecasts from the last latent seen, as a share of the squared change

    @property
    def skill(self) -> tuple[float, ...]:
        """Against the better of copy and mean (minimum of the two; NaN where one of them is)."""
        pairs = zip(self.skill_copy, self.skill_mean, strict=True)
        return tuple(copy + mean if isnan(copy + mean) else min(copy, mean) for copy, mean in pairs)


@dataclass(frozen=True)
class Health:
    """One line of `health.jsonl`."""

    update: int
    verdict: Verdict
    advice: str  # what was seen, and what to do about it
    signs: Signs

    @property
    def skill(self) -> float:
        """Mean over horizons against the better of copy and mean: the number by which the best checkpoint is chosen."""
        return average(self.signs.skill)

    def row(self) -> dict[str, float | str]:
        """Flat, skills named by horizon in seconds: `skill_copy/0.5`."""
        signs = self.signs
        row: dict[str, float | str] = {
            "step": self.update,
            "verdict": self.verdict,
            "advice": self.advice,
            "effective_rank": signs.effective_rank,
            "directions": signs.directions,
            "effective_rank_pooled": signs.effective_rank_pooled,
            "position_share": signs.position_share,
            "std_min": signs.std_min,
            "std_mean": signs.std_mean,
            "corr_offdiag": signs.corr_offdiag,
            "skill": self.skill,
        }
        named = {"skill": signs.skill, "skill_copy": signs.skill_copy, "skill_mean": signs.skill_mean}
        for name, skills in named.items():
            row |= {f"{name}/{horizon_s:.3g}": skill for horizon_s, skill in zip(signs.horizons_s, skills, strict=True)}
        return row


def measure(latents: Tensor, forecasts: Tensor) -> Vitals:
    """Vitals of one batch: target latents [B, T, N, D] and direct forecasts [B, T, K, N, D].

    forecasts[:, t, k - 1], made from latents up to t, is for latents[:, t + k]; where t + k >= T it is not looked at.
    """
    check(latents, forecasts)
    latents = latents.detach().cpu().double()
    mean = latents.mean((0, 1))
    content = latents - mean
    sums = []
    for k in range(1, forecasts.shape[2] + 1):
        seen, target, forecast = latents[:, :-k], latents[:, k:], forecasts[:, :-k, k - 1].detach().cpu().double()
        target_mean = target.mean((0, 1))
        pairs = [(target, target_mean), (target, seen), (target, forecast), (forecast, seen)]
        sums.append((target_mean, *((a - b).square().sum() for a, b in pairs)))
    target_means, mean_errors, copy_errors, errors, moved = map(torch.stack, zip(*sums, strict=True))
    if not (mean.isfinite().all() and errors.isfinite().all()):
        raise ValueError("latents or forecasts of the held-out windows are NaN or infinite: training has diverged")
    windows, steps = latents.shape[:2]
    return Vitals(
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


def check(latents: Tensor, forecasts: Tensor) -> None:
    """Raise ValueError where the two do not belong together."""
    windows, steps, places, features = latents.shape
    if forecasts.ndim != 5 or forecasts.shape[:2] + forecasts.shape[3:] != latents.shape:
        raise ValueError(
            f"latents {tuple(latents.shape)} are [B, T, N, D], so forecasts must be "
            f"[{windows}, {steps}, K, {places}, {features}], not {tuple(forecasts.shape)}"
        )
    if not 1 <= forecasts.shape[2] < steps:
        raise ValueError(f"forecasts of {forecasts.shape[2]} steps cannot be judged in windows of {steps} latents")


def merge(one: Vitals, other: Vitals) -> Vitals:
    """Vitals of both batches together (Chan, Golub & LeVeque 1983)."""
    rows, targets = one.rows + other.rows, one.targets + other.targets
    apart, targets_apart = other.mean - one.mean, other.target_mean - one.target_mean
    harmonic = one.targets * other.targets / targets
    return Vitals(
        rows=rows,
        mean=one.mean + apart * (other.rows / rows),
        scatter=one.scatter + other.scatter + apart.T @ apart * (one.rows * other.rows / rows),
        targets=targets,
        target_mean=one.target_mean + targets_apart * rearrange(other.targets / targets, "k -> k 1 1"),
        mean_error=one.mean_error + other.mean_error + targets_apart.square().sum((1, 2)) * harmonic,
        copy_error=one.copy_error + other.copy_error,
        error=one.error + other.error,
        moved=one.moved + other.moved,
    )


def examine(vitals: Vitals, *, fps: float, tubelet_size: int = 1) -> Signs:
    """The numbers behind a verdict.

    The mean that forecasts are held against is, at each place, that of the very latents to be forecast: the best
    constant in hindsight. It flatters that baseline by about one part in the number of windows, and never the model;
    a mean of training latents would be beaten by any forecast once the held-out videos are merely different.
    """
    if vitals.rows < 2:
        raise ValueError("one latent of each place says nothing of its variance; hold out more windows")
    places, features = vitals.mean.shape
    values = vitals.rows * places * features
    centre = vitals.mean.mean(0)
    position = vitals.rows * (vitals.mean - centre).T @ (vitals.mean - centre)
    pooled = vitals.scatter.trace() + position.trace()
    freedom = places * (vitals.rows - 1)
    std = (vitals.scatter.diagonal() / freedom).sqrt()
    per_timestep = 2 * vitals.mean_error  # of two unrelated moments: twice the variance
    return Signs(
        directions=min(features, freedom),
        effective_rank=effective_rank(vitals.scatter),
        effective_rank_pooled=effective_rank(vitals.scatter + position),
        position_share=(position.trace() / pooled).item(),
        size=(pooled / values + centre.square().mean()).sqrt().item(),
        std_pooled=(pooled / values).sqrt().item(),
        std_min=std.min().item(),
        std_mean=std.mean().item(),
        corr_offdiag=mean_squared_correlation(vitals.scatter),
        horizons_s=tuple(k * tubelet_size / fps for k in range(1, len(vitals.targets) + 1)),
        skill_copy=tuple((1 - vitals.error / vitals.copy_error).tolist()),
        skill_mean=tuple((1 - vitals.error / vitals.mean_error).tolist()),
        change=(vitals.copy_error.sum() / per_timestep.sum()).item(),
        moved=(vitals.moved.sum() / vitals.copy_error.sum()).item(),
    )


def effective_rank(scatter: Tensor) -> float:
    """RankMe (Garrido et al. 2023), exp of the entropy of the singular values of centred rows; of their Gram [D, D]."""
    variances = torch.linalg.eigvalsh(scatter).clamp(min=0)
    noise = len(scatter) * torch.finfo(scatter.dtype).eps * variances.max()
    singular = variances[variances > noise].sqrt()
    if not len(singular):
        return 0.0
    share = singular / singular.sum()
    return (-(share * share.log()).sum()).exp().item()


def mean_squared_correlation(scatter: Tensor) -> float:
    """0 (apart) to 1 (copies), over pairs of features that vary; NaN where fewer than two do. Takes the Gram [D, D]."""
    variances = scatter.diagonal()
    varies = variances > torch.finfo(scatter.dtype).eps * variances.max()
    alive = scatter[varies][:, varies]
    count = len(alive)
    if count < 2:
        return nan
    squared = alive.square() / einsum(alive.diagonal(), alive.diagonal(), "d, e -> d e")
    return ((squared.sum() - count) / (count * (count - 1))).item()


def judge(signs: Signs, config: HealthConfig) -> Verdict:
    """The first failing that explains the rest: dead latents, then too few directions, then poor forecasts."""
    if signs.std_pooled < config.collapse_std * max(signs.size, 1.0):
        return "complete_collapse"
    if signs.position_share > 1 - config.min_content_fraction:
        return "position_only"
    if log(max(signs.effective_rank, 1)) < config.min_rank_exponent * log(signs.directions):
        return "dimensional_collapse"
    # not (a > b) rather than a <= b: a NaN, where nothing changes or varies, is no skill either
    if not average(signs.skill_copy) > config.min_skill:
        return "predictor_copies"
    if not average(signs.skill) > config.min_skill:
        return "unpredictable"
    return "healthy"


def diagnose(vitals: Vitals, config: HealthConfig, *, update: int, updates: int, fps: float, tubelet_size: int = 1) -> Health:
    """Health at `update` of `updates`; fps is that of the frames the model saw."""
    signs = examine(vitals, fps=fps, tubelet_size=tubelet_size)
    verdict = "warming_up" if update < config.warmup_fraction * updates else judge(signs, config)
    return Health(update=update, verdict=verdict, advice=advise(verdict, signs, config), signs=signs)


def advise(verdict: Verdict, signs: Signs, config: HealthConfig) -> str:
    """One sentence: what was seen; what to do."""
    copy, mean, skill = average(signs.skill_copy), average(signs.skill_mean), average(signs.skill)
    rank = f"{signs.effective_rank:.1f} of {signs.directions} directions"
    if verdict == "warming_up":
        return f"so far {rank} and a skill of {skill:.2f}; too early to judge"
    if verdict == "complete_collapse":
        return (
            f"latents hardly vary (std {signs.std_pooled:.2g}, size {signs.size:.2g}), which makes any loss small; "
            "raise std_weight or lower the learning rate, and begin again"
        )
    if verdict == "position_only":
        return (
            f"{signs.position_share:.1%} of the variance is where a patch lies, not what it shows; "
            "the objectives must centre latents per place"
        )
    if verdict == "dimensional_collapse":
        least = signs.directions**config.min_rank_exponent
        return f"latents fill {rank} (at least {least:.1f} wanted); raise cov_weight or give the model fewer features"
    if verdict == "predictor_copies":
        if not signs.change > STILL:
            return "latents hardly change within a window, so repeating the last is best; ask for temporal_std_weight"
        if signs.moved < 0.5:
            return (
                f"forecasts stay near the last latent (skill against it {copy:.2f}); "
                "train for longer, or on horizons long enough that something happens"
            )
        return (
            f"forecasts move, but are no better than the last latent (skill against it {copy:.2f}): "
            "trained too little, or learnt by heart; compare with training windows, then add data or regularisation"
        )
    if verdict == "unpredictable":
        return (
            f"forecasts beat the last latent ({copy:.2f}) but not the mean ({mean:.2f}): "
            "latents change in ways that cannot be foreseen; lower temporal_std_weight or std_weight"
        )
    return f"{rank}, and forecasts beat both copy and mean (skill {skill:.2f})"


def average(values: tuple[float, ...]) -> float:
    return sum(values) / len(values)
