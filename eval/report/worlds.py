"""worlds.json, worlds.md and worlds.html: one model in several worlds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from eval.report.rendering import render
from eval.voe.scores.questions import QUESTIONS
from eval.voe.worlds.results import WorldsTable, collect
from eval.voe.worlds.tables import HEADS, as_json, baselines_shown, cells, default_scorer, markdown, print_worlds, title
from worldmodel.files.atomic import write_json, write_text
from worldmodel.files.outputs import output_folder
from worldmodel.process.terminal import print_escaped

FILES = ("worlds.json", "worlds.md", "worlds.html")


def publish_worlds(outs: Sequence[Path], folder: Path) -> WorldsTable:
    """Read finished evaluations, write the files into a folder, and print the table and the page's path.

    Raises EvalError where an evaluation is missing, damaged or of another model.
    """
    found = collect(outs)
    with output_folder(folder, FILES):
        write_json(folder / "worlds.json", as_json(found))
        write_text(folder / "worlds.md", markdown(found))
        page = write_page(folder, found)
    print_worlds(found)
    print_escaped(page)
    return found


def write_page(folder: Path, found: WorldsTable) -> Path:
    """Write FOLDER/worlds.html."""
    first = default_scorer(found)
    tables = []
    for scorer in sorted(found.scorers(), key=lambda name: name != first):
        baselines = baselines_shown(found, scorer)
        worlds = [
            (world.name, [(row.name, row.name in (*QUESTIONS, "mean"), cells(row, baselines)) for row in world.rows[scorer]])
            for world in found.worlds
        ]
        tables.append({"title": title(found, scorer), "heads": [*HEADS, *baselines], "worlds": worlds})
    reports = [(world.name, world.out, _link(folder, Path(world.out))) for world in found.worlds]
    return render(
        folder / "worlds.html",
        "worlds.html",
        title=f"{found.model['name']} in several worlds",
        model=found.model,
        tables=tables,
        reports=reports,
    )


def _link(folder: Path, out: Path) -> str:
    """The address of OUT/report.html on a page in a folder."""
    return quote(Path(os.path.relpath(out.absolute() / "report.html", folder.absolute())).as_posix())
