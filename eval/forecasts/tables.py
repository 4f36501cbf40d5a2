"""forecast.json -> forecast.csv, a row a number, and forecast.md. Written from the JSON alone."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eval.probes.output.tables import cell
from eval.provenance import named
from eval.voe.scores.tables import table
from worldmodel.files.atomic import replacing, write_text

ADDRESS = ("part", "source", "against", "horizon_s")
NUMBERS = ("value", "low", "high", "n")
COLUMNS = 6  # horizons in a table for people, about


def write_tables(out: Path, found: Mapping[str, Any]) -> None:
    with replacing(out / "forecast.csv") as part, open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, (*ADDRESS, *NUMBERS), extrasaction="ignore", restval="")
        writer.writeheader()
        writer.writerows(rows(found))
    write_text(out / "forecast.md", markdown(found))


def rows(found: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every number there is, with its address."""
    for part, source, against, curve in curves(found):
        for horizon_s, score in zip(found["horizons_s"], curve, strict=True):
            if score is not None:
                yield {**dict(zip(ADDRESS, (part, source, against, f"{horizon_s:.4g}"), strict=True)), **score}


def curves(found: Mapping[str, Any]) -> Iterator[tuple[str, str, str, Sequence[Mapping[str, Any] | None]]]:
    """(part, source, against, a score a horizon)."""
    for part in ("error", "position_px"):
        for source, curve in found.get(part, {}).items():
            yield part, source, "", curve
    for part in ("skill", "position_skill"):
        for source, by_baseline in found.get(part, {}).items():
            for against, curve in by_baseline.items():
                yield part, source, against, curve


TITLES = {
    "error": "**Error of latents**, by the model's own distance [95 % over films]",
    "position_px": "**Error of position**, px, as one probe reads it off each; last place, constant velocity: from the truth",
    "skill": "**Skill of latents**: 1 - error / error of a baseline; 0 is no better",
    "position_skill": "**Skill of position**: 1 - error in px / error in px of a baseline",
}


def markdown(found: Mapping[str, Any]) -> str:
    data, times = found["data"], found["horizons_s"]
    parts = [
        f"# How far ahead {named(found['made'])} sees",
        "",
        f"{data['films']} {data['split']} films of {data['manifest']}, {data['context_s']:.3g} s seen; targets see: "
        f"{found['target_scope']}.",
        "",
    ]
    shown = sorted({int(k) for k in np.linspace(0, len(times) - 1, COLUMNS).round()})
    for part, title in TITLES.items():
        told = [(source, against, curve) for name, source, against, curve in curves(found) if name == part]
        if told:
            heads = [f"{times[k]:.3g} s" for k in shown]
            count = [str(max((curve[k] or {"n": 0})["n"] for _, _, curve in told)) for k in shown]
            lines = [["n films", *count]]
            for source, against, curve in told:
                lines.append([f"{source} against {against}" if against else source, *(cell(curve[k]) for k in shown)])
            parts.append(table(title, ["", *heads], lines))
    return "\n".join([*parts, *(f"- {note}" for note in found["notes"])]) + "\n"
