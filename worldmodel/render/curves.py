"""Curves: forecast error against the horizon, and helpers for plots of training logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from worldmodel.render.style import BAD, COPY, DARK, FAINT, GOOD, MEAN, MUTED, PREDICTION, hex_colour

# The model first, then its baselines. Dashes distinguish them in print without colours.
STYLES: list[dict[str, Any]] = [
    {"color": hex_colour(PREDICTION), "linewidth": 2.2, "marker": "o", "markersize": 4},
    {"color": hex_colour(COPY), "linewidth": 1.6, "linestyle": (0, (5, 2))},
    {"color": hex_colour(MEAN), "linewidth": 1.6, "linestyle": (0, (1, 1.5))},
    {"color": hex_colour(GOOD), "linewidth": 1.6, "linestyle": (0, (6, 2, 1, 2))},
    {"color": hex_colour(BAD), "linewidth": 1.6},
]
VERDICT_COLOURS = {  # all other verdicts are a collapse
    "healthy": hex_colour(GOOD),
    "warming_up": hex_colour(FAINT),
    "predictor_copies": hex_colour(COPY),
    "unpredictable": hex_colour(COPY),
}


def horizon_curve(
    horizons_s: Sequence[float], curves: Mapping[str, Sequence[float]], *, quantity: str, caption: str = ""
) -> Figure:
    """Plot curves against the horizon; the model's comes first, then its baselines.

    quantity: name of the vertical axis, with its unit ("squared latent error"). caption: what was evaluated, with n.
    """
    figure = Figure(figsize=(5.2, 3.4), layout="constrained")
    axes = figure.subplots()
    for (label, values), style in zip(curves.items(), STYLES, strict=False):
        axes.plot(horizons_s, values, label=label, zorder=3 - 0.1 * len(axes.lines), **style)
    style_axes(axes)
    floor = min(0.0, np.nanmin([v for values in curves.values() for v in values]) * 1.05)
    axes.set_ylim(bottom=floor)
    axes.set_xlim(left=0)
    axes.axhline(0, color=hex_colour(MUTED), linewidth=0.8)
    axes.set_xlabel("horizon (s)")
    axes.set_ylabel(quantity)
    axes.legend(frameon=False, fontsize=9, labelcolor=hex_colour(DARK))
    add_caption(figure, caption)
    return figure


def series(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of the log rows that have a column. null, which stands for NaN, leaves a gap."""
    logged = [row for row in rows if name in row]
    values = [np.nan if row[name] is None else row[name] for row in logged]
    return np.array([row["step"] for row in logged], float), np.array(values, float)


def smoothed(values: np.ndarray) -> np.ndarray:
    """Moving average over a thirtieth of the run, over less at its ends."""
    half = len(values) // 60
    return np.array([values[max(0, i - half) : i + half + 1].mean() for i in range(len(values))])


def style_axes(axes: Axes) -> None:
    """Remove the frame at the top and right, and draw a faint horizontal grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(hex_colour(MUTED))
    axes.grid(axis="y", color=hex_colour(FAINT), linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=hex_colour(MUTED), labelcolor=hex_colour(DARK), labelsize=9, length=3)


def add_caption(figure: Figure, caption: str) -> None:
    """Write a caption below a figure."""
    if caption:
        figure.supxlabel(fill(caption, width=92), fontsize=8, color=hex_colour(MUTED), ha="left", x=0.02)
