"""The figure of forecast.json: error, skill and position error against the horizon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eval.forecasts.forecast_errors import COPY_LAST, DIRECT, LAST_SEEN, LINEAR, MEAN, OPEN_LOOP, TARGET
from eval.forecasts.results import ForecastResults
from eval.forecasts.skill import Curve
from eval.probes.constant_velocity import CONSTANT_VELOCITY
from eval.probes.results import interval_arrays
from worldmodel.render.curves import add_caption, style_axes
from worldmodel.render.style import BAD, COPY, DARK, GOOD, MUTED, PREDICTION, Rgb, hex_colour
from worldmodel.render.style import MEAN as MEAN_COLOUR

Style = tuple[Rgb, Any]  # colour, line style
SOLID, DASHED, DOTTED = "-", (0, (5, 2)), (0, (1, 1.5))
STYLES: Mapping[str, Style] = {
    OPEN_LOOP: (PREDICTION, SOLID),
    DIRECT: (PREDICTION, DASHED),
    COPY_LAST: (COPY, SOLID),
    LINEAR: (BAD, DOTTED),
    MEAN: (MEAN_COLOUR, DOTTED),
    LAST_SEEN: (COPY, DASHED),
    CONSTANT_VELOCITY: (DARK, DASHED),
    TARGET: (GOOD, SOLID),
}
MIN_SKILL = -0.5  # the lower end of the axis


def forecast_figure(found: ForecastResults, caption: str) -> Figure:
    """Error, skill and, where there is a ground truth, position error against the horizon, with 95
    % bands."""
    times, has_position = found["horizons_s"], "position_px" in found
    panels = 3 if has_position else 2
    figure = Figure(figsize=(4.1 * panels, 4.1), layout="constrained")
    axes = figure.subplots(1, panels)
    _draw_errors(axes[0], times, found["error"], "latent error (the model's distance)")
    for source, against in [(OPEN_LOOP, other) for other in (COPY_LAST, MEAN, LINEAR)] + [(DIRECT, COPY_LAST)]:
        style = (STYLES[against][0], DASHED if source == DIRECT else SOLID)
        _draw_curve(axes[1], times, found["skill"][source][against], f"{source} against {against}", style)
    axes[1].axhline(0, color=hex_colour(MUTED), linewidth=0.8)
    axes[1].set_ylim(MIN_SKILL, 1)
    _finish(axes[1], "skill: 1 - error / baseline's error")
    if has_position:
        _draw_errors(axes[2], times, found["position_px"], "position error, by a probe (px)")
    add_caption(figure, caption)
    return figure


def _draw_errors(axes: Axes, times: Sequence[float], by_source: Mapping[str, Curve], quantity: str) -> None:
    """One line per source, in the order of STYLES.

    Linear extrapolation does not set the axis limits, because its errors soon grow large.
    """
    for source, style in STYLES.items():
        if source in by_source:
            _draw_curve(axes, times, by_source[source], source, style)
    highs = [score["high"] for source, curve in by_source.items() if source != LINEAR for score in curve if score]
    axes.set_ylim(0, 1.05 * max(highs))
    _finish(axes, quantity)


def _draw_curve(axes: Axes, times: Sequence[float], scores: Curve, label: str, style: Style) -> None:
    value, low, high = interval_arrays(scores)
    colour, dashes = style
    axes.plot(times, value, color=hex_colour(colour), linestyle=dashes, linewidth=1.7, label=label)
    axes.fill_between(times, low, high, color=hex_colour(colour), alpha=0.12, linewidth=0)


def _finish(axes: Axes, quantity: str) -> None:
    style_axes(axes)
    axes.set_xlim(left=0)
    axes.set_xlabel("horizon (s)")
    axes.set_ylabel(quantity)
    axes.legend(frameon=False, fontsize=7, labelcolor=hex_colour(DARK), loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
