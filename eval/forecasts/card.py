"""The card: one figure that says how far ahead a model sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from worldmodel.render.curves import bare, under
from worldmodel.render.ink import BAD, COPY, GOOD, IMAGINED, INK, MEAN, MUTED, Rgb, hexadecimal

Style = tuple[Rgb, Any]  # colour, line style
SOLID, DASHED, DOTTED = "-", (0, (5, 2)), (0, (1, 1.5))
STYLES: Mapping[str, Style] = {
    "open loop": (IMAGINED, SOLID),
    "direct": (IMAGINED, DASHED),
    "copy": (COPY, SOLID),
    "linear extrapolation": (BAD, DOTTED),
    "mean": (MEAN, DOTTED),
    "last place": (COPY, DASHED),
    "constant velocity": (INK, DASHED),
    "latents of what came": (GOOD, SOLID),
}
FLOOR = -0.5  # skill below is not drawn


def card(found: Mapping[str, Any], caption: str) -> Figure:
    """Error, skill and, where it was read, position against the horizon, with 95 % bands."""
    times, there = found["horizons_s"], "position_px" in found
    figure = Figure(figsize=(4.1 * (3 if there else 2), 4.1), layout="constrained")
    axes = figure.subplots(1, 3 if there else 2)
    curves(axes[0], times, found["error"], "latent error (the model's distance)")
    skill = {
        f"{source} against {against}": found["skill"][source][against]
        for source in ("open loop", "direct")
        for against in ("copy", "mean", "linear extrapolation")
        if source == "open loop" or against == "copy"
    }
    for label, values in skill.items():
        against = label.partition(" against ")[2]
        line(axes[1], times, values, label, (STYLES[against][0], DASHED if label.startswith("direct") else SOLID))
    axes[1].axhline(0, color=hexadecimal(MUTED), linewidth=0.8)
    axes[1].set_ylim(FLOOR, 1)
    finish(axes[1], "skill: 1 - error / baseline's error")
    if there:
        curves(axes[2], times, found["position_px"], "error of the position read (px)")
    under(figure, caption)
    return figure


def curves(axes: Axes, times: Sequence[float], by_source: Mapping[str, Sequence[Any]], quantity: str) -> None:
    """A line a source, in the order of STYLES; linear extrapolation soon leaves the picture."""
    for source, style in STYLES.items():
        if source in by_source:
            line(axes, times, by_source[source], source, style)
    tame = [it["high"] for source, some in by_source.items() if source != "linear extrapolation" for it in some if it]
    axes.set_ylim(0, 1.05 * max(tame))
    finish(axes, quantity)


def line(axes: Axes, times: Sequence[float], scores: Sequence[Any], label: str, style: Style) -> None:
    value, low, high = ([np.nan if it is None else it[end] for it in scores] for end in ("value", "low", "high"))
    colour, dashes = style
    axes.plot(times, value, color=hexadecimal(colour), linestyle=dashes, linewidth=1.7, label=label)
    axes.fill_between(times, low, high, color=hexadecimal(colour), alpha=0.12, linewidth=0)


def finish(axes: Axes, quantity: str) -> None:
    bare(axes)
    axes.set_xlim(left=0)
    axes.set_xlabel("horizon (s)")
    axes.set_ylabel(quantity)
    axes.legend(frameon=False, fontsize=7, labelcolor=hexadecimal(INK), loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
