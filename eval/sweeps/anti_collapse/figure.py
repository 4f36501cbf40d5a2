"""The figure of a sweep over anti-collapse methods: one row per method, one mark per seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eval.sweeps.anti_collapse.results import SCORERS, CellResults, SweepResults, verdict_text
from worldmodel.render.curves import VERDICT_COLOURS, add_caption, style_axes
from worldmodel.render.style import BAD, DARK, FAINT, GOOD, MUTED, PREDICTION, Rgb, hex_colour

FLOOR = -0.5  # a smaller skill or R2 is drawn here
SHADES = (0.45, 1.0)  # opacity of the nearest and the farthest horizon
Marks = Sequence[tuple[str, str, Rgb, float]]
"""Name of the score, label, colour, opacity."""


def sweep_figure(found: SweepResults) -> Figure:
    """Effective rank and verdict, latent skill, position, and VoE; bars: 95 % over videos, of each
    seed."""
    methods = list(found["methods"])
    names = list(found["cells"][0]["scores"])
    figure = Figure(figsize=(11.5, 0.62 * len(methods) + 2.0), layout="constrained")
    rank, skill, position, voe = figure.subplots(1, 4, sharey=True, width_ratios=[1, 1.2, 1.4, 1.2])
    _draw_ranks(rank, found, methods)
    _draw_scores(skill, found, methods, _by_horizon(names, "latent skill", PREDICTION))
    skill.set_xlabel("forecast skill in latents\n(1 - error / the better baseline's)", fontsize=8)
    marks = [("position", "target latents", GOOD, 1.0), *_by_horizon(names, "position ahead", PREDICTION)]
    _draw_scores(position, found, methods, marks)
    position.set_xlabel("position, linear probe (R²)", fontsize=8)
    colours = dict(zip((f"voe, {scorer}" for scorer in SCORERS), (BAD, DARK, PREDICTION), strict=True))
    shown = [(name, name.removeprefix("voe, "), colours[name], 1.0) for name in names if name in colours]
    _draw_scores(voe, found, methods, shown, scale=100, floor=0)
    voe.axvline(50, color=hex_colour(MUTED), linewidth=0.8)
    voe.set_xlabel("pairs right, locked windows (%)\n(line: chance)", fontsize=8)
    untrained = found["cells"][0]["untrained"].get("position")
    if untrained:
        style = {"color": hex_colour(MUTED), "linewidth": 0.8, "linestyle": (0, (4, 3))}
        position.axvline(untrained["value"], label="untrained, target latents", **style)
    for axes in (skill, position, voe):
        axes.legend(frameon=False, fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.24), ncols=2)
    steps = next((text for text in found["config"]["overrides"] if text.startswith("train.max_steps=")), "")
    commit = f", commit {found['commit']}" if found["commit"] else ""
    add_caption(
        figure,
        f"{found['config']['recipe']}, {steps}; one mark per seed, bars: 95 % over videos; values below {FLOOR:g} are drawn "
        f"there. {found['command']}{commit}",
    )
    return figure


def _draw_ranks(axes: Axes, found: SweepResults, methods: Sequence[str]) -> None:
    for row, method, y in _rows(found, methods):
        verdict = row["health"]["verdict"]
        rank = row["health"]["effective_rank"] or 0.0
        axes.plot(rank, y, "o", color=VERDICT_COLOURS.get(verdict, hex_colour(BAD)), markersize=5)
        if row["seed"] == max(it["seed"] for it in found["cells"] if it["method"] == method):
            text = verdict_text(found["methods"][method]["verdicts"]).replace("_", " ")
            axes.annotate(text, (0, y), (2, -9), textcoords="offset points", fontsize=6.5, color=hex_colour(MUTED))
    _style_rows(axes, methods)
    axes.set_xlim(left=0)
    axes.set_xlabel("effective rank, and verdict", fontsize=8)


def _draw_scores(
    axes: Axes, found: SweepResults, methods: Sequence[str], marks: Marks, scale: float = 1, floor: float = FLOOR
) -> None:
    for number, (name, label, colour, alpha) in enumerate(marks):
        offset = 0.07 * (number - (len(marks) - 1) / 2)
        drawn = [(it, y + offset) for row, _, y in _rows(found, methods) if (it := row["scores"].get(name)) is not None]
        y = [at for _, at in drawn]
        value, low, high = ([scale * max(it[end], floor / scale) for it, _ in drawn] for end in ("value", "low", "high"))
        axes.hlines(y, low, high, color=hex_colour(colour), linewidth=1, alpha=0.4 * alpha)
        axes.plot(value, y, "o", color=hex_colour(colour), alpha=alpha, markersize=3.5, label=label)
    _style_rows(axes, methods)


def _rows(found: SweepResults, methods: Sequence[str]) -> list[tuple[CellResults, str, float]]:
    """Each cell with its method and its vertical position: the seeds of a method are below one
    another."""
    seeds = sorted({row["seed"] for row in found["cells"]})
    offsets = np.linspace(-0.24, 0.24, len(seeds)) if len(seeds) > 1 else [0.0]
    offset = dict(zip(seeds, offsets, strict=True))
    return [(row, row["method"], methods.index(row["method"]) + float(offset[row["seed"]])) for row in found["cells"]]


def _by_horizon(names: Sequence[str], score: str, colour: Rgb) -> Marks:
    """One mark per horizon of a score, the farthest darkest."""
    shown = [name for name in names if name.startswith(f"{score} @")]
    shades = np.linspace(*SHADES, len(shown))
    return [
        (name, f"{name.partition('@')[2]} s ahead", colour, float(shade)) for name, shade in zip(shown, shades, strict=True)
    ]


def _style_rows(axes: Axes, methods: Sequence[str]) -> None:
    style_axes(axes)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color=hex_colour(FAINT), linewidth=0.6)
    axes.set_yticks(range(len(methods)), [method.replace("_", " ") for method in methods])
    axes.set_ylim(len(methods) - 0.5, -0.5)
