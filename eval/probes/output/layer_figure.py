"""The figure of `eval probe --layers`: one panel per property, with the score of each layer."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eval.probes.dataset import MODEL, PIXELS, UNTRAINED
from eval.probes.results import LayerResults, ScoreJson, interval_arrays
from worldmodel.render.curves import add_caption, style_axes
from worldmodel.render.style import BAD, DARK, GOOD, MUTED, Rgb, hex_colour

COLUMNS = (5, 4, 3)  # the number that leaves fewest panels empty is taken
MIN_R2 = -0.5  # a smaller R2 is drawn here
NETWORKS: Mapping[str, tuple[str, Rgb, str]] = {
    MODEL: ("trained", GOOD, "o"),
    UNTRAINED: ("untrained", MUTED, "s"),
}


def layers_figure(layers: LayerResults, caption: str) -> Figure:
    """R2 or accuracy by layer with 95 % intervals; baselines: the untrained network, raw pixels and
    chance."""
    names, scores = layers["names"], layers["scores"]
    count = max(1, len(scores))
    columns = min(count, min(COLUMNS, key=lambda wide: -count % wide))
    rows = ceil(count / columns)
    figure = Figure(figsize=(2.7 * columns + 0.6, 1.75 * rows + 1.5), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, squeeze=False)
    for axes, (name, by_layer) in zip(grid.flat, scores.items(), strict=False):
        _draw_panel(axes, names, by_layer)
        axes.set_title(f"{name} ({by_layer[PIXELS][PIXELS]['metric'].replace('R2', 'R²')})", fontsize=9, loc="left")
    for axes in grid[-1]:
        axes.set_xticks(range(len(names)), names, rotation=50, ha="right", rotation_mode="anchor", fontsize=7.5)
    for axes in grid.flat[len(scores) :]:
        axes.set_visible(False)
    if scores:
        handles, labels = grid.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=4, frameon=False, fontsize=8)
    add_caption(figure, caption)
    return figure


def _draw_panel(axes: Axes, names: list[str], by_layer: Mapping[str, Mapping[str, ScoreJson]]) -> None:
    pixels = by_layer[PIXELS][PIXELS]
    axes.axhline(pixels["chance"], color=hex_colour(DARK), linewidth=0.8, linestyle=(0, (1, 2)), label="chance")
    if pixels["value"] is not None:
        height = max(pixels["value"], MIN_R2)
        axes.axhline(height, color=hex_colour(BAD), linewidth=1.1, linestyle=(0, (5, 2)), label="raw pixels")
    for offset, (net, (label, colour, marker)) in zip((0.06, -0.06), NETWORKS.items(), strict=True):
        some = [by_layer[name].get(net) for name in names]
        if not any(some):
            continue
        value, low, high = (np.maximum(ends, MIN_R2) for ends in interval_arrays(some))
        x = np.arange(len(names)) + offset
        axes.vlines(x, low, high, color=hex_colour(colour), linewidth=1.3, alpha=0.6)
        axes.plot(x, value, marker=marker, color=hex_colour(colour), linewidth=1.4, markersize=4, label=label)
    style_axes(axes)
    axes.tick_params(labelsize=8)
    axes.set_ylim(min(0.0, axes.get_ylim()[0]), 1.02)
    axes.set_xlim(-0.4, len(names) - 0.6)
