"""Figures of the page of `eval plan`, as inline SVG in the colours of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eval.report.plots import DISTANCE, OTHER, svg
from worldmodel.render.style import COPY, DARK, FAINT, MUTED, PREDICTION, hex_colour

STYLES = ((PREDICTION, "-"), (DISTANCE, "--"), (OTHER, "-."), (COPY, ":"), (MUTED, (0, (1, 1.5))))
SIZE_IN = (3.6, 2.5)


def success_by_distance(policies: Mapping[str, Mapping[str, Any]], unit: str, shown: Sequence[str]) -> str:
    """Success of some policies against the length of the way at the start."""
    figure, axes = _axes()
    for (colour, dashes), name in zip(STYLES, [name for name in shown if name in policies], strict=False):
        bins = policies[name]["by_distance"]
        x = [(it["from"] + it["to"]) / 2 for it in bins]
        _line(axes, x, bins, colour, dashes, policies[name]["label"], 100)
    axes.set_ylim(-4, 104)
    return _finished(figure, axes, f"way to the goal at the start ({unit})", "success (%)")


def forecast_errors(forecast: Mapping[str, Any]) -> str:
    """Latent error by horizon."""
    figure, axes = _axes()
    for (colour, dashes), (name, curve) in zip(STYLES, forecast["error"].items(), strict=False):
        known = [(h, it) for h, it in zip(forecast["horizons"], curve, strict=True) if it is not None]
        _line(axes, [h for h, _ in known], [it for _, it in known], colour, dashes, name)
    axes.set_ylim(bottom=0)
    return _finished(figure, axes, "horizon (steps)", "latent error")


def reach_curve(name: str, found: Mapping[str, Any]) -> str:
    """Mean distance that plans minimise against the truth, with the reach."""
    figure, axes = _axes()
    curve = found["curve"]
    _line(axes, [(it["from"] + it["to"]) / 2 for it in curve], curve, PREDICTION, "-", "mean")
    if found["reach"] is not None:
        axes.axvline(found["reach"], color=hex_colour(MUTED), linestyle=(0, (4, 3)), linewidth=1, label="reach")
    axes.set_xlim(0, found["longest"])
    axes.set_ylim(bottom=0)
    return _finished(figure, axes, name, "distance that plans minimise")


def action_ranks(ranks: Sequence[Mapping[str, Any]]) -> str:
    """Sequences that cost more than the recorded one."""
    figure, axes = _axes()
    axes.axhline(50, color=hex_colour(MUTED), linestyle=(0, (4, 3)), linewidth=1, label="chance")
    _line(axes, [it["horizon"] for it in ranks], ranks, PREDICTION, "-", "recorded actions", 100)
    axes.set_xscale("log", base=2)
    axes.set_xticks([it["horizon"] for it in ranks], [str(it["horizon"]) for it in ranks])
    axes.set_ylim(-4, 104)
    return _finished(figure, axes, "horizon (steps)", "sequences that cost more (%)")


def landscape(found: Mapping[str, Any]) -> str:
    """Cost of constant actions; dark is low."""
    figure, axes = _axes((2.6, 2.5))
    (left, bottom), (right, top), costs = found["low"], found["high"], found["costs"]
    axes.imshow(costs, extent=(left, right, bottom, top), origin="lower", cmap="viridis", aspect="equal")
    axes.plot(*found["recorded"], "o", color="white", markeredgecolor="black", markersize=7, label="recorded, mean")
    axes.plot(*found["lowest"], "x", color="red", markersize=7, label="lowest cost")
    return _finished(figure, axes, "first number of the action", "second number")


def _axes(size: tuple[float, float] = SIZE_IN) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots()


def _line(
    axes: Axes,
    x: Sequence[float],
    scores: Sequence[Mapping[str, Any]],
    colour: Any,
    dashes: Any,
    label: str,
    factor: float = 1.0,
) -> None:
    value, low, high = ([factor * it[name] for it in scores] for name in ("value", "low", "high"))
    axes.plot(x, value, color=hex_colour(colour), linestyle=dashes, linewidth=1.6, marker="o", markersize=3, label=label)
    axes.fill_between(x, low, high, color=hex_colour(colour), alpha=0.12, linewidth=0)


def _finished(figure: Figure, axes: Axes, x: str, y: str) -> str:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(hex_colour(FAINT))
    axes.tick_params(labelsize=8, color=hex_colour(FAINT), labelcolor=hex_colour(MUTED))
    axes.set_xlabel(x, fontsize=8.5, color=hex_colour(MUTED))
    axes.set_ylabel(y, fontsize=8.5, color=hex_colour(MUTED))
    figure.legend(
        *axes.get_legend_handles_labels(),
        frameon=False,
        fontsize=7.5,
        labelcolor=hex_colour(DARK),
        loc="outside lower center",
        ncols=2,
    )
    return svg(figure)
