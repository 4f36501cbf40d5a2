"""Scores as rows for a spreadsheet, and as a table for a paper."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ADDRESS = ("windows", "scorer", "property", "visibility", "level", "copy_class", "pairs")
NUMBERS = ("value", "low", "high", "n", "p", "p_holm")


def write_tables(out: Path) -> None:
    """OUT/scores.csv, every number; OUT/table.md, the ones for a paper."""
    scores = json.loads((out / "scores.json").read_text(encoding="utf-8"))
    with (out / "scores.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow((*ADDRESS, *NUMBERS))
        writer.writerows(rows(scores["tree"]))
    (out / "table.md").write_text(markdown(scores), encoding="utf-8")


def rows(tree: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """One row a number."""
    for windows, by_scorer in tree.items():
        for scorer, by_property in by_scorer.items():
            for property_, by_visibility in by_property.items():
                for visibility, by_level in by_visibility.items():
                    for level, by_class in by_level.items():
                        for copy_class, by_kind in by_class.items():
                            for kind, it in by_kind.items():
                                address = (windows, scorer, property_, visibility, level, copy_class, kind)
                                yield (*address, *(it.get(name) for name in NUMBERS))


def markdown(scores: Mapping[str, Any]) -> str:
    """Property by scorer, with intervals and what stands beside, in percent."""
    lines = []
    for windows, by_scorer in scores["tree"].items():
        for scorer, by_property in by_scorer.items():
            found = []
            for name, cells in by_property.items():
                cell = cells.get("occluded", cells["all"])["all"]["all"]
                kind = next(iter(cell))
                found.append((name, cell[kind]))
            if not found:
                continue
            beside = list(found[0][1]["baselines"])
            lines += [
                f"**{scorer}**, {windows} windows, pairs: {kind}; percent, 95 % interval, chance 50",
                "",
                f"| property | n | {scorer} | p (Holm) | {' | '.join(beside)} |",
                f"|---|---|---|---|{'---|' * len(beside)}",
            ]
            for name, it in found:
                others = [it["baselines"].get(other, {}).get("value") for other in beside]
                values = " | ".join("–" if other is None else f"{100 * other:.1f}" for other in others)
                p = it.get("p_holm", it.get("p"))
                said = "–" if p is None else f"{p:.4f}"
                interval = f"{100 * it['value']:.1f} [{100 * it['low']:.1f}, {100 * it['high']:.1f}]"
                lines.append(f"| {name} | {it['n']} | {interval} | {said} | {values} |")
            lines.append("")
    return "\n".join(lines)
