"""Set evaluations of one suite side by side, with paired tests on the trials they share.

python -m eval compare OUT_A OUT_B ... [--out FOLDER]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from eval.errors import EvalError
from eval.intervals import bootstrap_mean, holm, sign_flip_p
from eval.result_folder import check_unchanged, read_result, reading_results
from eval.voe.scorers import is_ablation, subjects
from eval.voe.scores.scoreboard import Cell, Scoreboard, Values, in_strata
from eval.voe.scores.tables import markdown_row, p_text, with_interval
from eval.voe.surprise.traces import Traces
from eval.voe.trials import Trial, read_trials
from worldmodel.files.atomic import write_text
from worldmodel.files.outputs import output_folder
from worldmodel.process.terminal import on_one_line, printable

HELP = "evaluations side by side, with paired tests"
FILES = ("protocol.json", "trials.json", "traces.parquet")  # what numbers of an evaluation are made of
SAME_WINDOWS = {
    "fps": ("--fps", "frames a second"),
    "window_s": ("--window", "the length of free windows, s"),
    "stride_s": ("--stride", "from one free window to the next, s"),
    "contexts_s": ("--contexts", "context lengths, s"),
    "horizon_s": ("--horizon", "how far forecasts are judged, s"),
}
"""What must be equal: option and words."""


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
    if args.out:  # before anything is printed: whoever reads the table through a pipe may leave early
        with output_folder(args.out, ("compare.json", "compare.md")):
            write_text(args.out / "compare.json", json.dumps(found, indent=1))
            write_text(args.out / "compare.md", markdown(found))
    console = Console()
    for comparison in found["comparisons"]:
        console.print(_rich_table(comparison, found["names"]))
    for note in found["notes"]:
        console.print(printable(note), highlight=False, markup=False)
    return 0


@dataclass(frozen=True)
class Evaluation:
    """A finished one, as it lies in its folder."""

    out: Path
    protocol: Mapping[str, Any]
    trials: Sequence[Trial]
    board: Scoreboard

    @property
    def scorers(self) -> list[str]:
        """The model's own, ablations apart."""
        there = dict.fromkeys(scorer for _, scorer in self.board.rows)
        return [name for name in subjects(there, self.protocol["model"]["spec"]) if not is_ablation(name)]


def check_finished(out: Path) -> None:
    """Raise EvalError where a file of an evaluation is missing."""
    for name in FILES:
        if not (out / name).exists():
            raise EvalError(
                f"{out} has no {name}: it is no finished evaluation; `python -m eval physics ... --out {out}` makes one"
            )


def open_evaluation(out: Path) -> Evaluation:
    """Raises EvalError where a file is missing, damaged or changed."""
    check_finished(out)
    check_unchanged(out, FILES)
    with reading_results(out, FILES):
        protocol, trials = read_result(out / "protocol.json"), read_trials(out / "trials.json")
        return Evaluation(out, protocol, trials, Scoreboard(trials, Traces.open(out / "traces.parquet"), protocol))


def check_comparable(evaluations: Sequence[Evaluation]) -> None:
    """Every one against the first. Raises EvalError, naming what differs and what to do."""
    first = evaluations[0]
    for other in evaluations[1:]:
        if first.protocol["suite"]["hash"] != other.protocol["suite"]["hash"]:
            names = [f"{it.out} is of {it.protocol['suite']['name']} ({it.protocol['suite']['path']})" for it in (first, other)]
            raise EvalError(f"{names[0]}, {names[1]}: their films differ, so nothing is paired; evaluate both on one suite")
        check_windows(first, other)
        a, b = (it.protocol["chosen"]["context_s"] for it in (first, other))
        if (a is None) != (b is None) or not _equal(a or 0.0, b or 0.0):
            raise EvalError(
                f"context length: {_chosen(a)} in {first.out}, {_chosen(b)} in {other.out}; give both the same --contexts"
            )
        ahead = [_sees_ahead(it.protocol) for it in (first, other)]
        if ahead[0] != ahead[1]:
            seeing = (first, other)[ahead.index(True)]
            raise EvalError(
                f"targets in {seeing.out} see the whole window, what comes included, the other's only their past; evaluate "
                "it again with --scope suffix, so that both forecast what neither has seen"
            )


