"""Rows of the tables on a VoE report, from scores.json."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from eval.voe.scorers import ScorerId, whitening_steps
from eval.voe.scores.score_types import BaselineScore, CellScore, Tree

LOCKED_BASELINES = (
    *("untrained", "latent copy", "latent extrapolation"),
    *("pixel copy", "visible copy", "pixel extrapolation", "motion change"),
)
SLIDING_BASELINES = ("untrained", "latent copy", "pixel copy", "pixel extrapolation", "motion energy")

DIAGNOSTICS = {
    "max": "correct pairs, with the most surprising window of each video",
    "quadruplet sum": "sum of the impossible videos above the sum of the possible ones: the surprise of an outcome cancels",
    "quadruplet sum of max": "the same, with the most surprising window of each video",
    "quadruplet strict": "each impossible video above each possible one",
    "auroc": "single videos, ranked",
    "threshold": "single videos, by a threshold from other videos",
}


class BaselineRow(TypedDict):
    """The score of a baseline on the same pairs."""

    name: str
    value: float
    p: float | None  # the model against this baseline
    seeds: Sequence[float] | None  # lowest and highest seed of untrained networks


@dataclass(frozen=True)
class Column:
    """A position in the tree of scores, or a baseline."""

    title: str
    visibility: str = "all"
    copy_class: str = "all"
    kind: str = "both"
    baseline: str = ""


@dataclass(frozen=True)
class Table:
    """Properties by columns."""

    windows: str
    scorer: str
    columns: Sequence[Column]
    rows: Sequence[tuple[str, Sequence[CellScore | BaselineScore | None]]]  # (property, one cell per column)


def property_tables(tree: Tree, scorers: Sequence[str]) -> Iterator[Table]:
    """A table for each kind of window and scorer; empty columns are left out."""
    for windows in ("locked", "sliding"):
        for scorer in scorers:
            by_property = tree.get(windows, {}).get(scorer)
            if by_property:
                yield _table(windows, scorer, by_property)


def _table(windows: str, scorer: str, by_property: Tree) -> Table:
    if windows == "locked":
        kinds = ("both", "same context", "same outcome", "matched")
        columns = [Column("both kinds" if kind == "both" else kind, kind=kind) for kind in kinds]
    else:
        columns = [
            Column(title, visibility, copy_class, kind)
            for title, visibility, copy_class in (
                ("all", "occluded", "all"),
                ("easy", "occluded", "easy"),
                ("hard", "occluded", "hard"),
                ("balanced", "occluded", "balanced"),
                ("visible", "visible", "all"),
            )
            for kind in ("both", "matched")
        ]
        if not any(cell_of(by_property, name, column) for name in by_property for column in columns):
            columns = [Column("all", kind=kind) for kind in ("both", "matched", "same context", "same outcome")]
    columns = [column for column in columns if any(cell_of(by_property, name, column) for name in by_property)]
    main = columns[0]
    columns += [
        Column(name, main.visibility, main.copy_class, main.kind, baseline=name)
        for name in (LOCKED_BASELINES if windows == "locked" else SLIDING_BASELINES)
        if any(baseline_score(cell_of(by_property, property_, main), name) for property_ in by_property)
    ]
    rows = []
    for name in by_property:
        cells = [(column, cell_of(by_property, name, column)) for column in columns]
        rows.append((name, [baseline_score(cell, it.baseline) if it.baseline else cell for it, cell in cells]))
    return Table(windows, scorer, columns, rows)


def cell_of(by_property: Tree, name: str, column: Column) -> CellScore | None:
    """The score of a property in a column."""
    by_class = by_property.get(name, {}).get(column.visibility, {}).get("all", {})
    found: CellScore | None = by_class.get(column.copy_class, {}).get(column.kind)
    return found


def baseline_score(score: CellScore | None, name: str) -> BaselineScore | None:
    """The score of a baseline on the same pairs. Latent baselines use the same distance as the scorer."""
    if score is None:
        return None
    for key, it in score.get("baselines", {}).items():
        if ScorerId.parse(key).forecaster_name == name and it.get("value") is not None:
            return it
    value = score.get("pixel_baselines", {}).get(name)
    return None if value is None else {"value": value}


def baseline_rows(score: CellScore) -> list[BaselineRow]:
    """All baselines of a score: those in the latents of the model, then those on pixels."""
    baselines = {ScorerId.parse(name).forecaster_name: it for name, it in score.get("baselines", {}).items()}
    rows: list[dict[str, Any]] = [{"name": name, "p": None, "seeds": None, **it} for name, it in baselines.items()]
    rows += [
        {"name": name, "value": value, "p": None, "seeds": None} for name, value in score.get("pixel_baselines", {}).items()
    ]
    return [row for row in rows if row["value"] is not None]  # type: ignore[misc]


def whitening(tree: Tree, windows: str, videos: int | None) -> dict[str, Any]:
    """Scores by property and degree of whitening, from none to full."""
    steps = whitening_steps(map(ScorerId.parse, tree.get(windows, {})))
    scorers = [str(step) for step in steps]
    names = list(dict.fromkeys(name for scorer in scorers for name in tree[windows][scorer]))
    full = {"raw": "raw", "diagonal": "diagonal", "whitened": f"{videos} videos"}
    return {
        "scorers": scorers,
        "heads": [str(step.fit) or full[step.distance] for step in steps],
        "rows": [(name, [main_cell(tree, windows, scorer, name) for scorer in scorers]) for name in names],
    }


def main_cell(tree: Tree, windows: str, scorer: str, name: str) -> CellScore | None:
    """The main score of a property: occluded trials if there are any, and all kinds of pair."""
    by_visibility = tree.get(windows, {}).get(scorer, {}).get(name, {})
    kinds = by_visibility.get("occluded", by_visibility.get("all", {})).get("all", {}).get("all", {})
    found: CellScore | None = next(iter(kinds.values()), None)
    return found


def by_level(tree: Tree, windows: str, scorer: str, name: str) -> list[tuple[str, CellScore]]:
    """(level, score) of a property that has levels."""
    by_visibility = tree.get(windows, {}).get(scorer, {}).get(name, {})
    levels = by_visibility.get("occluded", by_visibility.get("all", {}))
    return [(level, next(iter(it["all"].values()))) for level, it in levels.items() if level != "all" and it.get("all")]


def verdict(score: CellScore) -> str:
    """What a headline number means in words. Claims only what the interval and the paired tests support."""
    correct = f"The impossible video is the more surprising one in {100 * score['value']:.0f} of 100 pairs; chance is 50."
    if score["low"] <= 0.5 <= score["high"]:
        return f"{correct} The interval contains 50, so this is no evidence that the model detects violations."
    if score["high"] < 0.5:
        return f"{correct} This is below chance: something other than the violation determines the surprise."
    rows = baseline_rows(score)
    as_good = [row["name"] for row in rows if row["value"] >= score["value"] or (row["p"] is not None and row["p"] >= 0.01)]
    if as_good:
        return f"{correct} This is above chance, but not significantly above {', '.join(as_good)}."
    tested = [row for row in rows if row["p"] is not None]
    if tested:
        return f"{correct} This is above chance and significantly above all {len(tested)} tested baselines (p < .01)."
    return f"{correct} This is above chance; it was tested against no baseline."


def diagnostics(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """For each kind of window: diagnostics by scorer, with pixel baselines for comparison."""
    tables = []
    for windows, by_scorer in found.items():
        names = list(dict.fromkeys(name for it in by_scorer.values() for name in it))
        baselines = list(
            dict.fromkeys(b for it in by_scorer.values() for d in it.values() for b in d.get("pixel_baselines", {}))
        )
        rows = []
        for name in names:
            cells = [it[name] for it in by_scorer.values() if name in it]
            rows.append(
                {
                    "name": "AUROC" if name == "auroc" else name,
                    "words": DIAGNOSTICS.get(name, ""),
                    "chance": cells[0]["chance"],
                    "n": cells[0]["n"],
                    "values": [it.get(name, {}).get("value") for it in by_scorer.values()],
                    "baselines": [cells[0].get("pixel_baselines", {}).get(scorer) for scorer in baselines],
                }
            )
        tables.append({"windows": windows, "scorers": list(by_scorer), "baselines": baselines, "rows": rows})
    return tables


def crossed(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """{scorer: {row: cell}} -> {"scorers", "rows": [(row, cells)]}."""
    names = list(dict.fromkeys(name for it in found.values() for name in it))
    return {"scorers": list(found), "rows": [(name, [it.get(name) for it in found.values()]) for name in names]}
