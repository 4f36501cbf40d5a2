"""Figure: pairs right in several worlds against the number of training steps, or of training videos.

    python -m benchmarks.transfer_scaling FIGURE.png \
        --curve "half painted" 500=scores/p500.json 2800=scores/painted.json 5600=scores/twice.json

The files are those of benchmarks.transfer_scores; --axis names what the numbers before them count. A panel shows one world: the
mean over what went in (permanence, continuity, colour, shape and size, as far as every file has them) with its 95 % interval
over quadruplets.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.transfer_scores import WHAT_WENT_IN, ByProperty, read_scores
from eval.intervals import bootstrap_mean
from worldmodel.files.atomic import atomic_file
from worldmodel.files.outputs import output_file
from worldmodel.render.curves import style_axes

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")

Curve = dict[int, dict[str, ByProperty]]  # by training steps (or videos) and world


def read_curve(points: list[str]) -> Curve:
    """Points are NUMBER=FILE."""
    return {int(number): read_scores(Path(file)) for number, file in sorted((it.split("=", 1) for it in points), key=_number)}


def _number(point: list[str]) -> int:
    return int(point[0])


def draw(curves: dict[str, Curve], path: Path, axis: str) -> None:
    """One panel for each world that all points of all curves have. axis: what is counted."""
    everything = [worlds for curve in curves.values() for worlds in curve.values()]
    worlds = [world for world in everything[0] if all(world in it for it in everything)]
    figure = Figure(figsize=(3.0 * len(worlds), 3.2), layout="constrained")
    panels = figure.subplots(1, len(worlds), sharey=True, squeeze=False)[0]
    for axes, world in zip(panels, worlds, strict=True):
        names = [name for name in WHAT_WENT_IN if all(name in it[world] for it in everything)]
        for (label, curve), colour in zip(curves.items(), COLOURS, strict=False):
            found = [bootstrap_mean([it[world][name].pairs for name in names]) for it in curve.values()]
            means = [100 * mean for mean, _, _ in found]
            errors = [[100 * (mean - low) for mean, low, _ in found], [100 * (high - mean) for mean, _, high in found]]
            axes.errorbar(list(curve), means, errors, color=colour, label=label, marker="o", markersize=3, linewidth=1.4)
        axes.axhline(50, color="#888888", linewidth=0.8, linestyle="--")
        axes.set_xscale("log")
        ticks = sorted({number for curve in curves.values() for number in curve})
        axes.set_xticks(ticks, [f"{number:,}" for number in ticks], fontsize=8)
        axes.minorticks_off()
        axes.set_title(f"{world}: {len(names)} properties", fontsize=10)
        axes.set_xlabel(axis)
        style_axes(axes)
    panels[0].set_ylabel("pairs right, %")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(curves), frameon=False)
    with output_file(path, "give another FIGURE"), atomic_file(path) as file:
        figure.savefig(file, format="png", dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figure", type=Path, metavar="FIGURE")
    parser.add_argument("--curve", nargs="+", action="append", required=True, metavar=("LABEL", "NUMBER=FILE"))
    parser.add_argument("--axis", default="training steps", help="what the numbers count (default: training steps)")
    args = parser.parse_args()
    draw({label: read_curve(points) for label, *points in args.curve}, args.figure, args.axis)


if __name__ == "__main__":
    main()
