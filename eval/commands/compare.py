"""Compare evaluations of one suite, with paired tests on their common trials.

python -m eval compare OUT_A OUT_B ... [--out FOLDER]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, TypedDict

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from eval.errors import EvalError
from eval.intervals import bootstrap_mean, correct_family, sign_flip_p
from eval.voe.evaluation import Evaluation, almost_equal, check_same_windows, open_evaluation
from eval.voe.scorers import ScorerId
from eval.voe.scores.scoreboard import Cell, Scoreboard, Values, in_strata
from eval.voe.scores.tables import p_text, table, with_interval
from worldmodel.files.atomic import write_text
from worldmodel.files.outputs import output_folder
from worldmodel.process.terminal import escape_line, escape_lines

HELP = "compare evaluations, with paired tests"
CAPTION = "percent [95 % interval], chance 50; n trials shared"


class Interval(TypedDict):
    value: float
    low: float
    high: float


class Difference(Interval, total=False):
    """b minus a, over the trials that all evaluations have a score of."""

    a: str
    b: str
    p: float  # paired sign-flip test over trials
    p_holm: float  # corrected over properties


class Row(TypedDict):
    """One property."""

    property: str
    n: int
    values: list[Interval]  # one per evaluation
    differences: list[Difference]  # one per pair of evaluations


class Comparison(TypedDict):
    """One scorer in one kind of window."""

    windows: str
    scorer: str
    kind: str
    rows: list[Row]


class Comparisons(TypedDict):
    """compare.json."""

    format: int
    names: list[str]
    outs: list[str]
    comparisons: list[Comparison]
    notes: list[str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("outs", nargs="+", type=Path, metavar="OUT", help="folders of finished evaluations, two or more")
    parser.add_argument("--out", type=Path, help="folder for compare.json and compare.md")


def run(args: argparse.Namespace) -> int:
    """Raises EvalError where the evaluations cannot be compared."""
    if len(args.outs) < 2:
        raise EvalError("one evaluation cannot be compared: give two folders or more")
    evaluations = [open_evaluation(out) for out in args.outs]
    check_comparable(evaluations)
    found = compare(evaluations)
    if args.out:  # before anything is printed: a reader of the table through a pipe may leave early
        with output_folder(args.out, ("compare.json", "compare.md")):
            write_text(args.out / "compare.json", json.dumps(found, indent=1))
            write_text(args.out / "compare.md", markdown(found))
    console = Console()
    for comparison in found["comparisons"]:
        console.print(_rich_table(comparison, found["names"]))
    for note in found["notes"]:
        console.print(escape_lines(note), highlight=False, markup=False)
    return 0


def check_comparable(evaluations: Sequence[Evaluation]) -> None:
    """Raise EvalError where an evaluation differs from the first, with what differs."""
    first = evaluations[0]
    for other in evaluations[1:]:
        if first.protocol["suite"]["hash"] != other.protocol["suite"]["hash"]:
            names = [f"{it.out} is of {it.protocol['suite']['name']} ({it.protocol['suite']['path']})" for it in (first, other)]
            raise EvalError(
                f"{names[0]}, {names[1]}: their videos differ, so their trials cannot be paired; evaluate both on one suite"
            )
        check_same_windows(first, other)
        a, b = (it.protocol["chosen"]["context_s"] for it in (first, other))
        if (a is None) != (b is None) or not almost_equal(a or 0.0, b or 0.0):
            raise EvalError(
                f"context length: {_chosen(a)} in {first.out}, {_chosen(b)} in {other.out}; give both the same --contexts"
            )
        sees_future = [_targets_see_future(it.protocol) for it in (first, other)]
        if sees_future[0] != sees_future[1]:
            seeing = (first, other)[sees_future.index(True)]
            raise EvalError(
                f"targets in {seeing.out} see the whole window, its future included, the other's only their past; evaluate "
                "it again with --scope suffix, so that both forecast what neither has seen"
            )


def _chosen(context_s: float | None) -> str:
    return "chosen on split val" if context_s is None else f"given as {context_s:.3g} s"


def _targets_see_future(protocol: Mapping[str, Any]) -> bool:
    return protocol["model"].get("target_scope") == "window" and protocol["windows"].get("scope") == "window"


def compare(evaluations: Sequence[Evaluation]) -> Comparisons:
    """Compare every scorer that all evaluations have, in each kind of window."""
    names = _names(evaluations)
    found, notes = [], []
    scorers = list(dict.fromkeys(scorer for it in evaluations for scorer in it.scorers))
    single = all(len(it.scorers) == 1 for it in evaluations)  # pixel baselines have different names
    for windows in ("locked", "sliding"):
        for scorer in scorers[:1] if single else scorers:
            name = " or ".join(map(str, scorers)) if single else str(scorer)
            mine = [it.scorers[0] if single else scorer for it in evaluations]
            present = [(windows, own) in it.board.rows for it, own in zip(evaluations, mine, strict=True)]
            if all(present):
                comparison = _comparison(evaluations, names, windows, name, mine)
                if comparison["rows"]:
                    found.append(comparison)
                else:
                    notes.append(f"{name}, {windows} windows: no trial of split test that all have a score of.")
            elif any(present):
                notes.append(f"{name}, {windows} windows: not in every evaluation, so not compared.")
    if not found:
        raise EvalError(
            "these evaluations have no scorer and no trials of split test in common: "
            + "; ".join(
                f"{name}: {', '.join(map(str, it.scorers)) or 'none'}" for name, it in zip(names, evaluations, strict=True)
            )
        )
    outs = [str(it.out) for it in evaluations]
    return {"format": 2, "names": names, "outs": outs, "comparisons": found, "notes": notes}


def _names(evaluations: Sequence[Evaluation]) -> list[str]:
    """The names of the models, with their folder where two have the same name."""
    models = [str(it.protocol["model"]["name"]) for it in evaluations]
    names = [f"{m} ({it.out.name})" if models.count(m) > 1 else m for m, it in zip(models, evaluations, strict=True)]
    return names if len(set(names)) == len(names) else [f"{number}: {name}" for number, name in enumerate(names, 1)]


def _comparison(
    evaluations: Sequence[Evaluation], names: Sequence[str], windows: str, name: str, mine: Sequence[ScorerId]
) -> Comparison:
    board = evaluations[0].board
    kind = board.main_kind
    scores = _aligned(evaluations, [it.board.scores(windows, own, kind) for it, own in zip(evaluations, mine, strict=True)])
    # locked windows: the trials of the headline; sliding windows: all trials
    visibility = "occluded" if windows == "locked" and "occluded" in board.values_of("visibility") else "all"
    cells = [Cell(property_, visibility) for property_ in ("all", *board.properties)]
    rows = [row for cell in cells if (row := _row(board, cell, names, scores)) is not None]
    for pair in range(len(rows[0]["differences"]) if rows else 0):
        correct_family([row["differences"][pair] for row in rows if row["property"] != "all"])
    return {"windows": windows, "scorer": name, "kind": kind, "rows": rows}


def _aligned(evaluations: Sequence[Evaluation], scores: Sequence[Values]) -> list[Values]:
    """Scores in the order of the first evaluation's trials."""
    order = [trial.group_id for trial in evaluations[0].trials]
    found = []
    for it, values in zip(evaluations, scores, strict=True):
        index_of = {trial.group_id: index for index, trial in enumerate(it.trials)}
        found.append(values[[index_of[group] for group in order]])
    return found


