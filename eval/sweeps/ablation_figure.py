"""The figure of an ablation: ways down, what they lead to across, a mark a seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eval.sweeps.ablation import verdicts
from worldmodel.render.curves import VERDICT_COLOURS, bare, under
from worldmodel.render.ink import BAD, FAINT, GOOD, IMAGINED, INK, MUTED, Rgb, hexadecimal

FLOOR = -0.5  # skill and R2 below are drawn here
SHADES = (0.45, 0.7, 1.0)  # of horizons, the farthest darkest
Marks = Sequence[tuple[str, str, Rgb, float]]  # name of the score, label, colour, opacity


def figure(found: Mapping[str, Any]) -> Figure:
    """Effective rank and verdict, latent skill, position, physics; bars: 95 % over films, of each seed."""
    ways = list(found["ways"])
    names = list(found["cells"][0]["scores"])
    drawn = Figure(figsize=(11.5, 0.62 * len(ways) + 2.0), layout="constrained")
    rank, skill, position, physics = drawn.subplots(1, 4, sharey=True, width_ratios=[1, 1.2, 1.4, 1.2])
    _ranks(rank, found, ways)
    _scores(skill, found, ways, _by_horizon(names, "latent skill", IMAGINED))
    skill.set_xlabel("forecast skill in latents\n(1 - error / the better of copy's, mean's)", fontsize=8)
    marks = [("position", "of latents", GOOD, 1.0), *_by_horizon(names, "position ahead", IMAGINED)]
    _scores(position, found, ways, marks)
    position.set_xlabel("position, linear probe (R²)", fontsize=8)
    scorers = [name for name in names if name.startswith("physics, ")]
    colours = {"physics, distance": BAD, "physics, whitened": INK, "physics, adjusted": IMAGINED}
    shown = [(name, name.removeprefix("physics, "), colours[name], 1.0) for name in scorers if name in colours]
    _scores(physics, found, ways, shown, scale=100, floor=0)
    physics.axvline(50, color=hexadecimal(MUTED), linewidth=0.8)
    physics.set_xlabel("pairs right, locked windows (%)\n(line: chance)", fontsize=8)
    untrained = found["cells"][0]["untrained"].get("position")
    if untrained:
        position.axvline(
            untrained["value"], color=hexadecimal(MUTED), linewidth=0.8, linestyle=(0, (4, 3)), label="untrained, latents"
        )
    for axes in (skill, position, physics):
        axes.legend(frameon=False, fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.24), ncols=2)
    updates = next((text for text in found["config"]["overrides"] if text.startswith("train.max_steps=")), "")
    made = f", commit {found['commit']}" if found["commit"] else ""
    under(
        drawn,
        f"{found['config']['recipe']}, {updates}; a mark a seed, bars: 95 % over films; below {FLOOR:g} drawn there. "
        f"{found['command']}{made}",
    )
    return drawn


def _ranks(axes: Axes, found: Mapping[str, Any], ways: Sequence[str]) -> None:
    for row, way, place in _places(found, ways):
        verdict = row["doctor"]["verdict"]
        rank = row["doctor"]["effective_rank"] or 0.0
        axes.plot(rank, place, "o", color=VERDICT_COLOURS.get(verdict, hexadecimal(BAD)), markersize=5)
        if row["seed"] == max(it["seed"] for it in found["cells"] if it["way"] == way):
            axes.annotate(
                verdicts(found["ways"][way]["verdicts"]).replace("_", " "),
                (0, place),
                (2, -9),
                textcoords="offset points",
                fontsize=6.5,
                color=hexadecimal(MUTED),
            )
    _rows(axes, ways)
    axes.set_xlim(left=0)
    axes.set_xlabel("effective rank, and verdict", fontsize=8)


def _scores(
    axes: Axes, found: Mapping[str, Any], ways: Sequence[str], marks: Marks, scale: float = 1, floor: float = FLOOR
) -> None:
    for number, (name, label, colour, alpha) in enumerate(marks):
        nudge = 0.07 * (number - (len(marks) - 1) / 2)
        there = [(row["scores"].get(name), place + nudge) for row, _, place in _places(found, ways)]
        y = [place for it, place in there if it is not None]
        value, low, high = (
            [scale * max(it[end], floor / scale) for it, _ in there if it is not None] for end in ("value", "low", "high")
        )
        axes.hlines(y, low, high, color=hexadecimal(colour), linewidth=1, alpha=0.4 * alpha)
        axes.plot(value, y, "o", color=hexadecimal(colour), alpha=alpha, markersize=3.5, label=label)
    _rows(axes, ways)


def _places(found: Mapping[str, Any], ways: Sequence[str]) -> list[tuple[Mapping[str, Any], str, float]]:
    """Each cell with its height: seeds of a way stand below one another."""
    seeds = sorted({row["seed"] for row in found["cells"]})
    offsets = np.linspace(-0.24, 0.24, len(seeds)) if len(seeds) > 1 else [0.0]
    height = dict(zip(seeds, offsets, strict=True))
    return [(row, row["way"], ways.index(row["way"]) + float(height[row["seed"]])) for row in found["cells"]]


def _by_horizon(names: Sequence[str], what: str, colour: Rgb) -> Marks:
    there = [name for name in names if name.startswith(f"{what} @")]
    shades = np.linspace(SHADES[0], SHADES[-1], len(there))
    return [
        (name, f"{name.partition('@')[2]} s ahead", colour, float(shade)) for name, shade in zip(there, shades, strict=True)
    ]


def _rows(axes: Axes, ways: Sequence[str]) -> None:
    bare(axes)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color=hexadecimal(FAINT), linewidth=0.6)
    axes.set_yticks(range(len(ways)), [way.replace("_", " ") for way in ways])
    axes.set_ylim(len(ways) - 0.5, -0.5)
