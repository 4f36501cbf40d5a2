"""The figures of a training report: one quantity each over updates, small enough to stand side by side or below one another."""

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
from eval.report.training.verdicts import meaning_of
from worldmodel.render.curves import STYLES, series, smoothed
from worldmodel.render.ink import BAD, COPY, FAINT, GOOD, IMAGINED, INK, MUTED, Rgb, hexadecimal

Values = NDArray[np.floating]
WIDTH_IN, HEIGHT_IN = 4.3, 2.1
INSIDE = (0.125, 0.2, 0.855, 0.73)  # of every figure alike, so that updates stand below one another
TONES: Mapping[str, Rgb] = {"good": GOOD, "fair": COPY, "bad": BAD, "open": FAINT}
MOST_POINTS = 300  # of a line; longer ones are drawn by the extremes of their parts
FEW_POINTS = 20
FAR_BELOW = -1.0  # skill that low is not worth the room
WIDE_SPAN = 20.0  # between largest and smallest, from which on a scale is logarithmic


@dataclass(frozen=True)
class Line:
    label: str
    updates: Values
    values: Values
    style: Mapping[str, Any]
    noisy: bool = False  # drawn pale, with a smoothed line over it


def line_of(
    rows: Sequence[Row], name: str, label: str = "", style: Mapping[str, Any] | None = None, noisy: bool = False
) -> Line:
    plain = {"color": hexadecimal(IMAGINED), "linewidth": 1.6}
    return Line(label, *series(rows, name), style or plain, noisy)


def course(run: Run, lines: Sequence[Line], **asked: Any) -> str:
    """Lines over the updates of a run, a strip of verdicts along the top. `asked`: see `scale`, and `levels`, by label."""
    levels: Mapping[str, float] = asked.pop("levels", {})
    figure, axes = _blank()
    for line in lines:
        if line.noisy:
            pale = {**line.style, "alpha": 0.35, "linewidth": 0.8}
            axes.plot(*thinned(line.updates, line.values), **pale)
        steady = smoothed(line.values) if line.noisy else line.values
        dots: dict[str, Any] = (
            {"marker": "o", "markersize": 3} if len(steady) <= FEW_POINTS else {}
        )  # a line of one point is none
        axes.plot(*thinned(line.updates, steady), label=line.label, **dots, **line.style)
    for label, level in levels.items():
        axes.axhline(level, color=hexadecimal(MUTED), linewidth=1, linestyle=(0, (2, 2)))
        axes.annotate(label, (0, level), (2, 2), xycoords=("axes fraction", "data"), textcoords="offset points", fontsize=7.5)
        axes.texts[-1].set_color(hexadecimal(MUTED))
    scale(axes, [line.values for line in lines], **asked)
    end = max(run.updates, 1)
    axes.set_xlim(0, end)
    strip(axes, run, end)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel("step", fontsize=8.5, color=hexadecimal(MUTED))
    if any(line.label for line in lines):
        _legend(axes)
    return svg(figure)


def horizons(run: Run, look: Row) -> str:
    """Held-out skill at one look against how far ahead it is."""
    figure, axes = _blank()
    x = [float(name) for name in run.horizons]
    for (label, prefix), style in zip(SKILLS.items(), STYLES, strict=False):
        y = [np.nan if look.get(f"{prefix}/{name}") is None else float(look[f"{prefix}/{name}"]) for name in run.horizons]
        axes.plot(x, y, label=label, **{"marker": "o", **style, "markersize": 3.5})
    axes.axhline(0, color=hexadecimal(MUTED), linewidth=0.8)
    axes.set_ylim(max(FAR_BELOW, axes.get_ylim()[0]), 1)
    axes.set_xlim(0, 1.04 * max(x))
    axes.set_xlabel("horizon (s)", fontsize=8.5, color=hexadecimal(MUTED))
    _legend(axes)
    return svg(figure)


SKILLS = {"the better of both": "skill", "repeating the last latent": "skill_copy", "the mean": "skill_mean"}
"""What skill is against: its name here, and in the rows of health.jsonl."""


def by_horizon(run: Run, prefix: str) -> list[Line]:
    """A line a horizon, paler the further; of many horizons some."""
    names = run.horizons
    if len(names) > 6:
        names = [names[round(place)] for place in np.linspace(0, len(names) - 1, 6)]
    blue = {"color": hexadecimal(IMAGINED), "linewidth": 1.5}
    shades = np.linspace(1, 0.35, len(names)).tolist()
    return [
        line_of(run.health, f"{prefix}/{name}", f"{name} s", {**blue, "alpha": shade})
        for name, shade in zip(names, shades, strict=True)
    ]


def scale(
    axes: Axes,
    values: Sequence[Values],
    *,
    bottom: float | None = None,
    floor: float | None = None,
    top: float | None = None,
    log: bool = False,
) -> None:
    """Limits: from `bottom`, or not below `floor`; up to `top` at least. `log`: where values are positive and far apart."""
    seen = np.concatenate([np.zeros(0), *(some[np.isfinite(some)] for some in values)])
    if log and len(seen) and seen.min() > 0 and seen.max() > WIDE_SPAN * seen.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(numticks=5))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(4))
        low, high = axes.get_ylim()
        low = bottom if bottom is not None else low if floor is None else max(floor, low)
        axes.set_ylim(low, high if top is None else max(top, high))
    axes.yaxis.set_major_formatter(FuncFormatter(short))


def short(value: float, _place: int = 0) -> str:
    """A tick in at most six letters: "0.25", "1,000", "2.4e-4"."""
    if value and (abs(value) < 1e-3 or abs(value) >= 1e6):
        number, _, power = f"{value:.1e}".partition("e")
        return f"{number.removesuffix('.0')}e{int(power)}"
    return f"{value:,.6g}"


def strip(axes: Axes, run: Run, end: int) -> None:
    """Verdicts in their colours, just above the picture."""
    for span in run.spans:
        colour = hexadecimal(TONES[meaning_of(span.verdict).tone])
        x, width = span.start / end, (span.stop - span.start) / end
        bar = Rectangle((x, 1.02), width, 0.035, facecolor=colour, edgecolor="none", transform=axes.transAxes, clip_on=False)
        axes.add_patch(bar)


def thinned(updates: Values, values: Values) -> tuple[Values, Values]:
    """At most MOST_POINTS of a line: of each of its parts the smallest and the largest, where they are; peaks stay."""
    if len(values) <= MOST_POINTS:
        return updates, values
    kept = []
    for part in np.array_split(np.arange(len(values)), MOST_POINTS // 2):
        known = part[np.isfinite(values[part])]
        kept += (
            sorted({int(known[values[known].argmin()]), int(known[values[known].argmax()])}) if len(known) else [int(part[0])]
        )
    return updates[kept], values[kept]


def _blank() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN))
    axes = figure.add_axes(INSIDE)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(hexadecimal(FAINT))
    axes.grid(axis="y", color=hexadecimal(FAINT), linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8.5, color=hexadecimal(FAINT), labelcolor=hexadecimal(MUTED), length=2.5)
    axes.tick_params(which="minor", length=0)
    return figure, axes


def _legend(axes: Axes) -> None:
    axes.legend(
        frameon=False, fontsize=7.5, labelcolor=hexadecimal(INK), loc="best", ncols=2, handlelength=1.6, columnspacing=1.2
    )
