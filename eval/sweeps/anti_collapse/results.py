"""Results of a sweep over anti-collapse methods: one row per cell, means over seeds, and rank
correlations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from scipy.stats import spearmanr

from eval.forecasts.forecast_errors import COPY_LAST, DIRECT, MEAN
from eval.forecasts.results import ForecastResults
from eval.probes.dataset import MODEL
from eval.probes.evaluation import TRANSFERRED, forecast_of
from eval.probes.results import ProbeResults
from eval.result_folder import read_result
from eval.voe.scorers import UNTRAINED, ScorerId
from worldmodel.files.log_rows import read_rows

BASELINES = (COPY_LAST, MEAN)  # the latent skill is against the better of the two
SCORERS = (ScorerId(), ScorerId(distance="whitened"), ScorerId(distance="adjusted"))
OUTCOMES = ("position", "position ahead", "voe, whitened")  # not known to the health monitor

Score = Mapping[str, Any]
"""value, and where there are: low, high, n, seeds."""


class Health(TypedDict):
    """The last row of health.jsonl and of metrics.jsonl."""

    verdict: str
    effective_rank: float | None
    std_min: float | None
    skill: float | None
    loss: float | None
    forecast_loss: float


class CellScores(TypedDict):
    """One trained and evaluated cell.

    Names with a horizon end in " @<seconds>"; None where there is no number.
    """

    health: Health
    scores: dict[str, Score | None]
    untrained: dict[str, Score | None]  # the same scores of the untrained network


class CellResults(CellScores):
    method: str
    seed: int


class MethodResults(TypedDict):
    """A method over its seeds."""

    seeds: list[int]
    verdicts: list[str]
    health: dict[str, float | None]  # means of the numbers
    scores: dict[str, Score | None]


class SweepResults(TypedDict):
    """sweep.json"""

    kind: str
    command: str
    commit: str | None
    config: dict[str, Any]
    cells: list[CellResults]
    methods: dict[str, MethodResults]
    agreement: dict[str, dict[str, Score | None]]  # by training metric, then outcome


def read_cell(folder: Path, horizons_s: Sequence[float]) -> CellScores:
    """Read health and scores of one trained and evaluated cell.

    Intervals are 95 % over videos or quadruplets.
    """
    last_health = _last_row(folder / "health.jsonl")
    losses = _last_row(folder / "metrics.jsonl", "loss")
    probe: ProbeResults = read_result(folder / "probe" / "probe.json")  # type: ignore[assignment]
    forecast: ForecastResults = read_result(folder / "forecast" / "forecast.json")  # type: ignore[assignment]
    voe = read_result(folder / "voe" / "scores.json")
    health: Health = {
        "verdict": last_health["verdict"],
        "effective_rank": last_health.get("effective_rank"),
        "std_min": last_health.get("std_min"),
        "skill": last_health.get("skill"),
        "loss": losses["loss"],
        "forecast_loss": sum(value for name, value in losses.items() if name.startswith("loss/forecast")),
    }
    position = probe["encoded"]["position"]["linear"]
    scores: dict[str, Score | None] = {"position": position[MODEL]}
    by_time = probe["predicted"].get("position", {}).get("linear", {})
    for horizon_s in horizons_s:
        scores[f"latent skill @{horizon_s:g}"] = latent_skill(forecast, horizon_s)
        nearest = min(by_time, key=lambda time: abs(float(time) - horizon_s), default="")
        scores[f"position ahead @{horizon_s:g}"] = by_time.get(nearest, {}).get(forecast_of(MODEL), {}).get(TRANSFERRED)
    headline = voe["headline"]
    untrained: dict[str, Score | None] = {"position": position.get("untrained")}
    for scorer in SCORERS:
        if it := headline.get(str(scorer)):
            scores[f"voe, {scorer}"] = it if it.get("value") is not None else None
            untrained[f"voe, {scorer}"] = it.get("baselines", {}).get(str(ScorerId(UNTRAINED, scorer.distance)))
    return {"health": health, "scores": scores, "untrained": untrained}


def latent_skill(forecast: ForecastResults, horizon_s: float) -> Score | None:
    """Skill of direct forecasts against the better baseline, at the nearest horizon."""
    index = int(np.argmin(np.abs(np.asarray(forecast["horizons_s"]) - horizon_s)))
    found = [score for name in BASELINES if (score := forecast["skill"][DIRECT][name][index])]
    return min(found, key=lambda score: score["value"]) if len(found) == len(BASELINES) else None


def over_seeds(scores: Sequence[Score | None]) -> Score | None:
    """Mean of the seeds' values.

    The interval spans those of all seeds, so it includes variation over videos and seeds.
    """
    known = [it for it in scores if it is not None]
    if not known:
        return None
    value = float(np.mean([it["value"] for it in known]))
    low, high = min(it["low"] for it in known), max(it["high"] for it in known)
    return {"value": value, "low": low, "high": high, "seeds": len(known), "n": min(it["n"] for it in known)}


def summarise(rows: Sequence[CellResults]) -> dict[str, MethodResults]:
    """By method: verdicts, mean health numbers, and scores over seeds."""
    found: dict[str, MethodResults] = {}
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        numbers: list[dict[str, float | None]] = [
            {name: value for name, value in row["health"].items() if not isinstance(value, str)}  # type: ignore[misc]
            for row in own
        ]
        found[method] = {
            "seeds": [row["seed"] for row in own],
            "verdicts": [row["health"]["verdict"] for row in own],
            "health": {name: _mean(it[name] for it in numbers) for name in numbers[0]},
            "scores": {name: over_seeds([row["scores"].get(name) for row in own]) for name in own[0]["scores"]},
        }
    return found


def agreement(rows: Sequence[CellResults]) -> dict[str, dict[str, Score | None]]:
    """Spearman rank correlation over cells between training metrics and evaluation outcomes: by
    metric, then outcome.

    A misleading metric is near 0 or below. Losses are negated, because less is better. None where
    fewer than four cells have both numbers, or one of the two is constant.
    """
    metrics: Mapping[str, Callable[[CellResults], float | None]] = {
        "training loss (less)": lambda row: _negative(row["health"]["loss"]),
        "forecast loss (less)": lambda row: _negative(row["health"]["forecast_loss"]),
        "effective rank": lambda row: row["health"]["effective_rank"],
        "smallest standard deviation": lambda row: row["health"]["std_min"],
        "held-out skill": lambda row: row["health"]["skill"],
        "held-out skill, among healthy runs": lambda row: row["health"]["skill"] if _healthy(row) else None,
        "verdict healthy": lambda row: float(_healthy(row)),
    }
    return {
        metric: {outcome: _rank_correlation([(of(row), _outcome(row, outcome)) for row in rows]) for outcome in OUTCOMES}
        for metric, of in metrics.items()
    }


def verdict_text(verdicts: Sequence[str]) -> str:
    """`["healthy", "healthy"]` -> "healthy"; where seeds differ, each verdict with its count."""
    counts = Counter(verdicts)
    return next(iter(counts)) if len(counts) == 1 else ", ".join(f"{name} {count}" for name, count in counts.items())


def _healthy(row: CellResults) -> bool:
    return row["health"]["verdict"] == "healthy"


def _outcome(row: CellResults, name: str) -> float | None:
    """The value of a score; of one with horizons, that of the middle horizon."""
    by_horizon = [it for key, it in row["scores"].items() if key.startswith(f"{name} @")]
    it = by_horizon[len(by_horizon) // 2] if by_horizon else row["scores"].get(name)
    return None if it is None else it["value"]


def _rank_correlation(pairs: Sequence[tuple[float | None, float | None]]) -> Score | None:
    both = np.array([pair for pair in pairs if None not in pair], float)
    if len(both) < 4 or (both.std(0) == 0).any():
        return None
    return {"value": float(spearmanr(both[:, 0], both[:, 1]).statistic), "n": len(both)}


def _last_row(path: Path, with_column: str = "step") -> dict[str, Any]:
    return [row for row in read_rows(path) if with_column in row][-1]


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _negative(value: float | None) -> float | None:
    return None if value is None else -value
