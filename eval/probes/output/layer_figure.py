"""The figure of `eval probe --layers`: a small picture a quantity, how well each layer lets it be read."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eval.probes.gathering import MODEL, PIXELS, UNTRAINED
from worldmodel.render.curves import bare, under
from worldmodel.render.ink import BAD, GOOD, INK, MUTED, Rgb, hexadecimal

COLUMNS = (5, 4, 3)  # whichever leaves fewest places empty
FLOOR = -0.5  # R2 below is drawn here
NETWORKS: Mapping[str, tuple[str, Rgb, str]] = {
    MODEL: ("trained", GOOD, "o"),
    UNTRAINED: ("untrained", MUTED, "s"),
}


def layers_figure(layers: Mapping[str, Any], caption: str) -> Figure:
    """R2 or accuracy by layer with 95 % intervals, the model beside its untrained twin, raw pixels and chance."""
    names, scores = layers["names"], layers["scores"]
    count = max(1, len(scores))
    columns = min(count, min(COLUMNS, key=lambda wide: -count % wide))
    rows = ceil(count / columns)
    figure = Figure(figsize=(2.7 * columns + 0.6, 1.75 * rows + 1.5), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, squeeze=False)
    for place, (name, by_layer) in enumerate(scores.items()):
        axes = grid.flat[place]
        draw(axes, names, by_layer)
        axes.set_title(f"{name} ({by_layer[PIXELS][PIXELS]['metric'].replace('R2', 'R²')})", fontsize=9, loc="left")
    for axes in grid[-1]:
        axes.set_xticks(range(len(names)), names, rotation=50, ha="right", rotation_mode="anchor", fontsize=7.5)
    for axes in grid.flat[len(scores) :]:
        axes.set_visible(False)
    if scores:
        handles, labels = grid.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=4, frameon=False, fontsize=8)
    under(figure, caption)
    return figure


def draw(axes: Axes, names: list[str], by_layer: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    pixels = by_layer[PIXELS][PIXELS]
    axes.axhline(pixels["chance"], color=hexadecimal(INK), linewidth=0.8, linestyle=(0, (1, 2)), label="chance")
    if pixels["value"] is not None:
        axes.axhline(_drawn(pixels["value"]), color=hexadecimal(BAD), linewidth=1.1, linestyle=(0, (5, 2)), label="raw pixels")
    for nudge, (net, (label, colour, marker)) in zip((0.06, -0.06), NETWORKS.items(), strict=True):
        some = [by_layer[name].get(net) for name in names]
        if not any(some):
            continue
        value, low, high = (np.array([_drawn(it[end] if it else None) for it in some]) for end in ("value", "low", "high"))
        x = np.arange(len(names)) + nudge
        axes.vlines(x, low, high, color=hexadecimal(colour), linewidth=1.3, alpha=0.6)
        axes.plot(x, value, marker=marker, color=hexadecimal(colour), linewidth=1.4, markersize=4, label=label)
    bare(axes)
    axes.tick_params(labelsize=8)
    axes.set_ylim(min(0.0, axes.get_ylim()[0]), 1.02)
    axes.set_xlim(-0.4, len(names) - 0.6)


def _drawn(value: float | None) -> float:
    return np.nan if value is None else max(value, FLOOR)
