"""Types of probe.json, which `eval probe` writes and from which tables and figures are made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from eval.probes.metrics import Score


class ScoreJson(TypedDict, total=False):
    """A Score without empty fields; NaN is null."""

    metric: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    rows: int
    chance: float
    error: float | None
    error_low: float | None
    error_high: float | None
    unit: str


class LabelScore(ScoreJson, total=False):
    """Accuracy of a probe of labelled clips, and what was chosen on val."""

    learning_rate: float
    steps: int
    val_loss: dict[str, float | None]  # by learning rate


BySource = dict[str, ScoreJson]
"""By network ("model", "untrained", "pixels")."""
Encoded = dict[str, dict[str, BySource]]
"""By property, then kind of probe."""
Predicted = dict[str, dict[str, dict[str, dict[str, dict[str, ScoreJson]]]]]
"""By property, kind of probe, seconds ahead, source ("model: forecast"), then which probe reads
it."""
Tracking = dict[str, dict[str, dict[str, ScoreJson]]]
"""By group of bodies, then source, then seconds hidden."""


class PropertyJson(TypedDict):
    description: str
    unit: str
    classes: list[str]
    input_steps: int


class LayerResults(TypedDict):
    names: list[str]  # from the input to the output of the network
    scores: Mapping[str, Mapping[str, Mapping[str, ScoreJson]]]  # by property, then layer; raw pixels are one more layer


class PropertyFailures(TypedDict):
    n: int
    stages: BySource  # by stage: the fraction that is right
    failed: int
    first_failed_stage: dict[str, int]  # how many of the failed quadruplets fail first at each stage


class FailureResults(TypedDict, total=False):
    properties: dict[str, PropertyFailures]
    quadruplets: dict[str, dict[str, Any]]
    scorer: str
    of: str  # folder of the VoE results


class ProbedData(TypedDict, total=False):
    """What was probed."""

    manifest: str
    split: str
    videos: int
    with_one_body: int
    folds: int
    video_s: float
    contexts_s: list[float]
    direct_up_to_s: float
    clips: dict[str, int]  # labelled clips by split
    classes: list[str]
    window_s: float


class ProbeResults(TypedDict, total=False):
    """`kind` "physics" has encoded, predicted and tracking; "labels" has classes."""

    made: dict[str, Any]
    target_scope: str
    kind: str
    data: ProbedData
    properties: dict[str, PropertyJson]
    encoded: Encoded
    predicted: Predicted
    tracking: Tracking | None
    failures: FailureResults
    classes: dict[str, dict[str, LabelScore]]  # by kind of probe, then network
    layers: LayerResults
    notes: list[str]


def interval_arrays(scores: Iterable[Mapping[str, Any] | None]) -> tuple[NDArray, NDArray, NDArray]:
    """value, low and high of several scores, for figures; NaN where there is no number."""
    some = [it or {} for it in scores]
    value, low, high = (np.array([it.get(end) for it in some], float) for end in ("value", "low", "high"))
    return value, low, high


def score_json(score: Score) -> ScoreJson:
    """A score for JSON: fields that are None or empty are left out, and NaN becomes null."""
    given = {name: value for name, value in vars(score).items() if value is not None and value != ""}
    finite = {name: None if isinstance(value, float) and not np.isfinite(value) else value for name, value in given.items()}
    return ScoreJson(**finite)  # type: ignore[typeddict-item]
