"""scores.json -> the rows of the page's tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eval.voe.scorers import unmeasured, whitening_steps

Score = Mapping[str, Any]
Tree = Mapping[str, Any]
LOCKED_BESIDE = ("untrained", "latent copy", "latent extrapolation", "pixel copy", "pixel extrapolation")
FREE_BESIDE = ("untrained", "latent copy", "pixel copy", "pixel extrapolation", "motion energy")

DIAGNOSTICS = {
    "max": "pairs right, a film by its most surprising window",
    "quadruplet sum": "impossible films together above possible ones: what an outcome surprises by itself cancels",
    "quadruplet sum of max": "the same, a film by its most surprising window",
    "quadruplet strict": "each impossible film above each possible one",
    "auroc": "single films, ranked",
    "threshold": "single films, by a threshold from others",
}


@dataclass(frozen=True)
class Column:
    """What a column is of: a place in the tree of scores, or a scorer that stands beside it."""

    title: str
    visibility: str = "all"
    copy_class: str = "all"
    kind: str = "both"
    beside: str = ""


@dataclass(frozen=True)
class Table:
    """Property x column."""

    windows: str
    scorer: str
    columns: Sequence[Column]
    rows: Sequence[tuple[str, Sequence[Score | None]]]  # property, a cell a column


def property_tables(tree: Tree, scorers: Sequence[str]) -> Iterator[Table]:
    """Per kind of window and scorer a table; columns that are empty in it are left out."""
    for windows in ("locked", "free"):
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
                ("in plain sight", "visible", "all"),
            )
            for kind in ("both", "matched")
        ]
        if not any(cell_of(by_property, name, column) for name in by_property for column in columns):
            columns = [Column("all", kind=kind) for kind in ("both", "matched", "same context", "same outcome")]
    columns = [column for column in columns if any(cell_of(by_property, name, column) for name in by_property)]
    main = columns[0]
    named = LOCKED_BESIDE if windows == "locked" else FREE_BESIDE
    columns += [
        Column(name, main.visibility, main.copy_class, main.kind, beside=name)
        for name in named
        if any(beside(cell_of(by_property, property_, main), name) for property_ in by_property)
    ]
    rows = []
    for name in by_property:
        cells = [cell_of(by_property, name, column) for column in columns]
        cells = [beside(cell, column.beside) if column.beside else cell for cell, column in zip(cells, columns, strict=True)]
        rows.append((name, cells))
    return Table(windows, scorer, columns, rows)


def cell_of(by_property: Tree, name: str, column: Column) -> Score | None:
    """The Score of a property in a column."""
    by_class = by_property.get(name, {}).get(column.visibility, {}).get("all", {})
    found: Score | None = by_class.get(column.copy_class, {}).get(column.kind)
    return found


def beside(score: Score | None, name: str) -> Score | None:
    """What a baseline or a blind scorer got on the same pairs; those in the model's latents are measured like the model."""
    if score is None:
        return None
    for key, it in score.get("baselines", {}).items():
        if unmeasured(key) == name and it.get("value") is not None:
            return dict(it)
    value = score.get("blind", {}).get(name)
    return None if value is None else {"value": value}


def everything_beside(score: Score) -> list[dict[str, Any]]:
    """Baselines, then blind scorers, each {"name", "value", "p", "seeds"}. Those of a whitened scorer are whitened too."""
    baselines = {unmeasured(name): it for name, it in score.get("baselines", {}).items()}
    rows = [{"name": name, "p": None, "seeds": None, **it} for name, it in baselines.items()]
    rows += [{"name": name, "value": value, "p": None, "seeds": None} for name, value in score.get("blind", {}).items()]
    return [row for row in rows if row["value"] is not None]


def whitening(tree: Tree, windows: str, films: int | None) -> dict[str, Any]:
    """What whitening does, by property: columns from no whitening to the most."""
    steps = whitening_steps(tree.get(windows, {}))
    names = list(dict.fromkeys(name for step in steps for name in tree[windows][step]))
    heads = {"distance": "raw", "diagonal": "diagonal", "whitened": f"{films} films", "whitened, per place": "per place"}
    return {
        "scorers": steps,
        "heads": [heads.get(step, step.removeprefix("whitened, ")) for step in steps],
        "rows": [(name, [main_cell(tree, windows, step, name) for step in steps]) for name in names],
    }


def main_cell(tree: Tree, windows: str, scorer: str, name: str) -> Score | None:
    """The Score that a property is known by: occluded, every kind of pair."""
    by_visibility = tree.get(windows, {}).get(scorer, {}).get(name, {})
    kinds = by_visibility.get("occluded", by_visibility.get("all", {})).get("all", {}).get("all", {})
    found: Score | None = next(iter(kinds.values()), None)
    return found


def by_level(tree: Tree, windows: str, scorer: str, name: str) -> list[tuple[str, Score]]:
    """(level, Score) of a property, where it comes in levels."""
    by_visibility = tree.get(windows, {}).get(scorer, {}).get(name, {})
    levels = by_visibility.get("occluded", by_visibility.get("all", {}))
    return [(level, next(iter(it["all"].values()))) for level, it in levels.items() if level != "all" and it.get("all")]


def verdict(score: Score) -> str:
    """What a headline means, in plain words. Claims only what the interval and the paired tests carry."""
    right = (
        f"Of 100 pairs it finds the impossible film the more surprising one in {100 * score['value']:.0f}; a coin would in 50."
    )
    others = {row["name"]: row for row in everything_beside(score)}
    if score["low"] <= 0.5 <= score["high"]:
        return f"{right} The interval holds 50, so this is no evidence that it knows."
    if score["high"] < 0.5:
        return f"{right} It is wrong more often than a coin: what it finds surprising is something else."
    equal = [
        name for name, row in others.items() if row["value"] >= score["value"] or (row["p"] is not None and row["p"] >= 0.01)
    ]
    if equal:
        return f"{right} That is above chance, but {', '.join(equal)} cannot be told from it, or is better."
    tested = [name for name, row in others.items() if row["p"] is not None]
    if tested:
        return f"{right} Above chance, and above each baseline it was tested against ({len(tested)}; p < .01)."
    return f"{right} That is above chance; it was tested against no baseline."


def diagnostics(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Per kind of window: rows of diagnostics, columns of scorers and of the blind."""
    tables = []
    for windows, by_scorer in found.items():
        names = list(dict.fromkeys(name for it in by_scorer.values() for name in it))
        blind = list(dict.fromkeys(b for it in by_scorer.values() for d in it.values() for b in d.get("blind", {})))
        rows = []
        for name in names:
            here = [it[name] for it in by_scorer.values() if name in it]
            rows.append(
                {
                    "name": "AUROC" if name == "auroc" else name,
                    "words": DIAGNOSTICS.get(name, ""),
                    "chance": here[0]["chance"],
                    "n": here[0]["n"],
                    "values": [it.get(name, {}).get("value") for it in by_scorer.values()],
                    "blind": [here[0].get("blind", {}).get(scorer) for scorer in blind],
                }
            )
        tables.append({"windows": windows, "scorers": list(by_scorer), "blind": blind, "rows": rows})
    return tables


def crossed(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """{scorer: {row: cell}} -> {"scorers", "rows": [(row, cells)]}."""
    names = list(dict.fromkeys(name for it in found.values() for name in it))
    return {"scorers": list(found), "rows": [(name, [it.get(name) for it in found.values()]) for name in names]}
