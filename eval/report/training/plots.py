"""The figures of a training report. Each shows one quantity over training steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from eval.report.plots import svg
from eval.report.training.run_folder import Row, Run
from worldmodel.health.advice import text_of
from worldmodel.render.curves import STYLES, series, smoothed
from worldmodel.render.style import BAD, COPY, DARK, FAINT, GOOD, MUTED, PREDICTION, Rgb, hex_colour

Values = NDArray[np.floating]
WIDTH_IN, HEIGHT_IN = 4.3, 2.1
AXES_BOX = (0.125, 0.2, 0.835, 0.73)  # the same in every figure, so that the step axes are aligned
TONES: Mapping[str, Rgb] = {"good": GOOD, "fair": COPY, "bad": BAD, "open": FAINT}
MAX_POINTS = 300  # of a line; of longer lines, the extremes of each part are drawn
FEW_POINTS = 20  # lines with no more points have markers
MIN_SKILL_SHOWN = -1.0
LOG_RATIO = 20.0  # of the largest to the smallest value; above it, a logarithmic scale is used


@dataclass(frozen=True)
class Line:
    label: str
    steps: Values
    values: Values
    style: Mapping[str, Any]
    noisy: bool = False  # drawn in a light colour, with a smoothed line over it


def line_of(
    rows: Sequence[Row], name: str, label: str = "", style: Mapping[str, Any] | None = None, noisy: bool = False
) -> Line:
    plain = {"color": hex_colour(PREDICTION), "linewidth": 1.6}
    return Line(label, *series(rows, name), style or plain, noisy)


def over_steps(run: Run, lines: Sequence[Line], levels: Mapping[str, float] | None = None, **scale: Any) -> str:
    """Lines over the steps of a run, with a strip of the verdicts above, as SVG.

    levels: labelled horizontal lines. scale: arguments of `set_scale`.
    """
    figure, axes = _blank()
    for line in lines:
        if line.noisy:
            pale = {**line.style, "alpha": 0.35, "linewidth": 0.8}
            axes.plot(*thinned(line.steps, line.values), **pale)
        steady = smoothed(line.values) if line.noisy else line.values
        dots: dict[str, Any] = (
            {"marker": "o", "markersize": 3} if len(steady) <= FEW_POINTS else {}
        )  # so that a single point is visible
        axes.plot(*thinned(line.steps, steady), label=line.label, **dots, **line.style)
    levels = levels or {}
    for label, level in levels.items():
        axes.axhline(level, color=hex_colour(MUTED), linewidth=1, linestyle=(0, (2, 2)))
        offset = -9 if level == max(levels.values()) and len(levels) > 1 else 2  # the highest label is below its line
        axes.annotate(
            label, (0, level), (2, offset), xycoords=("axes fraction", "data"), textcoords="offset points", fontsize=7.5
        )
        axes.texts[-1].set_color(hex_colour(MUTED))
    set_scale(axes, [line.values for line in lines], **scale)
    end = max(run.steps, 1)
    axes.set_xlim(0, end)
    _verdict_strip(axes, run, end)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel("step", fontsize=8.5, color=hex_colour(MUTED))
    if any(line.label for line in lines):
        _legend(axes)
    return svg(figure)


def by_horizon(run: Run, check: Row) -> str:
    """Forecast skill against the horizon at one health check, as SVG."""
    figure, axes = _blank()
    x = [float(name) for name in run.horizons]
    for (label, prefix), style in zip(SKILLS.items(), STYLES, strict=False):
        y = [np.nan if check.get(f"{prefix}/{name}") is None else float(check[f"{prefix}/{name}"]) for name in run.horizons]
        axes.plot(x, y, label=label, **{"marker": "o", **style, "markersize": 3.5})
    axes.axhline(0, color=hex_colour(MUTED), linewidth=0.8)
    axes.set_ylim(max(MIN_SKILL_SHOWN, axes.get_ylim()[0]), 1)
    axes.set_xlim(0, 1.04 * max(x))
    axes.set_xlabel("horizon (s)", fontsize=8.5, color=hex_colour(MUTED))
    _legend(axes)
    return svg(figure)


SKILLS = {"the better baseline": "skill", "copying the last latent": "skill_copy", "the mean": "skill_mean"}
"""Baselines of the skill: label -> name in the rows of health.jsonl."""


def skill_lines(run: Run, prefix: str) -> list[Line]:
    """One line per horizon, lighter for longer horizons; at most six."""
    names = run.horizons
    if len(names) > 6:
        names = [names[round(index)] for index in np.linspace(0, len(names) - 1, 6)]
    blue = {"color": hex_colour(PREDICTION), "linewidth": 1.5}
    shades = np.linspace(1, 0.35, len(names)).tolist()
    return [
        line_of(run.health, f"{prefix}/{name}", f"{name} s", {**blue, "alpha": shade})
        for name, shade in zip(names, shades, strict=True)
    ]


def set_scale(
    axes: Axes,
    values: Sequence[Values],
    *,
    bottom: float | None = None,
    floor: float | None = None,
    top: float | None = None,
    log: bool = False,
) -> None:
    """Set the limits: from `bottom`, or not below `floor`; at least up to `top`. log: if values are positive and far apart."""
    finite = np.concatenate([np.zeros(0), *(some[np.isfinite(some)] for some in values)])
    if log and len(finite) and finite.min() > 0 and finite.max() > LOG_RATIO * finite.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(numticks=5))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(4))
        low, high = axes.get_ylim()
        low = bottom if bottom is not None else low if floor is None else max(floor, low)
        axes.set_ylim(low, high if top is None else max(top, high))
    axes.yaxis.set_major_formatter(FuncFormatter(tick_label))


def tick_label(value: float, _position: int = 0) -> str:
    """At most six characters: "0.25", "1,000", "2.4e-4"."""
    if value and (abs(value) < 1e-3 or abs(value) >= 1e6):
        number, _, power = f"{value:.1e}".partition("e")
        return f"{number.removesuffix('.0')}e{int(power)}"
    return f"{value:,.6g}"


def _verdict_strip(axes: Axes, run: Run, end: int) -> None:
    """Verdicts in their colours, just above the axes."""
    for span in run.spans:
        colour = hex_colour(TONES[text_of(span.verdict).tone])
        x, width = span.start / end, (span.stop - span.start) / end
        bar = Rectangle((x, 1.02), width, 0.035, facecolor=colour, edgecolor="none", transform=axes.transAxes, clip_on=False)
        axes.add_patch(bar)


def thinned(steps: Values, values: Values) -> tuple[Values, Values]:
    """At most MAX_POINTS of a line: the smallest and the largest value of each part, so that peaks remain visible."""
    if len(values) <= MAX_POINTS:
        return steps, values
    indices = []
    for part in np.array_split(np.arange(len(values)), MAX_POINTS // 2):
        finite = part[np.isfinite(values[part])]
        indices += (
            sorted({int(finite[values[finite].argmin()]), int(finite[values[finite].argmax()])})
            if len(finite)
            else [int(part[0])]
        )
    return steps[indices], values[indices]


def _blank() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN))
    axes = figure.add_axes(AXES_BOX)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(hex_colour(FAINT))
    axes.grid(axis="y", color=hex_colour(FAINT), linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8.5, color=hex_colour(FAINT), labelcolor=hex_colour(MUTED), length=2.5)
    axes.tick_params(which="minor", length=0)
    return figure, axes


def _legend(axes: Axes) -> None:
    axes.legend(
        frameon=False, fontsize=7.5, labelcolor=hex_colour(DARK), loc="best", ncols=2, handlelength=1.6, columnspacing=1.2
    )
