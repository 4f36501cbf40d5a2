"""Scores as rows for a spreadsheet, and as tables for a paper."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.result_folder import read_result
from eval.voe.scorers import is_ablation, is_baseline, whitening_steps
from worldmodel.files.atomic import replacing, write_text
from worldmodel.process.terminal import on_one_line

ADDRESS = ("windows", "scorer", "property", "visibility", "level", "copy_class", "pairs")
NUMBERS = ("value", "low", "high", "wilson_low", "wilson_high", "n", "chance", "p", "p_holm")
_MARKUP = re.compile(r"[|`]|<(?=[A-Za-z/!?])")
CLEAR_P = 0.01
BARE_STEPS = 3  # of whitening that every evaluation has: none, each feature apart, all
Score = Mapping[str, Any]


def write_tables(out: Path) -> None:
    """OUT/scores.csv, every number of split test; OUT/table.md, the ones for a paper. Reads OUT/scores.json."""
    scores = read_result(out / "scores.json")
    with replacing(out / "scores.csv") as part, open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerows(csv_rows(scores["tree"]))
    write_text(out / "table.md", markdown(scores))


def csv_rows(tree: Mapping[str, Any]) -> Iterator[Sequence[Any]]:
    """A heading, then one row a number: where it stands, the number, and what each blind scorer and baseline has there."""
    found = list(addressed(tree))
    beside = list(dict.fromkeys(name for _, it in found for name in it["blind"]))
    baselines = list(dict.fromkeys(name for _, it in found for name in it["baselines"]))
    heads = [head for name in baselines for head in (name, f"p against {name}")]
    yield [*ADDRESS, *NUMBERS, *beside, *heads]
    for address, it in found:
        pairs = [it["baselines"].get(name, {}) for name in baselines]
        values = [value for baseline in pairs for value in (baseline.get("value"), baseline.get("p"))]
        yield [*address, *(it.get(name) for name in NUMBERS), *(it["blind"].get(name) for name in beside), *values]


def addressed(tree: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Score]]:
    """((windows, scorer, property, visibility, level, copy class, kind), Score) of each number there is."""

    def walk(node: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Score]]:
        for name, below in node.items():
            if len(path) + 1 < len(ADDRESS):
                yield from walk(below, (*path, name))
            elif below is not None:
                yield (*path, name), below

    return walk(tree, ())


def markdown(scores: Mapping[str, Any]) -> str:
    """Per kind of window: property x scorer with intervals, and what stands beside each scorer, in percent."""
    parts = []
    for windows, by_scorer in scores["tree"].items():
        mine = [name for name in by_scorer if not is_baseline(name) and not is_ablation(name)]
        mine = mine or [name for name in scores["headline"] if name in by_scorer]
        cells = {name: {prop: main_cell(it) for prop, it in by_scorer[name].items()} for name in mine}
        if any(cells.values()):
            parts += [_side_by_side(windows, cells), *(_with_baselines(windows, name, it) for name, it in cells.items() if it)]
        steps = whitening_steps(by_scorer)
        if len(steps) > BARE_STEPS:
            whitened = {name: {prop: main_cell(it) for prop, it in by_scorer[name].items()} for name in steps}
            parts.append(_side_by_side(f"What whitening does, {windows}", whitened))
    return "\n".join([*parts, *_remarks(scores)])


def main_cell(by_visibility: Mapping[str, Any]) -> tuple[str, Score]:
    """(kind of pair, Score) that a property is known by: occluded where there is that, every kind of pair together."""
    kinds = by_visibility.get("occluded", by_visibility["all"])["all"]["all"]
    return next(iter(kinds.items()))


def _side_by_side(windows: str, cells: Mapping[str, Mapping[str, tuple[str, Score]]]) -> str:
    properties = list(dict.fromkeys(name for it in cells.values() for name in it))
    kind = next(kind for it in cells.values() for kind, _ in it.values())
    rows = []
    for name in properties:
        here = [it.get(name) for it in cells.values()]
        n = max(cell[1]["n"] for cell in here if cell)
        rows.append([name, str(n), *("–" if cell is None else with_interval(cell[1]) for cell in here)])
    title = f"**{windows[0].upper()}{windows[1:]} windows**, pairs: {kind}; percent [95 % interval], chance 50; n trials"
    return table(title, ["property", "n", *cells], rows)


def _with_baselines(windows: str, scorer: str, cells: Mapping[str, tuple[str, Score]]) -> str:
    baselines = list(dict.fromkeys(name for _, it in cells.values() for name in it["baselines"]))
    blind = list(dict.fromkeys(name for _, it in cells.values() for name in it["blind"]))
    rows = []
    for name, (_, it) in cells.items():
        beside = [_baseline(it["baselines"].get(other, {}), it["value"]) for other in baselines]
        rows.append([name, str(it["n"]), with_interval(it), p_text(it), *beside, *(percent(it["blind"].get(b)) for b in blind)])
    title = f"**{scorer}, {windows} windows**, beside what knows nothing; * {scorer} is above it, p < .01"
    return table(title, ["property", "n", scorer, "p (Holm)", *baselines, *blind], rows)


def markdown_row(cells: Sequence[str]) -> str:
    """A row of a Markdown table. Names from data neither end a cell nor become code, HTML or another line."""
    return "| " + " | ".join(_MARKUP.sub(_escaped, on_one_line(cell)) for cell in cells) + " |"


def _escaped(found: re.Match[str]) -> str:
    return "&lt;" if found[0] == "<" else f"\\{found[0]}"


def table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown; all columns but the first stand to the right."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join([title, "", *map(markdown_row, lines), ""])


def _baseline(it: Score, mine: float) -> str:
    """Its value, the range of its seeds, and a star where the model is above it beyond luck (over properties, too)."""
    if it.get("value") is None:
        return "–"
    seeds = f" ({percent(it['seeds'][0])} to {percent(it['seeds'][1])})" if it.get("seeds") else ""
    p = it.get("p_holm", it.get("p"))
    return percent(it["value"]) + ("*" if p is not None and p < CLEAR_P and mine > it["value"] else "") + seeds


def _remarks(scores: Mapping[str, Any]) -> Iterator[str]:
    for name, it in scores["headline"].items():
        if it.get("value") is None:
            low, high = it["range"]
            yield f"{name}: between {percent(low)} and {percent(high)} of {it['n']} trials ({it['why']}: no headline)."
    yield from scores.get("notes", ())
    if missing := scores.get("left_out"):
        yield "Films without a number: " + "; ".join(f"{name}: {len(films)}" for name, films in missing.items()) + "."


def with_interval(it: Score) -> str:
    return f"{percent(it['value'])} [{percent(it['low'])}, {percent(it['high'])}]"


def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def p_text(it: Score) -> str:
    """Corrected over properties where it is one of several."""
    p = it.get("p_holm", it.get("p"))
    return "–" if p is None else f"{p:.4f}"
