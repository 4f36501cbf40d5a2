"""sweep.json of augmentation -> sweep.csv with one row per number, and sweep.md with a table and
the conclusion."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from eval.probes.output.tables import NONE, cell
from eval.sweeps.augmentation.results import LABELS, WHERE, Row, SweepResults, conclusion, signed
from eval.sweeps.cell_probes import SeedScores
from eval.voe.scores.tables import table
from worldmodel.files.atomic import atomic_path, write_text

COLUMNS = ("row", "strength", "property", "metric", "seed", "value", "low", "high", "n", "chance")


def write_tables(out: Path, found: SweepResults) -> None:
    """Write sweep.csv and sweep.md into the folder `out`."""
    with atomic_path(out / "sweep.csv") as part, open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", restval="")
        writer.writeheader()
        writer.writerows(csv_rows(found))
    write_text(out / "sweep.md", markdown(found))


def csv_rows(found: SweepResults) -> Iterator[dict[str, Any]]:
    """Every number with its address.

    `seed` is "mean", "change" (since the weakest strength) or a seed.
    """
    for row in found["rows"]:
        for prop, score in row["scores"].items():
            address = {"row": row["name"], "strength": row.get("strength", ""), "property": prop, "metric": score["metric"]}
            yield {**address, "seed": "mean", **_numbers(score)}
            if change := score.get("change"):
                yield {**address, "seed": "change", **_numbers(change)}
            for seed, own in score["seeds"].items():
                yield {**address, "seed": seed, **_numbers(own)}


def markdown(found: SweepResults) -> str:
    first = found["rows"][0]["scores"]
    chance = ["chance", *(f"{first[prop]['chance']:.2f}" for prop in LABELS), "", ""]
    lines = [[row["name"], *(_cell(row["scores"][prop]) for prop in LABELS), *_health(row)] for row in found["rows"]]
    title = (
        f"{description(found)}. Linear probes, cross-fitted over videos; (change since the weakest strength, same videos and "
        "seeds)"
    )
    parts = [
        "# Sweep over the strength of augmentation",
        "",
        conclusion(found["rows"]),
        "",
        table(title, ["", *LABELS.values(), "effective rank", "health verdict"], [chance, *lines]),
        f"`{found['made']['command']}`, commit {found['made']['commit'] or 'unknown'}.",
    ]
    return "\n".join(parts) + "\n"


def caption(found: SweepResults) -> str:
    """The caption of the figure."""
    made, single = found["made"], " Small marks: single trainings." if _seeds(found) > 1 else ""
    return (
        f"{description(found)}.{single} All are probed on the same videos: the intervals of differences, in sweep.md, are "
        f"narrower than these. {made['command']}; commit {made['commit'] or 'unknown'}"
    )


def description(found: SweepResults) -> str:
    """What was trained and probed."""
    data, seeds = found["data"], _seeds(found)
    return (
        f"Strength of {', '.join(found['parts'])} in training: 0 none, 1 SimCLR's; {found['recipe']}, {found['max_steps']} "
        f"steps, mean of {seeds} seed{'s' if seeds > 1 else ''}; {data['videos']} {data['split']} videos "
        "[95 % intervals over videos]"
    )


def _seeds(found: SweepResults) -> int:
    return max(len(row["scores"][WHERE]["seeds"]) for row in found["rows"])


def _cell(score: SeedScores) -> str:
    change = score.get("change")
    return cell(score) + (f" ({signed(change)})" if change else "")


def _health(row: Row) -> tuple[str, str]:
    """Mean effective rank over seeds, and the verdicts."""
    checks = row.get("health", {}).values()
    rank = sum(it["effective_rank"] for it in checks) / len(checks) if checks else None
    return (NONE if rank is None else f"{rank:.1f}", ", ".join(dict.fromkeys(it["verdict"] for it in checks)) or NONE)


def _numbers(score: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in score.items() if name in COLUMNS}
