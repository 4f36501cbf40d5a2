"""The figure of tradeoff.json: how well one is told what, against how well one is told where, a mark a strength."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eval.probes.gathering import PIXELS, UNTRAINED
from eval.sweeps.tradeoff_tables import READ_AS, WHAT, WHERE, caption, trained_rows
from worldmodel.render import save_figure
from worldmodel.render.curves import bare, under
from worldmodel.render.ink import BAD, FAINT, IMAGINED, INK, MUTED, Rgb, hexadecimal

REFERENCES: Mapping[str, tuple[str, Rgb, str]] = {
    UNTRAINED: ("untrained network", MUTED, "s"),
    PIXELS: ("raw pixels", BAD, "^"),
}
PALEST = 0.35  # of the ink of the strongest that the weakest gets


def draw(out: Path, found: Mapping[str, Any]) -> None:
    """OUT/tradeoff.png."""
    save_figure(plane(found), out / "tradeoff.png")


def plane(found: Mapping[str, Any]) -> Figure:
    figure = Figure(figsize=(7.6, 4.4), layout="constrained")
    for axes, what in zip(figure.subplots(1, len(WHAT)), WHAT, strict=True):
        _panel(axes, what, found)
    marks = figure.axes[0].get_legend_handles_labels()
    figure.legend(*marks, frameon=False, fontsize=8, loc="outside upper left", ncols=len(marks[0]))
    under(figure, caption(found))
    return figure


def _panel(axes: Axes, what: str, found: Mapping[str, Any]) -> None:
    rows = trained_rows(found)
    means = [[row["scores"][prop]["value"] for row in rows] for prop in (WHERE, what)]
    axes.plot(*means, color=hexadecimal(IMAGINED), linewidth=0.9, alpha=0.5, zorder=2)
    for place, row in enumerate(rows):
        colour = mixed(PALEST + (1 - PALEST) * place / max(1, len(rows) - 1))
        _mark(axes, row["scores"], what, colour, "o", "trained, with its strength" if place == len(rows) - 1 else "")
        above = sorted(means[0]).index(means[0][place]) % 2 == 0  # neighbours' labels keep out of each other's way
        at, offset = (means[0][place], means[1][place]), (5, 5 if above else -12)
        axes.annotate(f"{row['strength']:g}", at, offset, textcoords="offset points", fontsize=9, color=hexadecimal(INK))
    for row in found["rows"]:
        if row["name"] in REFERENCES:
            label, ink, marker = REFERENCES[row["name"]]
            _mark(axes, row["scores"], what, hexadecimal(ink), marker, label)
    bare(axes)
    axes.grid(axis="x", color=hexadecimal(FAINT), linewidth=0.6)
    if chance := found["rows"][0]["scores"][what]["chance"]:
        axes.axhline(chance, color=hexadecimal(MUTED), linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
        axes.text(
            1,
            chance,
            "chance ",
            fontsize=7,
            color=hexadecimal(MUTED),
            ha="right",
            va="bottom",
            transform=axes.get_yaxis_transform(),
        )
    axes.locator_params(nbins=6)
    axes.set_xlabel(f"where: {READ_AS[WHERE]}", fontsize=9)
    axes.set_ylabel(f"what: {READ_AS[what]}", fontsize=9)


def _mark(axes: Axes, scores: Mapping[str, Any], what: str, colour: str, marker: str, label: str) -> None:
    """A cross of intervals under a mark, and a small mark for each seed where there are several."""
    x, y = scores[WHERE], scores[what]
    axes.hlines(y["value"], x["low"], x["high"], color=colour, linewidth=1, alpha=0.6)
    axes.vlines(x["value"], y["low"], y["high"], color=colour, linewidth=1, alpha=0.6)
    if len(x["seeds"]) > 1:
        alone = [[it["seeds"][seed]["value"] for seed in x["seeds"]] for it in (x, y)]
        axes.plot(*alone, marker, color=colour, markersize=3, alpha=0.6, linestyle="none")
    axes.plot(x["value"], y["value"], marker, color=colour, markersize=7, label=label or None, zorder=3)


def mixed(share: float) -> str:
    """The model's colour on white, so much of it."""
    return hexadecimal(tuple(round(255 + share * (part - 255)) for part in IMAGINED))  # type: ignore[arg-type]
