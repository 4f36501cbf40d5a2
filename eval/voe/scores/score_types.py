"""The numbers of scores.json, as typed records. Values are fractions from 0 to 1."""

from __future__ import annotations

from typing import Any, TypedDict


class BaselineScore(TypedDict, total=False):
    """The score of a baseline on the trials of a cell."""

    value: float | None
    p: float  # two-sided sign-flip test of the difference from the scorer
    p_holm: float  # corrected over properties
    seeds: list[float]  # lowest and highest of the untrained networks


class CellScore(TypedDict, total=False):
    """The score of a scorer on the trials of a cell, with its 95 % interval and baselines."""

    value: float
    low: float
    high: float
    wilson_low: float  # where the score is a plain proportion
    wilson_high: float
    n: int  # trials
    chance: float
    p: float | None  # two-sided sign-flip test against chance
    p_holm: float
    networks: int  # of a pool of untrained networks
    pixel_baselines: dict[str, float | None]
    baselines: dict[str, BaselineScore]


class Headline(CellScore, total=False):
    """The headline of a scorer.

    With too few trials it has an interval (`range`) and a reason instead of a value.
    """

    windows: str
    kind: str
    range: list[float]
    reason: str


class Diagnostic(TypedDict, total=False):
    """One diagnostic of a scorer."""

    value: float
    chance: float
    n: int
    pixel_baselines: dict[str, float]


class PublishedScore(TypedDict):
    """The metric of IntPhys-style papers, for one property."""

    value: float
    low: float
    high: float
    n: int
    pixel_baselines: dict[str, float]


Tree = dict[str, Any]
"""property -> visibility -> level -> copy class -> kind of pair -> CellScore or None."""
