"""From health metrics to a verdict and advice.

    moments = reduce(merge_moments, (compute_moments(latents, forecasts) for latents, forecasts in held_out))
    check = diagnose(compute_metrics(moments, fps=12.0), HealthConfig(), step=500, max_steps=20_000)

`check.row()` is a line of health.jsonl.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

from pydantic import Field, NonNegativeFloat

from worldmodel.config import Config
from worldmodel.health.advice import RAISE_TEMPORAL_STD, REDUCE_OVERFITTING, TRAIN_LONGER, VERDICT_TEXTS, Verdict
from worldmodel.health.metrics import HealthMetrics, average

STATIC = 1e-3  # latents whose change is below this fraction of that between unrelated time steps do not change


class HealthConfig(Config):
    """Thresholds of the verdicts. They are ratios, so that they mean the same for 32 and for 1024 features."""

    warmup_fraction: NonNegativeFloat = 0.05
    """Fraction of training steps at the start without a verdict: untrained weights look collapsed
    and forecast nothing."""
    collapse_std: float = Field(0.1, gt=0)
    """Complete collapse: the std of latents is below this fraction of their size (root mean
    square), or below this value. Both are needed: latents may collapse to a constant or shrink to
    0. Healthy ones had 0.5 to 1.2, those without an anti-collapse method 0.003 to 0.07 after 200
    steps."""
    min_content_fraction: float = Field(0.02, ge=0, le=1)
    """Position only: less than this fraction of the variance is content (untrained: 0.8 to 0.9)."""
    min_rank_exponent: float = Field(0.5, ge=0, le=1)
    """Dimensional collapse: log(effective rank) / log(D) is below this. At 0.5 that is a rank below
    the square root of D: 5.7 of 32, or 32 of 1024. Where variances fall as 1/i^2, which is steep
    but common, it is 0.83 and 0.75; as 1/i^4, 0.42 and 0.23."""
    min_skill: float = 0.05
    """Mean skill over horizons above which forecasts count as better than a baseline."""


@dataclass(frozen=True)
class HealthCheck:
    """The result of a health check; one line of `health.jsonl`."""

    step: int
    verdict: Verdict
    advice: str  # one line: measured values, and what to do
    metrics: HealthMetrics

    @property
    def skill(self) -> float:
        """Mean over horizons of the skill against the better baseline. The best checkpoint has the highest one."""
        return average(self.metrics.skill)

    def row(self) -> dict[str, float | str]:
        """Flat columns; skills are named by horizon in seconds: `skill_copy/0.5`."""
        m = self.metrics
        row: dict[str, float | str] = {
            "step": self.step,
            "verdict": self.verdict,
            "advice": self.advice,
            "effective_rank": m.effective_rank,
            "max_rank": m.max_rank,
            "effective_rank_with_position": m.effective_rank_with_position,
            "position_fraction": m.position_fraction,
            "std_min": m.std_min,
            "std_mean": m.std_mean,
            "corr_offdiag": m.corr_offdiag,
            "skill": self.skill,
        }
        for name, skills in {"skill": m.skill, "skill_copy": m.skill_copy, "skill_mean": m.skill_mean}.items():
            row |= {f"{name}/{horizon_s:.3g}": skill for horizon_s, skill in zip(m.horizons_s, skills, strict=True)}
        return row


def diagnose(metrics: HealthMetrics, config: HealthConfig, *, step: int, max_steps: int) -> HealthCheck:
    """Return verdict and advice after `step` of `max_steps` training steps."""
    verdict = "warming_up" if step < config.warmup_fraction * max_steps else verdict_of(metrics, config)
    return HealthCheck(step=step, verdict=verdict, advice=advise(verdict, metrics, config), metrics=metrics)


def verdict_of(metrics: HealthMetrics, config: HealthConfig) -> Verdict:
    """Return the first failure that explains the others: collapse, then low rank, then poor forecasts."""
    if metrics.total_std < config.collapse_std * max(metrics.size, 1.0):
        return "complete_collapse"
    if metrics.position_fraction > 1 - config.min_content_fraction:
        return "position_only"
    if log(max(metrics.effective_rank, 1)) < config.min_rank_exponent * log(metrics.max_rank):
        return "dimensional_collapse"
    # `not a > b` instead of `a <= b`: NaN, where nothing changes or varies, counts as no skill.
    if not average(metrics.skill_copy) > config.min_skill:
        return "predictor_copies"
    if not average(metrics.skill) > config.min_skill:
        return "unpredictable"
    return "healthy"


def advise(verdict: Verdict, metrics: HealthMetrics, config: HealthConfig) -> str:
    """Return one line without a final period: the measured values behind the verdict, and what to do first."""
    copy, mean, skill = average(metrics.skill_copy), average(metrics.skill_mean), average(metrics.skill)
    rank = f"effective rank {metrics.effective_rank:.1f} of {metrics.max_rank}"
    action = VERDICT_TEXTS[verdict].actions[0]
    if verdict == "warming_up":
        return f"{rank}, skill {skill:.2f}; too early for a verdict"
    if verdict == "healthy":
        return f"{rank}, skill {skill:.2f} against the better of copying and the mean"
    if verdict == "complete_collapse":
        measured = f"latents hardly vary (std {metrics.total_std:.2g}, size {metrics.size:.2g})"
    elif verdict == "position_only":
        measured = f"{metrics.position_fraction:.1%} of the variance is explained by position alone"
    elif verdict == "dimensional_collapse":
        least = metrics.max_rank**config.min_rank_exponent
        measured = f"{rank}, expected at least {least:.1f}"
    elif verdict == "predictor_copies":
        if not metrics.change > STATIC:
            measured, action = "latents hardly change within a window", RAISE_TEMPORAL_STD
        elif metrics.moved < 0.5:
            measured, action = f"forecasts stay near the last latent (skill against copying {copy:.2f})", TRAIN_LONGER
        else:
            measured, action = f"forecasts are no better than copying (skill {copy:.2f})", REDUCE_OVERFITTING
    else:
        measured = f"forecasts beat copying (skill {copy:.2f}) but not the mean (skill {mean:.2f})"
    return f"{measured}. {action}".removesuffix(".")
