"""The table of worlds for the terminal, as Markdown and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from eval.provenance import environment
from eval.voe.scorers import NOT_IN_TERMINAL
from eval.voe.scores.tables import percent, table
from eval.voe.worlds.results import CHANCE, Row, WorldsTable
from worldmodel.process.terminal import escape_line

FORMAT = 1
WIDTH = 100
FIRST = ("adjusted", "whitened", "latent distance")
BASELINES = ("latent copy", "shuffled context", "pixel copy", "visible copy", "motion change", "untrained")
HEADS = ("world", "property", "n", "model", "95 % interval", "chance")


def default_scorer(found: WorldsTable) -> str:
    """The scorer that is shown first: adjusted surprise, if all worlds have it."""
    scorers = found.scorers()
    return next((name for name in FIRST if name in scorers), scorers[0])


def as_json(found: WorldsTable) -> dict[str, Any]:
    """worlds.json: all scorers; values are fractions from 0 to 1."""
    return {"format": FORMAT, **environment(), "chance": CHANCE, **asdict(found)}


def baselines_shown(found: WorldsTable, scorer: str) -> list[str]:
    """The baselines that some row has, in the order of their columns."""
    rows = [row for world in found.worlds for row in world.rows[scorer]]
    return [name for name in BASELINES if any(name in row.baselines for row in rows)]


def cells(row: Row, baselines: Sequence[str]) -> list[str]:
    """n, the model with its interval, chance and baselines, in percent."""
    numbers = [str(row.n), percent(row.value), f"{percent(row.low)}–{percent(row.high)}", f"{100 * CHANCE:.0f}"]
    return [*numbers, *(percent(row.baselines.get(name)) for name in baselines)]


def markdown(found: WorldsTable) -> str:
    """One table per scorer."""
    parts = []
    for scorer in sorted(found.scorers(), key=lambda name: name != default_scorer(found)):
        baselines = baselines_shown(found, scorer)
        rows = [
            [world.name if number == 0 else "", row.name, *cells(row, baselines)]
            for world in found.worlds
            for number, row in enumerate(world.rows[scorer])
        ]
        parts.append(table(f"**{title(found, scorer)}**", [*HEADS, *baselines], rows))
    return "\n".join(parts)


def title(found: WorldsTable, scorer: str) -> str:
    """What the numbers are."""
    kinds = " or ".join(sorted({world.windows for world in found.worlds}))
    return f"Correct pairs of {found.model['name']} by {scorer}, {kinds} windows, percent"


def print_worlds(found: WorldsTable, console: Console | None = None) -> None:
    """Print the table of the first scorer, at most 100 characters wide."""
    scorer = default_scorer(found)
    baselines = [name for name in baselines_shown(found, scorer) if name not in NOT_IN_TERMINAL]
    shown = Table(box=SIMPLE_HEAD, title=escape(title(found, scorer)), title_justify="left", title_style="bold", padding=(0, 1))
    heads = [*HEADS[1:], *baselines]  # the world is a row of its own
    for number, head in enumerate(heads):
        head = head.replace("95 % ", "95 %\n") if number < len(HEADS) - 1 else "\n".join(head.split())
        shown.add_column(head, justify="left" if number == 0 else "right", no_wrap=True)
    for world in found.worlds:
        rows = world.rows[scorer]
        shown.add_row(f"[bold]{escape(escape_line(world.name))}[/bold]")
        for number, row in enumerate(rows):
            label = f"  {escape(escape_line(row.name))}"
            shown.add_row(label, *cells(row, baselines), end_section=number + 1 == len(rows))
    (console or Console(width=WIDTH)).print(shown)
