"""Scores of a VoE evaluation as a table for the terminal, at most 100 characters wide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from eval.report import tables
from eval.report.page import FIRST, main_windows
from eval.report.rendering import scorer_label
from eval.voe.scorers import NOT_IN_TERMINAL
from eval.voe.scores.score_types import CellScore
from worldmodel.process.terminal import escape_line, escape_lines

WIDTH = 100
SHORT_NAMES = {"extrapolation": "extrap."}  # words in the heads of columns


def print_scores(scores: Mapping[str, Any], console: Console | None = None) -> None:
    """Print the property table of the first scorer, then the headlines of the other scorers and the notes."""
    console = console or Console(width=WIDTH)
    headline: Mapping[str, Any] = scores["headline"]
    shown = [name for name in FIRST if name in headline] or list(headline)[:1]
    if shown:
        console.print(property_table(scores, main_windows(scores["tree"], shown), shown[0]))
    for name in shown:
        it = headline[name]
        if it.get("value") is None:
            low, high = it["range"]
            text = f"{_percent(low)} to {_percent(high)} % (95 % interval; no single number: {it['reason']})"
        else:
            text = f"{_percent(it['value'])} % [{_percent(it['low'])}, {_percent(it['high'])}]"
        console.print(f"Mean of {scorer_label(name)}: {text}", highlight=False, markup=False)
        for question, found in scores.get("questions", {}).get(name, {}).items():
            value, low, high = (_percent(found[part]) for part in ("value", "low", "high"))
            shuffled = found["baselines"].get("shuffled context")
            beside = "" if shuffled is None else f"; shuffled context {_percent(shuffled)}"
            console.print(f"  {question}: {value} % [{low}, {high}]{beside}", highlight=False, markup=False)
    for note in () if shown else scores["notes"]:
        console.print(escape_lines(note), highlight=False, markup=False)


def property_table(scores: Mapping[str, Any], windows: str, scorer: str) -> Table:
    """Correct pairs by property in percent: n, the model with its interval, chance, and the baselines on the same pairs."""
    by_property = scores["tree"].get(windows, {}).get(scorer, {})
    cells = {name: tables.main_cell(scores["tree"], windows, scorer, name) for name in by_property}
    names = tables.LOCKED_BASELINES if windows == "locked" else tables.SLIDING_BASELINES
    baselines = [
        name
        for name in names
        if name not in NOT_IN_TERMINAL and any(tables.baseline_score(cell, name) for cell in cells.values())
    ]
    title = f"Correct pairs by {scorer_label(scorer)} in {windows} windows, percent"
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", padding=(0, 1))
    table.add_column("property", no_wrap=True)
    for head in ("n", "model", "95 %\ninterval", "chance", *map(_head, baselines)):
        table.add_column(head, justify="right", no_wrap=True)
    for name, cell in cells.items():
        if cell is not None:
            label = "mean" if name == "all" else escape(escape_line(name))
            table.add_row(label, *_numbers(cell, baselines), end_section=name == "all")
    return table


def _head(name: str) -> str:
    return "\n".join(SHORT_NAMES.get(word, word) for word in name.split())


def _numbers(cell: CellScore, baselines: Sequence[str]) -> list[str]:
    others = [tables.baseline_score(cell, name) for name in baselines]
    interval = f"{_percent(cell['low'])}–{_percent(cell['high'])}"
    model = [str(cell["n"]), _percent(cell["value"]), interval, _percent(cell["chance"], 0)]
    return [*model, *(_percent(it["value"]) if it else "–" for it in others)]


def _percent(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f}"
