"""Figures of a report as SVG. Colours and fonts are those of the page."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from worldmodel.render.style import BAD, COPY, DARK, FAINT, GOOD, MUTED, PREDICTION, Rgb, disable_mathtext, hex_colour

DISTANCE: Rgb = (170, 68, 153)
OTHER: Rgb = (120, 120, 0)
# colours that are replaced by variables of the page, which has a light and a dark scheme
COLOURS = {
    **{DARK: "--ink", MUTED: "--quiet", FAINT: "--line", PREDICTION: "--first", DISTANCE: "--second", OTHER: "--third"},
    **{GOOD: "--good", BAD: "--bad", COPY: "--fair"},
}
ORDER = ((PREDICTION, "o"), (DISTANCE, "s"), (OTHER, "D"))
WIDTH_IN, HEIGHT_IN = 2.7, 1.7


def accuracy_curve(bins: Mapping[str, Sequence[Mapping[str, Any]]], quantity: str) -> str:
    """Correct pairs against a quantity, one line per scorer with 95 % intervals. bins: by scorer, as in scores.json."""
    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), layout="constrained")
    axes = figure.subplots()
    axes.axhline(50, color=hex_colour(MUTED), linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    span = [edge for some in bins.values() for it in some for edge in (it["from"], it["to"])]
    shift = 0.008 * (max(span) - min(span))
    for index, some in enumerate(bins.values()):
        colour, mark = ORDER[min(index, len(ORDER) - 1)]
        x = [(it["from"] + it["to"]) / 2 + shift * index for it in some]
        low, high = ([100 * it[end] for it in some] for end in ("low", "high"))
        axes.vlines(x, low, high, color=hex_colour(colour), linewidth=1.4, alpha=0.6)
        y = [100 * it["value"] for it in some]
        axes.plot(x, y, mark, linestyle="-", color=hex_colour(colour), linewidth=1.6, markersize=4.5)
    axes.set_ylim(-4, 104)
    axes.set_yticks([0, 50, 100])
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.set_xlabel(quantity, fontsize=9, color=hex_colour(MUTED))
    _style_axes(axes)
    return svg(figure)


def svg(figure: Figure) -> str:
    """Inline SVG with text, colours of the page, and unique ids. The same figure always gives the same SVG."""
    text = io.StringIO()
    disable_mathtext(figure)
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "report"}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    body = text.getvalue()
    body = re.sub(r"<metadata>.*?</metadata>", "", body[body.index("<svg") :], flags=re.DOTALL)
    for colour, name in COLOURS.items():
        body = body.replace(hex_colour(colour), f"var({name})")
    body = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", body)
    own = hashlib.sha256(body.encode()).hexdigest()[:8]
    return re.sub(r'( id="|xlink:href="#|url\(#)', rf"\g<1>f{own}-", body)


def _style_axes(axes: Axes) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(hex_colour(FAINT))
    axes.tick_params(labelsize=9, color=hex_colour(FAINT), labelcolor=hex_colour(MUTED))