def check_windows(first: Evaluation, other: Evaluation) -> None:
    """Films must have been cut alike. Raises EvalError, naming what differs and what to do."""
    for key, (option, words) in SAME_WINDOWS.items():
        a, b = (it.protocol["windows"][key] for it in (first, other))
        if not _equal(a, b):
            raise EvalError(
                f"{words}: {_said(a)} in {first.out}, {_said(b)} in {other.out}; their surprises are not of the same "
                f"thing. Evaluate again with the same {option} for both (in seconds, such as 0.5s)"
            )
    a, b = (it.protocol.get("square", "squeeze") for it in (first, other))
    if a != b:
        raise EvalError(
            f"frames were made square in two ways: {a} in {first.out}, {b} in {other.out}; the models did not see the same. "
            "Evaluate again with the same --square for both"
        )


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(_equal(x, y) for x, y in zip(a, b, strict=True))
    return abs(a - b) < 1e-6


def _said(value: Any) -> str:
    return ", ".join(_said(it) for it in value) if isinstance(value, list) else f"{value:.4g}"


def _chosen(context_s: float | None) -> str:
    return "chosen on split val" if context_s is None else f"given as {context_s:.3g} s"


def _sees_ahead(protocol: Mapping[str, Any]) -> bool:
    return protocol["model"].get("target_scope") == "window" and protocol["windows"].get("scope") == "window"


