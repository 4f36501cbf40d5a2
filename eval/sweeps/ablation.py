"""What the cells of an ablation say, side by side: from their JSON files to one row a cell, means over seeds, agreement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from eval.result_folder import read_result
from worldmodel.runs.log_rows import read_rows

Score = dict[str, Any]
Row = dict[str, Any]  # of one cell: way, seed, doctor, scores
WORST_OF = ("copy", "mean")  # what a latent skill is against: the better of the two
SCORERS = ("distance", "whitened", "adjusted")
OUTCOMES = ("position", "position ahead", "physics, whitened")  # what a model is for; the doctor sees none of them


def read_cell(folder: Path, horizons_s: Sequence[float]) -> Row:
    """Doctor's numbers and scores of one trained and evaluated cell.

    `scores`: by name, `{value, low, high, n, ...}` with 95 % over films or quadruplets; None where there is no number.
    Names with a horizon end in " @<seconds>".
    """
    health = _last_row(folder / "health.jsonl")
    losses = _last_row(folder / "metrics.jsonl", "loss")
    probe, forecast, physics = (
        read_result(folder / name) for name in ("probe/probe.json", "forecast/forecast.json", "physics/scores.json")
    )
    doctor = {name: health.get(name) for name in ("verdict", "effective_rank", "std_min", "skill")}
    of_forecasts = [value for name, value in losses.items() if name.startswith("loss/forecast")]
    doctor |= {"loss": losses["loss"], "forecast_loss": sum(of_forecasts)}
    position = probe["encoded"]["position"]["linear"]
    scores: dict[str, Score | None] = {"position": position["model"]}
    ahead = probe["predicted"].get("position", {}).get("linear", {})
    for horizon in horizons_s:
        scores[f"latent skill @{horizon:g}"] = latent_skill(forecast, horizon)
        there = ahead.get(_nearest(ahead, horizon), {})
        scores[f"position ahead @{horizon:g}"] = there.get("model: forecast", {}).get("read")
    for scorer, it in ((name, physics["headline"][name]) for name in SCORERS if name in physics["headline"]):
        scores[f"physics, {scorer}"] = it if it.get("value") is not None else None
    return {"doctor": doctor, "scores": scores, "untrained": _untrained(position, physics)}


def latent_skill(forecast: Mapping[str, Any], horizon_s: float) -> Score | None:
    """Of direct forecasts, against the better of copy and mean, at the horizon that is nearest."""
    place = int(np.argmin(np.abs(np.asarray(forecast["horizons_s"]) - horizon_s)))
    found = [forecast["skill"]["direct"][against][place] for against in WORST_OF]
    return min(found, key=lambda it: it["value"]) if all(found) else None


def over_seeds(scores: Sequence[Score | None]) -> Score | None:
    """Mean of the seeds' values; the interval reaches from the lowest end of theirs to the highest, so it holds what both
    films and seeds change."""
    there = [it for it in scores if it is not None]
    if not there:
        return None
    value = float(np.mean([it["value"] for it in there]))
    low, high = min(it["low"] for it in there), max(it["high"] for it in there)
    return {"value": value, "low": low, "high": high, "seeds": len(there), "n": min(it["n"] for it in there)}


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """By way: verdicts, means of the doctor's numbers, scores over seeds."""
    found: dict[str, Any] = {}
    for way in dict.fromkeys(row["way"] for row in rows):
        mine = [row for row in rows if row["way"] == way]
        numbers = [name for name, it in mine[0]["doctor"].items() if not isinstance(it, str)]
        found[way] = {
            "seeds": [row["seed"] for row in mine],
            "verdicts": [row["doctor"]["verdict"] for row in mine],
            "doctor": {name: _mean(row["doctor"][name] for row in mine) for name in numbers},
            "scores": {name: over_seeds([row["scores"].get(name) for row in mine]) for name in mine[0]["scores"]},
        }
    return found


def agreement(rows: Sequence[Row]) -> dict[str, dict[str, Score | None]]:
    """Rank correlation (Spearman) over cells of what training can see with what evaluation finds: by metric, then outcome.

    A metric that misleads is near 0 or below. Losses are turned round (less is better). None where fewer than four cells
    have both, or one of the two never changes.
    """
    metrics: Mapping[str, Callable[[Row], float | None]] = {
        "training loss (less)": lambda row: _minus(row["doctor"]["loss"]),
        "forecast loss (less)": lambda row: _minus(row["doctor"]["forecast_loss"]),
        "effective rank": lambda row: row["doctor"]["effective_rank"],
        "smallest standard deviation": lambda row: row["doctor"]["std_min"],
        "doctor's skill": lambda row: row["doctor"]["skill"],
        "doctor's skill, among healthy runs": lambda row: row["doctor"]["skill"] if _healthy(row) else None,
        "verdict healthy": lambda row: float(_healthy(row)),
    }
    return {
        metric: {outcome: _rank_correlation([(of(row), _outcome(row, outcome)) for row in rows]) for outcome in OUTCOMES}
        for metric, of in metrics.items()
    }


def verdicts(said: Sequence[str]) -> str:
    """`["healthy", "healthy"]` -> "healthy"; where seeds differ each with its count."""
    counts = Counter(said)
    return next(iter(counts)) if len(counts) == 1 else ", ".join(f"{name} {count}" for name, count in counts.items())


# --- inside ----------------------------------------------------------------------------------------------------------
def _healthy(row: Row) -> bool:
    return bool(row["doctor"]["verdict"] == "healthy")


def _outcome(row: Row, name: str) -> float | None:
    """A score's value; of one with horizons, that of the middle one."""
    ahead = [it for key, it in row["scores"].items() if key.startswith(f"{name} @")]
    it = ahead[len(ahead) // 2] if ahead else row["scores"].get(name)
    return None if it is None else it["value"]


def _rank_correlation(pairs: Sequence[tuple[float | None, float | None]]) -> Score | None:
    both = np.array([pair for pair in pairs if None not in pair], float)
    if len(both) < 4 or (both.std(0) == 0).any():
        return None
    return {"value": float(spearmanr(both[:, 0], both[:, 1]).statistic), "n": len(both)}


def _untrained(position: Mapping[str, Any], physics: Mapping[str, Any]) -> dict[str, Any]:
    """What a network that never trained has of the same scores."""
    names = {scorer: "untrained" if scorer == "distance" else f"untrained, {scorer}" for scorer in physics["headline"]}
    beside = {s: it.get("baselines", {}).get(names[s]) for s, it in physics["headline"].items()}
    return {"position": position.get("untrained"), **{f"physics, {scorer}": it for scorer, it in beside.items()}}


def _nearest(by_time: Mapping[str, Any], horizon_s: float) -> str:
    return min(by_time, key=lambda time: abs(float(time) - horizon_s), default="")


def _last_row(path: Path, having: str = "step") -> dict[str, Any]:
    return [row for row in read_rows(path) if having in row][-1]


def _mean(values: Any) -> float | None:
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else None


def _minus(value: float | None) -> float | None:
    return None if value is None else -value
