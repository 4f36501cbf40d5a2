"""Curves: how far ahead a model sees, and how its training went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from worldmodel.render.ink import BAD, COPY, FAINT, GOOD, IMAGINED, INK, MEAN, MUTED, hexadecimal

# In order: the model, then its baselines; told apart by dashes too, in print without colours
STYLES: list[dict[str, Any]] = [
    {"color": hexadecimal(IMAGINED), "linewidth": 2.2, "marker": "o", "markersize": 4},
    {"color": hexadecimal(COPY), "linewidth": 1.6, "linestyle": (0, (5, 2))},
    {"color": hexadecimal(MEAN), "linewidth": 1.6, "linestyle": (0, (1, 1.5))},
    {"color": hexadecimal(GOOD), "linewidth": 1.6, "linestyle": (0, (6, 2, 1, 2))},
    {"color": hexadecimal(BAD), "linewidth": 1.6},
]
FORECASTS_FAIL = hexadecimal(COPY)
VERDICT_COLOURS = {  # any other is a collapse
    "healthy": hexadecimal(GOOD),
    "warming_up": hexadecimal(FAINT),
    "predictor_copies": FORECASTS_FAIL,
    "unpredictable": FORECASTS_FAIL,
}


def horizon_curve(
    horizons_s: Sequence[float], curves: Mapping[str, Sequence[float]], *, quantity: str, caption: str = ""
) -> Figure:
    """Curves against how far ahead they look; the model's first, then its baselines.

    `quantity` names the vertical axis with its unit ("squared latent error"); the caption says of what, with n.
    """
    figure = Figure(figsize=(5.2, 3.4), layout="constrained")
    axes = figure.subplots()
    for (label, values), style in zip(curves.items(), STYLES, strict=False):
        axes.plot(horizons_s, values, label=label, zorder=3 - 0.1 * len(axes.lines), **style)
    bare(axes)
    floor = min(0.0, np.nanmin([v for values in curves.values() for v in values]) * 1.05)
    axes.set_ylim(bottom=floor)
    axes.set_xlim(left=0)
    axes.axhline(0, color=hexadecimal(MUTED), linewidth=0.8)
    axes.set_xlabel("horizon (s)")
    axes.set_ylabel(quantity)
    axes.legend(frameon=False, fontsize=9, labelcolor=hexadecimal(INK))
    under(figure, caption)
    return figure


def training_curves(metrics: Sequence[Mapping[str, Any]], health: Sequence[Mapping[str, Any]], caption: str = "") -> Figure:
    """Rows of metrics.jsonl and health.jsonl -> loss, held-out skill and life of the latents over updates, and verdicts."""
    figure = Figure(figsize=(6.4, 6.2), layout="constrained")
    loss, skill, life, verdicts = figure.subplots(4, 1, sharex=True, height_ratios=[3, 3, 3, 0.4])
    draw_loss(loss, *series(metrics, "loss"))
    draw_skill(skill, health)
    draw_life(life, health)
    draw_verdicts(verdicts, health)
    for axes in (loss, skill, life):
        bare(axes)
        axes.tick_params(labelbottom=False)
    verdicts.set_xlabel("step")
    under(figure, caption)
    return figure


def draw_loss(axes: Axes, updates: np.ndarray, values: np.ndarray) -> None:
    axes.plot(updates, values, color=hexadecimal(IMAGINED), alpha=0.3, linewidth=0.8)
    axes.plot(updates, smoothed(values), color=hexadecimal(IMAGINED), linewidth=1.8)
    if (values > 0).any() and not (values <= 0).any():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel("training loss")


def draw_skill(axes: Axes, health: Sequence[Mapping[str, Any]]) -> None:
    """Against copy and against the mean, averaged over horizons, and against the better of both."""
    for name, label, style in (
        ("skill/", "better of both", STYLES[0]),
        ("skill_copy/", "copy", STYLES[1]),
        ("skill_mean/", "mean", STYLES[2]),
    ):
        rows = [{"step": row["step"], "value": mean_of(row, name)} for row in health]
        axes.plot(*series(rows, "value"), label=label, **{**style, "markersize": 3})
    axes.axhline(0, color=hexadecimal(MUTED), linewidth=0.8)
    axes.set_ylim(bottom=max(-1.0, axes.get_ylim()[0]), top=1)  # far below nothing is not worth the room
    axes.set_ylabel("held-out skill against")
    axes.legend(frameon=False, fontsize=8, ncols=3, loc="lower right")


def draw_life(axes: Axes, health: Sequence[Mapping[str, Any]]) -> None:
    rank, spread = STYLES[0], STYLES[1]
    axes.plot(*series(health, "effective_rank"), **{**rank, "markersize": 3})
    axes.set_ylabel("effective rank", color=rank["color"])
    axes.set_ylim(bottom=0)
    other = axes.twinx()
    other.plot(*series(health, "std_mean"), **spread)
    other.set_ylabel("std of a feature (dashed)", color="#a06d00")
    other.set_ylim(bottom=0)
    other.spines[:].set_visible(False)
    other.tick_params(labelsize=8, length=0, labelcolor="#a06d00")


def draw_verdicts(axes: Axes, health: Sequence[Mapping[str, Any]]) -> None:
    """A band of colour, with a word where there is room; each covers the updates since the look before."""
    axes.set_yticks([])
    axes.set_ylim(0, 1)
    axes.spines[:].set_visible(False)
    axes.tick_params(labelsize=8, length=0)
    spans = [(verdict, [row["step"] for row in rows]) for verdict, rows in groupby(health, lambda row: row["verdict"])]
    begin, end = 0, max((row["step"] for row in health), default=1)
    for verdict, updates in spans:
        colour = VERDICT_COLOURS.get(verdict, hexadecimal(BAD))
        axes.axvspan(begin, updates[-1], facecolor=colour, edgecolor="white", linewidth=1.5)
        if updates[-1] - begin > end * 0.0105 * len(verdict):
            ink = hexadecimal(INK) if colour in (FORECASTS_FAIL, hexadecimal(FAINT)) else "white"
            axes.text((begin + updates[-1]) / 2, 0.46, verdict.replace("_", " "), color=ink, size=7, ha="center", va="center")
        begin = updates[-1]


def series(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Updates and values of the rows that have it; null, which stands for NaN, leaves a gap."""
    having = [row for row in rows if name in row]
    values = [np.nan if row[name] is None else row[name] for row in having]
    return np.array([row["step"] for row in having], float), np.array(values, float)


def mean_of(row: Mapping[str, Any], prefix: str) -> float:
    values = [value for name, value in row.items() if name.startswith(prefix)]
    return float(np.mean(values)) if values and None not in values else np.nan


def smoothed(values: np.ndarray) -> np.ndarray:
    """Mean over a window of a thirtieth of the run, shorter at its ends."""
    half = len(values) // 60
    return np.array([values[max(0, i - half) : i + half + 1].mean() for i in range(len(values))])


def bare(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(hexadecimal(MUTED))
    axes.grid(axis="y", color=hexadecimal(FAINT), linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=hexadecimal(MUTED), labelcolor=hexadecimal(INK), labelsize=9, length=3)


def under(figure: Figure, caption: str) -> None:
    if caption:
        figure.supxlabel(fill(caption, width=92), fontsize=8, color=hexadecimal(MUTED), ha="left", x=0.02)
