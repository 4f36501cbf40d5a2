"""Files of `eval plan --checkpoints all`: checkpoints.json, .csv and .md, and the page with its figures."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from markupsafe import Markup
from matplotlib.figure import Figure

from eval.planning.checkpoints.correlations import RUNS, NumberOfCheckpoints
from eval.planning.output.tables import cell
from eval.planning.results import Score
from eval.report.plots import DISTANCE, OTHER, svg
from eval.report.rendering import render
from eval.voe.scores.tables import table
from worldmodel.files.atomic import atomic_path, write_json, write_text
from worldmodel.render.curves import style_axes
from worldmodel.render.style import BAD, COPY, DARK, GOOD, MUTED, PREDICTION, hex_colour

SHOWN = 25  # numbers in the figure of correlations
SCATTERED = 6  # numbers that are drawn against success
COLOURS = (PREDICTION, COPY, GOOD, BAD, DISTANCE, OTHER)  # of runs


class CheckpointRow(TypedDict):
    """A checkpoint with its success and all numbers that could predict it."""

    run: str
    folder: str  # of the run
    step: int
    hash: str
    scores: dict[str, Score]  # by criterion
    final_distance: float  # median
    numbers: dict[str, dict[str, float]]  # by group, then by name


class CheckpointResults(TypedDict):
    """checkpoints.json"""

    made: dict[str, Any]
    environment: dict[str, Any]
    pairs: dict[str, Any]
    protocol: dict[str, Any]
    criterion: str  # that correlations are with
    runs: int
    checkpoints: list[CheckpointRow]
    correlations: list[NumberOfCheckpoints]


def write_checkpoint_results(out: Path, found: CheckpointResults) -> None:
    """Write all files into the folder `out`."""
    write_json(out / "checkpoints.json", found)
    with atomic_path(out / "checkpoints.csv") as part, open(part, "w", newline="", encoding="utf-8") as file:
        rows = [_flat(row) for row in found["checkpoints"]]
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)), restval="")
        writer.writeheader()
        writer.writerows(rows)
    write_text(out / "checkpoints.md", markdown(found))
    shown = found["correlations"]
    render(
        out / "report.html",
        "checkpoints.html",
        title=f"Which number predicts success in {found['environment']['id']}?",
        found=found,
        about=about(found),
        names=list(found["checkpoints"][0]["scores"]),
        cells=[[it["group"], it["name"], it["n"], *_cells(it)] for it in shown],
        correlations=Markup(correlation_figure(shown[:SHOWN])),
        scatter=Markup(scatter_figure(found, shown[:SCATTERED])),
    )


def about(found: CheckpointResults) -> str:
    pairs, protocol, unit = found["pairs"], found["protocol"], "runs" if found["runs"] >= RUNS else "checkpoints"
    warning = "" if unit == "runs" else " Checkpoints of one run are not independent, so these intervals are too narrow."
    return (
        f"{len(found['checkpoints'])} checkpoints of {found['runs']} {'run' if found['runs'] == 1 else 'runs'}, each on the "
        f"same {pairs['count']} pairs of split {pairs['split']}, planning seeds: {protocol['planning_seeds']}; at most "
        f"{protocol['budget']} steps. Rank correlations (Spearman) with success by the criterion {found['criterion']}, with "
        f'95 % intervals over {unit}.{warning} "At equal training step": with the rank of the training step held constant. '
        '"With nearness": with how near the episodes end (minus the median distance).'
    )


def markdown(found: CheckpointResults) -> str:
    names = list(found["checkpoints"][0]["scores"])
    heads = ["run", "step", *(f"{name}, %" for name in names), "median distance at the end"]
    rows = [
        [row["run"], str(row["step"]), *(cell(row["scores"][name]) for name in names), f"{row['final_distance']:.2f}"]
        for row in found["checkpoints"]
    ]
    heads_of_numbers = ["number", "group", "n", "with success", "at equal training step", "with nearness"]
    numbers = [[it["name"], it["group"], str(it["n"]), *_cells(it)] for it in found["correlations"]]
    parts = [f"# Which number predicts success in {found['environment']['id']}?", "", about(found), ""]
    parts += [table("**Rank correlations**", heads_of_numbers, numbers), table("**Success by checkpoint**", heads, rows)]
    return "\n".join(parts) + "\n"


def correlation_figure(shown: Sequence[NumberOfCheckpoints]) -> str:
    """Correlations with success, one row per number, as inline SVG."""
    known = [it for it in shown if it["success"] is not None][::-1]
    figure = Figure(figsize=(7.4, 0.6 + 0.24 * max(len(known), 1)), layout="constrained")
    axes = figure.subplots()
    style_axes(axes)
    for key, colour, mark, shift in (("success", PREDICTION, "o", 0.1), ("beyond_step", DISTANCE, "s", -0.16)):
        points = [(y, it[key]) for y, it in enumerate(known) if it[key] is not None]  # type: ignore[literal-required]
        y = [row + shift for row, _ in points]
        axes.hlines(y, [it["low"] for _, it in points], [it["high"] for _, it in points], color=hex_colour(colour), alpha=0.6)
        label = "with success" if key == "success" else "at equal training step"
        axes.plot([it["value"] for _, it in points], y, mark, color=hex_colour(colour), markersize=4, label=label)
    axes.axvline(0, color=hex_colour(MUTED), linewidth=0.8)
    axes.set_yticks(range(len(known)), [it["name"] for it in known])
    axes.set_xlim(-1.02, 1.02)
    axes.set_xlabel("rank correlation", fontsize=9, color=hex_colour(MUTED))
    if known:
        axes.legend(frameon=False, fontsize=8, labelcolor=hex_colour(DARK), loc="lower left")
    return svg(figure)


def scatter_figure(found: CheckpointResults, shown: Sequence[NumberOfCheckpoints]) -> str:
    """Success of every checkpoint against the numbers that go with it most, as inline SVG. One colour per run."""
    columns = max(1, min(3, len(shown)))
    rows = max(1, -(-len(shown) // columns))
    figure = Figure(figsize=(2.5 * columns, 2.2 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    folders = list(dict.fromkeys(row["folder"] for row in found["checkpoints"]))
    for axes in grid.flat[len(shown) :]:
        axes.set_visible(False)
    for axes, it in zip(grid.flat, shown, strict=False):
        style_axes(axes)
        for number, folder in enumerate(folders):
            mine = [
                row for row in found["checkpoints"] if row["folder"] == folder and it["name"] in row["numbers"][it["group"]]
            ]
            x = [row["numbers"][it["group"]][it["name"]] for row in mine]
            y = [100 * row["scores"][found["criterion"]]["value"] for row in mine]
            axes.plot(x, y, "o", color=hex_colour(COLOURS[number % len(COLOURS)]), markersize=3.5, alpha=0.85)
        axes.set_xlabel(it["name"], fontsize=7.5, color=hex_colour(MUTED), wrap=True)
        axes.tick_params(labelsize=7.5)
    for axes in grid[:, 0]:
        axes.set_ylabel("success (%)", fontsize=8, color=hex_colour(MUTED))
    return svg(figure)


def _cells(it: NumberOfCheckpoints) -> list[str]:
    return [cell(found, 1.0, 2) for found in (it["success"], it["beyond_step"], it["nearness"])]


def _flat(row: CheckpointRow) -> Mapping[str, Any]:
    scores = {f"success {name}": score["value"] for name, score in row["scores"].items()}
    numbers = {f"{group}: {name}": value for group, some in row["numbers"].items() for name, value in some.items()}
    return {"run": row["run"], "step": row["step"], **scores, "median final distance": row["final_distance"], **numbers}
