"""Results of a sweep over the strength of augmentation, as in sweep.json, and the conclusion in one
sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from eval.sweeps.cell_probes import Change, SeedScores

WHERE, WHAT = "position", ("shape", "colour")
"""Augmentation may make position harder to read from latents, and shape and colour easier."""
LABELS = {"position": "position, R²", "shape": "shape, balanced accuracy", "colour": "hue, R²"}


class CellHealth(TypedDict):
    """From the last row of health.jsonl."""

    verdict: str
    effective_rank: float


class _RequiredRow(TypedDict):
    name: str
    scores: dict[str, SeedScores]  # by property


class Row(_RequiredRow, total=False):
    """Raw pixels, the untrained network, or a strength.

    The last three fields are of a strength only.
    """

    strength: float
    augment: dict[str, Any]  # the augmentation, as in a recipe
    health: dict[str, CellHealth]  # by seed


class ProbedVideos(TypedDict):
    manifest: str
    split: str
    videos: int
    folds: int


class SweepResults(TypedDict):
    """sweep.json"""

    kind: str
    made: dict[str, Any]
    recipe: str
    max_steps: int
    parts: list[str]
    data: ProbedVideos
    rows: list[Row]


def trained_rows(rows: Sequence[Row]) -> list[Row]:
    """The rows of the strengths, weakest first."""
    return [row for row in rows if "strength" in row]


def conclusion(rows: Sequence[Row]) -> str:
    """The change from the weakest to the strongest augmentation, and whether it exceeds the
    variation between seeds."""
    trained = trained_rows(rows)
    if len(trained) < 2:
        return "Fewer than two strengths could be trained, so there is nothing to compare."
    weakest, strongest = trained[0], trained[-1]
    changes: dict[str, Change] = {}
    for prop in LABELS:
        change = strongest["scores"][prop]["change"]
        if change is None:
            return f"No seed was trained both at {weakest['name']} and at {strongest['name']}, so there is nothing to compare."
        changes[prop] = change
    spreads = {prop: seed_spread(trained, prop) for prop in LABELS}
    signs = {prop: direction(changes[prop], spreads[prop]) for prop in LABELS}
    verbs = {1: "rose", -1: "fell", 0: "did not change significantly"}
    text = "; ".join(f"{LABELS[prop]} {verbs[signs[prop]]} ({signed(changes[prop])})" for prop in LABELS)
    gained = " and ".join(prop for prop in WHAT if signs[prop] > 0)
    lost = "position is lost" if signs[WHERE] < 0 else "no position is lost"
    if signs[WHERE] < 0 and gained:
        verdict = f"There is a trade-off, for {gained}"
    else:
        verdict = f"There is no trade-off: {lost}, {gained or 'nothing'} is gained"
    seeds = len(changes[WHERE]["seeds"])
    variation = (
        f"{seeds} seeds each, which differ by up to {', '.join(f'{spreads[prop]:.3f}' for prop in LABELS)} at one strength"
        if seeds > 1
        else "one training each: another seed may differ"
    )
    strengths = ", ".join(f"{row['strength']:g}" for row in trained)
    return f"From {weakest['name']} to {strongest['name']}: {text}. **{verdict}** ({variation}; strengths tried: {strengths})."


def direction(change: Mapping[str, Any], spread: float) -> int:
    """1 up, -1 down; 0 where the interval over videos contains 0, or the change is within the
    spread of seeds."""
    if change["low"] <= 0 <= change["high"] or abs(change["value"]) <= spread:
        return 0
    return 1 if change["value"] > 0 else -1


def seed_spread(trained: Sequence[Row], prop: str) -> float:
    """The largest difference between two trainings that differ in their seed only; 0 with one
    seed."""
    by_strength = [[score["value"] for score in row["scores"][prop]["seeds"].values()] for row in trained]
    return max(max(values) - min(values) for values in by_strength)  # type: ignore[type-var, operator]


def signed(change: Mapping[str, Any]) -> str:
    return f"{change['value']:+.3f} [{change['low']:+.3f}, {change['high']:+.3f}]"
