"""Types of forecast.json, which `eval forecast` writes and from which tables and the figure are
made."""

from __future__ import annotations

from typing import Any, TypedDict

from eval.forecasts.skill import Curve


class ForecastData(TypedDict):
    """The videos that were forecast."""

    manifest: str
    split: str
    videos: int
    context_s: float
    video_s: float


class ForecastResults(TypedDict, total=False):
    """Curves have one score per horizon. Position fields exist if the videos have a ground truth."""

    made: dict[str, Any]
    target_scope: str
    data: ForecastData
    horizons_s: list[float]
    error: dict[str, Curve]  # of latents, by forecast or baseline
    skill: dict[str, dict[str, Curve]]  # by forecast, then baseline
    position_px: dict[str, Curve]
    position_skill: dict[str, dict[str, Curve]]
    notes: list[str]