def compare(evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    """{"names", "outs", "comparisons": [{"windows", "scorer", "kind", "rows"}], "notes"}; see `_rows` for a row."""
    names = _names(evaluations)
    found, notes = [], []
    rated = list(dict.fromkeys(name for it in evaluations for name in it.scorers))
    single = all(len(it.scorers) == 1 for it in evaluations)  # blind scorers go by different names
    for windows in ("locked", "free"):
        for scorer in [" or ".join(rated)] if single else rated:
            mine = [it.scorers[0] if single else scorer for it in evaluations]
            if all((windows, name) in it.board.rows for it, name in zip(evaluations, mine, strict=True)):
                comparison = _comparison(evaluations, names, windows, scorer, mine)
                if comparison["rows"]:
                    found.append(comparison)
                else:
                    notes.append(f"{scorer}, {windows} windows: no trial of split test that all have judged.")
            elif any((windows, name) in it.board.rows for it, name in zip(evaluations, mine, strict=True)):
                notes.append(f"{scorer}, {windows} windows: not in every evaluation, so not compared.")
    if not found:
        raise EvalError(
            "these evaluations have no scorer and no trials of split test in common: "
            + "; ".join(f"{name}: {', '.join(it.scorers) or 'none'}" for name, it in zip(names, evaluations, strict=True))
        )
    outs = [str(it.out) for it in evaluations]
    return {"format": 1, "names": names, "outs": outs, "comparisons": found, "notes": notes}


def _names(evaluations: Sequence[Evaluation]) -> list[str]:
    """Of the models; with their folder where two are called alike."""
    models = [str(it.protocol["model"]["name"]) for it in evaluations]
    names = [f"{m} ({it.out.name})" if models.count(m) > 1 else m for m, it in zip(models, evaluations, strict=True)]
    return names if len(set(names)) == len(names) else [f"{place + 1}: {name}" for place, name in enumerate(names)]


def _comparison(
    evaluations: Sequence[Evaluation], names: Sequence[str], windows: str, scorer: str, mine: Sequence[str]
) -> dict[str, Any]:
    board = evaluations[0].board
    kind = board.main_kind
    scores = _aligned(evaluations, [it.board.scores(windows, name, kind) for it, name in zip(evaluations, mine, strict=True)])
    # in locked windows what the headline is of, in free ones everything
    hidden = "occluded" if windows == "locked" and "occluded" in board.named("visibility") else "all"
    rows = [row for name in ("all", *board.properties) if (row := _row(board, Cell(name, hidden), names, scores)) is not None]
    for place in range(len(rows[0]["differences"]) if rows else 0):
        family = {row["property"]: row["differences"][place] for row in rows if row["property"] != "all"}
        for name, p in holm({name: it["p"] for name, it in family.items()}).items():
            family[name]["p_holm"] = p
    return {"windows": windows, "scorer": scorer, "kind": kind, "rows": rows}


def _aligned(evaluations: Sequence[Evaluation], scores: Sequence[Values]) -> list[Values]:
    """Scores in the order of the first evaluation's trials."""
    order = [trial.group_id for trial in evaluations[0].trials]
    found = []
    for it, values in zip(evaluations, scores, strict=True):
        place = {trial.group_id: index for index, trial in enumerate(it.trials)}
        found.append(values[[place[group] for group in order]])
    return found


def _row(board: Scoreboard, cell: Cell, names: Sequence[str], scores: Sequence[Values]) -> dict[str, Any] | None:
    """{"property", "n", "values": [{"value", "low", "high"}], "differences": [{"a", "b", "value" (b - a), "low", "high",
    "p" (paired sign-flip over trials), "p_holm"}]}, on the trials that every evaluation has a score of."""
    shared = sum(scores)  # NaN where any is
    strata = [places[shared[places] == shared[places]] for places in board.strata(cell)]  # type: ignore[index]
    if not any(map(len, strata)):
        return None
    columns = [in_strata(values, strata) for values in scores]
    values = [dict(zip(("value", "low", "high"), bootstrap_mean(column), strict=True)) for column in columns]
    differences = []
    for a, b in combinations(range(len(scores)), 2):
        gaps = [theirs - mine for mine, theirs in zip(columns[a], columns[b], strict=True)]
        value, low, high = bootstrap_mean(gaps)
        differences.append({"a": names[a], "b": names[b], "value": value, "low": low, "high": high, "p": sign_flip_p(gaps)})
    return {"property": cell.property, "n": sum(map(len, columns[0])), "values": values, "differences": differences}


def _cells(comparison: Mapping[str, Any], names: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    pairs = [(it["a"], it["b"]) for it in comparison["rows"][0]["differences"]]
    heads = ["property", "n", *names, *(head for a, b in pairs for head in (f"{b} minus {a}", "p (Holm)"))]
    rows = []
    for row in comparison["rows"]:
        gaps = [text for it in row["differences"] for text in (with_interval(it), p_text(it))]
        rows.append([row["property"], str(row["n"]), *map(with_interval, row["values"]), *gaps])
    return heads, rows


def _title(comparison: Mapping[str, Any]) -> str:
    return f"{comparison['scorer']}, {comparison['windows']} windows, pairs: {comparison['kind']}"


def _rich_table(comparison: Mapping[str, Any], names: Sequence[str]) -> Table:
    heads, rows = _cells(comparison, names)
    table = Table(title=escape(_title(comparison)), caption="percent [95 % interval], chance 50; n trials shared")
    for place, head in enumerate(heads):
        table.add_column(escape(on_one_line(head)), justify="left" if place == 0 else "right")
    for row in rows:
        table.add_row(*(escape(on_one_line(cell)) for cell in row), end_section=row[0] == "all")
    return table


def markdown(found: Mapping[str, Any]) -> str:
    """Property x evaluation, and the differences of each pair of evaluations, in percent."""
    parts = []
    for comparison in found["comparisons"]:
        heads, rows = _cells(comparison, found["names"])
        lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
        parts += [f"**{_title(comparison)}**; percent [95 % interval], chance 50; n trials shared", ""]
        parts += map(markdown_row, lines)
        parts.append("")
    return "\n".join([*parts, *found["notes"]])