def _row(board: Scoreboard, cell: Cell, names: Sequence[str], scores: Sequence[Values]) -> Row | None:
    """The scores of a cell on the trials that every evaluation has a score of; None without any."""
    shared = sum(scores)  # NaN where any is
    strata = [trials[shared[trials] == shared[trials]] for trials in board.strata(cell)]  # type: ignore[index]
    if not any(map(len, strata)):
        return None
    columns = [in_strata(values, strata) for values in scores]
    differences: list[Difference] = []
    for a, b in combinations(range(len(scores)), 2):
        gaps = [theirs - mine for mine, theirs in zip(columns[a], columns[b], strict=True)]
        differences.append({"a": names[a], "b": names[b], **_interval(gaps), "p": sign_flip_p(gaps)})
    n = sum(map(len, columns[0]))
    return {"property": cell.property, "n": n, "values": list(map(_interval, columns)), "differences": differences}


def _interval(strata: Sequence[Values]) -> Interval:
    value, low, high = bootstrap_mean(strata)
    return {"value": value, "low": low, "high": high}


def _cells(comparison: Comparison, names: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    pairs = [(it["a"], it["b"]) for it in comparison["rows"][0]["differences"]]
    heads = ["property", "n", *names, *(head for a, b in pairs for head in (f"{b} minus {a}", "p (Holm)"))]
    rows = []
    for row in comparison["rows"]:
        gaps = [text for it in row["differences"] for text in (with_interval(it), p_text(it))]
        rows.append([row["property"], str(row["n"]), *map(with_interval, row["values"]), *gaps])
    return heads, rows


def _title(comparison: Comparison) -> str:
    return f"{comparison['scorer']}, {comparison['windows']} windows, pairs: {comparison['kind']}"


def _rich_table(comparison: Comparison, names: Sequence[str]) -> Table:
    heads, rows = _cells(comparison, names)
    found = Table(title=escape(_title(comparison)), caption=CAPTION)
    for index, head in enumerate(heads):
        found.add_column(escape(escape_line(head)), justify="left" if index == 0 else "right")
    for row in rows:
        found.add_row(*(escape(escape_line(cell)) for cell in row), end_section=row[0] == "all")
    return found


def markdown(found: Comparisons) -> str:
    """Tables of properties by evaluations, with differences of pairs of evaluations, in percent."""
    tables = (table(f"**{_title(it)}**; {CAPTION}", *_cells(it, found["names"])) for it in found["comparisons"])
    return "\n".join([*tables, *found["notes"]])
