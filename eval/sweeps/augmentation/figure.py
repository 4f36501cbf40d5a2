"""The figure of a sweep over augmentation: shape and hue against position, one mark per
strength."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eval.probes.dataset import PIXELS, UNTRAINED
from eval.probes.results import interval_arrays
from eval.sweeps.augmentation.results import LABELS, WHAT, WHERE, SweepResults, trained_rows
from eval.sweeps.augmentation.tables import caption
from eval.sweeps.cell_probes import SeedScores
from worldmodel.render.curves import add_caption, style_axes
from worldmodel.render.style import BAD, DARK, FAINT, MUTED, PREDICTION, Rgb, hex_colour

BASELINES: Mapping[str, tuple[str, Rgb, str]] = {
    UNTRAINED: ("untrained network", MUTED, "s"),
    PIXELS: ("raw pixels", BAD, "^"),
}
MIN_OPACITY = 0.35  # of the weakest strength; the strongest has 1


def sweep_figure(found: SweepResults) -> Figure:
    """One panel for shape and one for hue, with position on the horizontal axis."""
    figure = Figure(figsize=(7.6, 4.4), layout="constrained")
    for axes, what in zip(figure.subplots(1, len(WHAT)), WHAT, strict=True):
        _draw_panel(axes, what, found)
    legend = figure.axes[0].get_legend_handles_labels()
    figure.legend(*legend, frameon=False, fontsize=8, loc="outside upper left", ncols=len(legend[0]))
    add_caption(figure, caption(found))
    return figure


def _draw_panel(axes: Axes, what: str, found: SweepResults) -> None:
    rows = trained_rows(found["rows"])
    x, y = (interval_arrays(row["scores"][prop] for row in rows)[0].tolist() for prop in (WHERE, what))
    axes.plot(x, y, color=hex_colour(PREDICTION), linewidth=0.9, alpha=0.5, zorder=2)
    for index, row in enumerate(rows):
        colour = on_white(MIN_OPACITY + (1 - MIN_OPACITY) * index / max(1, len(rows) - 1))
        last = index == len(rows) - 1
        _draw_mark(axes, row["scores"], what, colour, "o", "trained, with its strength" if last else "")
        above = sorted(x).index(x[index]) % 2 == 0  # labels alternate, so that those of neighbours do not overlap
        at, offset = (x[index], y[index]), (5, 5 if above else -12)
        axes.annotate(f"{row['strength']:g}", at, offset, textcoords="offset points", fontsize=9, color=hex_colour(DARK))
    for row in found["rows"]:
        if row["name"] in BASELINES:
            label, rgb, marker = BASELINES[row["name"]]
            _draw_mark(axes, row["scores"], what, hex_colour(rgb), marker, label)
    style_axes(axes)
    axes.grid(axis="x", color=hex_colour(FAINT), linewidth=0.6)
    if chance := found["rows"][0]["scores"][what]["chance"]:
        grey = hex_colour(MUTED)
        axes.axhline(chance, color=grey, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
        right = axes.get_yaxis_transform()
        axes.text(1, chance, "chance ", fontsize=7, color=grey, ha="right", va="bottom", transform=right)
    axes.locator_params(nbins=6)
    axes.set_xlabel(f"where: {LABELS[WHERE]}", fontsize=9)
    axes.set_ylabel(f"what: {LABELS[what]}", fontsize=9)


def _draw_mark(axes: Axes, scores: Mapping[str, SeedScores], what: str, colour: str, marker: str, label: str) -> None:
    """A mark over a cross of intervals, and a small mark per seed where there are several."""
    x, x_low, x_high = interval_arrays([scores[WHERE]])
    y, y_low, y_high = interval_arrays([scores[what]])
    axes.hlines(y, x_low, x_high, color=colour, linewidth=1, alpha=0.6)
    axes.vlines(x, y_low, y_high, color=colour, linewidth=1, alpha=0.6)
    seeds = list(scores[WHERE]["seeds"])
    if len(seeds) > 1:
        seed_x, seed_y = (interval_arrays(scores[prop]["seeds"][seed] for seed in seeds)[0] for prop in (WHERE, what))
        axes.plot(seed_x, seed_y, marker, color=colour, markersize=3, alpha=0.6, linestyle="none")
    axes.plot(x, y, marker, color=colour, markersize=7, label=label or None, zorder=3)


def on_white(opacity: float) -> str:
    """The colour of predictions on white, at an opacity from 0 to 1."""
    red, green, blue = (round(255 + opacity * (part - 255)) for part in PREDICTION)
    return hex_colour((red, green, blue))
