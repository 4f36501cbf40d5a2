"""Scores as rows of a CSV file, and as Markdown tables."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.result_folder import read_result
from eval.voe.scorers import ScorerId, whitening_steps
from eval.voe.scores.score_types import BaselineScore, CellScore
from worldmodel.files.atomic import atomic_path, write_text
from worldmodel.process.terminal import escape_line

ADDRESS = ("windows", "scorer", "property", "visibility", "level", "copy_class", "pairs")
NUMBERS = ("value", "low", "high", "wilson_low", "wilson_high", "n", "chance", "p", "p_holm")
_MARKUP = re.compile(r"[|`]|<(?=[A-Za-z/!?])")
SIGNIFICANT_P = 0.01
STEPS_WITHOUT_ABLATION = 3  # of whitening: raw, diagonal, all videos
Interval = Mapping[str, Any]
"""At least value, low and high."""


def write_tables(out: Path) -> None:
    """Write OUT/scores.csv (all numbers of split test) and OUT/table.md (the main ones)."""
    scores = read_result(out / "scores.json")
    with atomic_path(out / "scores.csv") as part, open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerows(csv_rows(scores["tree"]))
    write_text(out / "table.md", markdown(scores))


def csv_rows(tree: Mapping[str, Any]) -> Iterator[Sequence[Any]]:
    """A header, then one row per number: its address, the number, and scores of baselines."""
    found = list(addressed(tree))
    pixels = list(dict.fromkeys(name for _, it in found for name in it["pixel_baselines"]))
    baselines = list(dict.fromkeys(name for _, it in found for name in it["baselines"]))
    heads = [head for name in baselines for head in (name, f"p against {name}")]
    yield [*ADDRESS, *NUMBERS, *pixels, *heads]
    for address, it in found:
        pairs = [it["baselines"].get(name, {}) for name in baselines]
        values = [value for baseline in pairs for value in (baseline.get("value"), baseline.get("p"))]
        yield [*address, *(it.get(name) for name in NUMBERS), *(it["pixel_baselines"].get(name) for name in pixels), *values]


def addressed(tree: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], CellScore]]:
    """(address in the order of ADDRESS, CellScore) of each number."""

    def walk(node: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], CellScore]]:
        for name, below in node.items():
            if len(path) + 1 < len(ADDRESS):
                yield from walk(below, (*path, name))
            elif below is not None:
                yield (*path, name), below

    return walk(tree, ())


def markdown(scores: Mapping[str, Any]) -> str:
    """Tables of properties by scorers with intervals, and of their baselines, in percent."""
    parts = []
    for windows, trees in scores["tree"].items():
        by_scorer = {ScorerId.parse(name): it for name, it in trees.items()}
        mine = [it for it in by_scorer if not it.is_baseline and not it.is_whitening_ablation]
        mine = mine or [it for it in by_scorer if str(it) in scores["headline"]]
        cells = {str(it): {name: main_cell(cell) for name, cell in by_scorer[it].items()} for it in mine}
        if any(cells.values()):
            parts += [_side_by_side(windows, cells), *(_with_baselines(windows, name, it) for name, it in cells.items() if it)]
        steps = whitening_steps(by_scorer)
        if len(steps) > STEPS_WITHOUT_ABLATION:
            whitened = {str(it): {name: main_cell(cell) for name, cell in by_scorer[it].items()} for it in steps}
            parts.append(_side_by_side(f"Ablation of whitening, {windows}", whitened))
    if scores.get("questions"):
        parts.append(_by_question(scores["questions"]))
    return "\n".join([*parts, *_remarks(scores)])


def _by_question(questions: Mapping[str, Mapping[str, Any]]) -> str:
    """What went in and how it moved, by scorer, with the baselines of each."""
    baselines = list(dict.fromkeys(name for found in questions.values() for it in found.values() for name in it["baselines"]))
    rows = [
        [f"{scorer}: {question}", ", ".join(it["properties"]), str(it["n"]), with_interval(it)]
        + [percent(it["baselines"].get(name)) for name in baselines]
        for scorer, found in questions.items()
        for question, it in found.items()
    ]
    return table("**By question**, percent, chance 50", ["question", "mean of", "n", "model", *baselines], rows)


def main_cell(by_visibility: Mapping[str, Any]) -> tuple[str, CellScore]:
    """(kind of pair, main CellScore) of a property: occluded trials if there are any."""
    kinds = by_visibility.get("occluded", by_visibility["all"])["all"]["all"]
    return next(iter(kinds.items()))


def _side_by_side(windows: str, cells: Mapping[str, Mapping[str, tuple[str, CellScore]]]) -> str:
    properties = list(dict.fromkeys(name for it in cells.values() for name in it))
    kind = next(kind for it in cells.values() for kind, _ in it.values())
    rows = []
    for name in properties:
        found = [it.get(name) for it in cells.values()]
        n = max(cell[1]["n"] for cell in found if cell)
        rows.append([name, str(n), *("–" if cell is None else with_interval(cell[1]) for cell in found)])
    title = f"**{windows[0].upper()}{windows[1:]} windows**, pairs: {kind}; percent [95 % interval], chance 50; n trials"
    return table(title, ["property", "n", *cells], rows)


def _with_baselines(windows: str, scorer: str, cells: Mapping[str, tuple[str, CellScore]]) -> str:
    baselines = list(dict.fromkeys(name for _, it in cells.values() for name in it["baselines"]))
    pixels = list(dict.fromkeys(name for _, it in cells.values() for name in it["pixel_baselines"]))
    rows = []
    for name, (_, it) in cells.items():
        others = [_baseline(it["baselines"].get(other, {}), it["value"]) for other in baselines]
        of_pixels = [percent(it["pixel_baselines"].get(other)) for other in pixels]
        rows.append([name, str(it["n"]), with_interval(it), p_text(it), *others, *of_pixels])
    title = f"**{scorer}, {windows} windows**, with baselines; * {scorer} is above the baseline, p < .01"
    return table(title, ["property", "n", scorer, "p (Holm)", *baselines, *pixels], rows)


def markdown_row(cells: Sequence[str]) -> str:
    """A row of a Markdown table.

    Names from data neither end a cell nor become code, HTML or another line.
    """
    return "| " + " | ".join(_MARKUP.sub(_escaped, escape_line(cell)) for cell in cells) + " |"


def _escaped(found: re.Match[str]) -> str:
    return "&lt;" if found[0] == "<" else f"\\{found[0]}"


def table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table. All columns but the first are aligned to the right."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join([title, "", *map(markdown_row, lines), ""])


def _baseline(it: BaselineScore, mine: float) -> str:
    """Value, a star where the model is significantly above it, and the range of its seeds."""
    value = it.get("value")
    if value is None:
        return "–"
    seeds = f" ({percent(it['seeds'][0])} to {percent(it['seeds'][1])})" if it.get("seeds") else ""
    p = it.get("p_holm", it.get("p"))
    return percent(value) + ("*" if p is not None and p < SIGNIFICANT_P and mine > value else "") + seeds


def _remarks(scores: Mapping[str, Any]) -> Iterator[str]:
    for name, it in scores["headline"].items():
        if it.get("value") is None:
            low, high = it["range"]
            yield f"{name}: between {percent(low)} and {percent(high)} of {it['n']} trials ({it['reason']}: no headline)."
    yield from scores.get("notes", ())
    if missing := scores.get("left_out"):
        yield "Videos without a number: " + "; ".join(f"{name}: {len(videos)}" for name, videos in missing.items()) + "."


def with_interval(it: Interval) -> str:
    """ "85.0 [80.1, 89.2]", in percent."""
    return f"{percent(it['value'])} [{percent(it['low'])}, {percent(it['high'])}]"


def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def p_text(it: Mapping[str, Any]) -> str:
    """The p-value, corrected over properties where it is one of several."""
    p = it.get("p_holm", it.get("p"))
    return "–" if p is None else f"{p:.4f}"
