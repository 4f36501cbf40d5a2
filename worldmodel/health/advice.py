"""The verdicts of a health check: what each means, and what to do. The training log and the training report use these texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal[
    "warming_up",
    "healthy",
    "dimensional_collapse",
    "complete_collapse",
    "predictor_copies",
    "position_only",
    "unpredictable",
]
Tone = Literal["good", "fair", "bad", "open"]


@dataclass(frozen=True)
class VerdictText:
    tone: Tone
    meaning: str
    actions: tuple[str, ...]  # most promising first

    @property
    def is_collapse(self) -> bool:
        return self.tone == "bad"


# The verdict predictor_copies has three causes. Each of them has its own action.
RAISE_TEMPORAL_STD = "If latents hardly change within a window, raise temporal_std_weight (vicreg)."
TRAIN_LONGER = "Train longer (train.max_steps), and check whether the skill against copying rises."
REDUCE_OVERFITTING = "If the loss is far lower than the skill suggests, the model overfits: add videos, or augment more."

VERDICT_TEXTS: dict[str, VerdictText] = {
    "warming_up": VerdictText(
        "open",
        "It is too early for a verdict: untrained weights look collapsed and forecast nothing.",
        ("Wait. health.warmup_fraction is the fraction of training steps without a verdict.",),
    ),
    "healthy": VerdictText(
        "good",
        "Latents vary in many directions. Forecasts beat both baselines: copying the last latent, and the mean.",
        (
            "Measure what the model knows: `python -m eval probe` and `python -m eval voe`. A healthy model may still have "
            "learnt features that are not useful.",
            "View its predictions: `python -m worldmodel.rollout RUN`.",
        ),
    ),
    "complete_collapse": VerdictText(
        "bad",
        "Latents are nearly equal for all inputs. Then every loss is small, and the latents carry no information.",
        (
            "Start a new run with a higher std_weight (vicreg), a lower optim.lr or a longer optim.warmup_steps; a collapsed "
            "run seldom recovers.",
            "Check that the recipe has an anti-collapse method: vicreg, barlow, info_nce, sigreg, visreg, or targets of a "
            "teacher. Training prints it at the start.",
            "health.stop_on: [complete_collapse] ends the next such run early.",
        ),
    ),
    "dimensional_collapse": VerdictText(
        "bad",
        "Latents vary along few directions only: many features are redundant.",
        (
            "Raise cov_weight (vicreg), or the weight of the objective that decorrelates features.",
            "Wait if the effective rank is still rising.",
            "Give latents fewer features if the videos differ little.",
        ),
    ),
    "position_only": VerdictText(
        "bad",
        "Latents encode the position in the picture, not its content.",
        (
            "Objectives must centre latents at each spatial token. The built-in ones do; check your own.",
            "Check that the videos differ: `python -m data_prep show`. augment.crop_area_min below 1 moves their content.",
        ),
    ),
    "predictor_copies": VerdictText(
        "fair",
        "Latents vary, but forecasts are no better than copying the last latent.",
        (
            TRAIN_LONGER,
            "Forecast further ahead, where more changes: more horizons, or a lower window.fps.",
            RAISE_TEMPORAL_STD,
            REDUCE_OVERFITTING,
        ),
    ),
    "unpredictable": VerdictText(
        "fair",
        "Forecasts beat copying the last latent but not the mean: latents change in ways that cannot be predicted.",
        (
            "Lower temporal_std_weight or std_weight (vicreg): they can reward noise.",
            "Train longer, on more videos; or forecast less far ahead.",
        ),
    ),
}
UNKNOWN = VerdictText("open", "This version does not know this verdict.", ())


def text_of(verdict: str) -> VerdictText:
    """Return the text of a verdict; UNKNOWN for one that a newer version may have written."""
    return VERDICT_TEXTS.get(verdict, UNKNOWN)


def readable(verdict: str) -> str:
    """ "dimensional_collapse" -> "dimensional collapse"."""
    return verdict.replace("_", " ")
