"""The doctor's verdicts in plain words, and what to do about each. What it measured stands in worldmodel/health/diagnostics.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Tone = Literal["good", "fair", "bad", "open"]


@dataclass(frozen=True)
class Meaning:
    tone: Tone
    words: str  # what was seen
    todo: Sequence[str]  # most promising first

    @property
    def collapsed(self) -> bool:
        return self.tone == "bad"


VERDICTS: dict[str, Meaning] = {
    "warming_up": Meaning(
        "open",
        "Too early for a verdict: fresh weights look collapsed and forecast nothing.",
        ("Wait; the share of updates without a verdict is health.warmup_fraction.",),
    ),
    "healthy": Meaning(
        "good",
        "Latents vary in many directions, and forecasts beat both repeating the last latent and the mean.",
        (
            "Ask what it knows: `python -m eval probe`, `eval physics`. Healthy says not that the content is worth having.",
            "Look at what it imagines: `python -m worldmodel.rollout RUN`.",
        ),
    ),
    "complete_collapse": Meaning(
        "bad",
        "Latents are all but equal whatever is seen. Any loss is small then, and nothing is known.",
        (
            "Begin again: such a run seldom recovers.",
            "Name something that keeps latents apart: vicreg, barlow, info_nce, sigreg, visreg, or targets of a teacher. "
            "The start of a run says what it has.",
            "With vicreg raise std_weight; in any case lower optim.lr or lengthen optim.warmup_steps.",
            "health.stop_on: [complete_collapse] ends the next one early.",
        ),
    ),
    "dimensional_collapse": Meaning(
        "bad",
        "Latents vary, but along few directions: many features say the same.",
        (
            "Wait if the effective rank still rises.",
            "Raise cov_weight (vicreg), or the weight of whatever else pushes features apart.",
            "Give the model fewer features a latent, if the films hold little that differs.",
        ),
    ),
    "position_only": Meaning(
        "bad",
        "Latents tell places of the picture apart, not what is to be seen there.",
        (
            "Objectives must centre latents per place before they measure how much they vary; those built in do, check yours.",
            "Check that films differ: `python -m data_prep show`, and augment.crop_area_min below 1 moves their content about.",
        ),
    ),
    "predictor_copies": Meaning(
        "fair",
        "Latents are alive, but forecasts are no better than repeating the last latent.",
        (
            "Train for longer: train.max_steps. Look whether skill against copying rises.",
            "Ask further ahead, so that something happens: more horizons, a lower window.fps.",
            "If latents hardly change within a window, raise temporal_std_weight (vicreg).",
            "If the loss is far lower than skill suggests it learns by heart: more films, or augment.",
        ),
    ),
    "unpredictable": Meaning(
        "fair",
        "Forecasts beat repeating the last latent, but not the mean: latents change in ways that cannot be foreseen.",
        (
            "Lower temporal_std_weight or std_weight (vicreg): they can reward noise.",
            "Train for longer, on more films; ask less far ahead.",
        ),
    ),
}
UNKNOWN = Meaning("open", "A verdict that this version does not know.", ())


def meaning_of(verdict: str) -> Meaning:
    return VERDICTS.get(verdict, UNKNOWN)


def spoken(verdict: str) -> str:
    """ "dimensional collapse"."""
    return verdict.replace("_", " ")
