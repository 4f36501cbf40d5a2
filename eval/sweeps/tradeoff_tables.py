"""tradeoff.json -> tradeoff.csv, a row a number, tradeoff.md, a table for people, and what came out in a sentence."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.probes.output.tables import NONE, cell
from eval.voe.scores.tables import table
from worldmodel.files.atomic import replacing, write_text

WHERE, WHAT = "position", ("shape", "colour")
READ_AS = {"position": "position, R²", "shape": "shape, balanced accuracy", "colour": "hue, R²"}
COLUMNS = ("row", "strength", "property", "metric", "seed", "value", "low", "high", "n", "chance")
Row = Mapping[str, Any]


def write_tables(out: Path, found: Mapping[str, Any]) -> None:
    with replacing(out / "tradeoff.csv") as part, open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", restval="")
        writer.writeheader()
        writer.writerows(numbers(found))
    write_text(out / "tradeoff.md", markdown(found))


def numbers(found: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every number with its address; `seed` is "mean", "change" (since the weakest strength) or one seed."""
    for row in found["rows"]:
        for prop, score in row["scores"].items():
            address = {"row": row["name"], "strength": row.get("strength", ""), "property": prop, "metric": score["metric"]}
            yield {**address, "seed": "mean", **_own(score)}
            if score.get("change"):
                yield {**address, "seed": "change", **_own(score["change"])}
            for seed, alone in score["seeds"].items():
                yield {**address, "seed": seed, **_own(alone)}


def markdown(found: Mapping[str, Any]) -> str:
    first = found["rows"][0]["scores"]
    chance = ["chance", *(f"{first[prop]['chance']:.2f}" for prop in READ_AS), "", ""]
    lines = [[row["name"], *(_cell(row["scores"][prop]) for prop in READ_AS), *_health(row)] for row in found["rows"]]
    title = (
        f"{_of(found)}. Linear probes, fitted on other films than they read; (change since the weakest strength, same films "
        "and seeds)"
    )
    parts = [
        "# Augmentation: what, and where",
        "",
        outcome(found),
        "",
        table(title, ["", *READ_AS.values(), "effective rank", "doctor"], [chance, *lines]),
        f"`{found['made']['command']}`, commit {found['made']['commit'] or 'unknown'}.",
    ]
    return "\n".join(parts) + "\n"


def caption(found: Mapping[str, Any]) -> str:
    made, single = found["made"], " Small marks: single trainings." if _seeds(found) > 1 else ""
    return (
        f"{_of(found)}.{single} All read the same films: differences, in tradeoff.md, are surer than these intervals. "
        f"{made['command']}; commit {made['commit'] or 'unknown'}"
    )


def outcome(found: Mapping[str, Any]) -> str:
    """What the strongest augmentation did, against the weakest, and whether that is more than luck."""
    trained = trained_rows(found)
    if len(trained) < 2:
        return "Fewer than two strengths could be trained: nothing to compare."
    least, most = trained[0], trained[-1]
    changes = {prop: most["scores"][prop]["change"] for prop in READ_AS}
    if None in changes.values():
        return f"No seed was trained both at {least['name']} and at {most['name']}: nothing to compare."
    spreads = {prop: spread(trained, prop) for prop in READ_AS}
    way = {prop: direction(changes[prop], spreads[prop]) for prop in READ_AS}
    moved = {1: "rose", -1: "fell", 0: "stayed within luck"}
    told = "; ".join(f"{READ_AS[prop]} {moved[way[prop]]} ({_signed(changes[prop])})" for prop in READ_AS)
    gained = " and ".join(prop for prop in WHAT if way[prop] > 0)
    lost = "position is lost" if way[WHERE] < 0 else "no position is lost"
    shows = f"The trade-off shows, for {gained}" if way[WHERE] < 0 and gained else ""
    verdict = shows or f"No trade-off shows: {lost}, {gained or 'nothing'} is gained"
    seeds = len(changes[WHERE]["seeds"])
    luck = (
        f"{seeds} seeds each, which differ by up to {', '.join(f'{spreads[prop]:.3f}' for prop in READ_AS)} at one strength"
        if seeds > 1
        else "one training each: another seed may differ"
    )
    return f"From {least['name']} to {most['name']}: {told}. **{verdict}** ({luck}; strengths tried: {_tried(trained)})."


def direction(change: Mapping[str, Any], spread: float) -> int:
    """1 up, -1 down; 0 where the interval over films holds 0, or it is no more than seeds differ by at one strength."""
    if change["low"] <= 0 <= change["high"] or abs(change["value"]) <= spread:
        return 0
    return 1 if change["value"] > 0 else -1


def spread(trained: Sequence[Row], prop: str) -> float:
    """The most by which two trainings that differ in their seed alone differ; 0 of one training each."""
    alone = [[it["value"] for it in row["scores"][prop]["seeds"].values()] for row in trained]
    return max(max(values) - min(values) for values in alone)


def trained_rows(found: Mapping[str, Any]) -> list[Row]:
    """Weakest first."""
    return [row for row in found["rows"] if "strength" in row]


def _of(found: Mapping[str, Any]) -> str:
    data, seeds = found["data"], _seeds(found)
    return (
        f"Strength of {', '.join(found['parts'])} in training: 0 none, 1 SimCLR's; {found['recipe']}, {found['updates']} "
        f"updates, mean of {seeds} seed{'s' if seeds > 1 else ''}; {data['films']} {data['split']} films "
        "[95 % intervals over films]"
    )


def _seeds(found: Mapping[str, Any]) -> int:
    return max(len(row["scores"][WHERE]["seeds"]) for row in found["rows"])


def _cell(score: Row) -> str:
    change = score.get("change")
    return cell(score) + (f" ({_signed(change)})" if change else "")


def _health(row: Row) -> tuple[str, str]:
    there = row.get("health", {}).values()
    rank = sum(it["effective_rank"] for it in there) / len(there) if there else None
    return (NONE if rank is None else f"{rank:.1f}", ", ".join(dict.fromkeys(it["verdict"] for it in there)) or NONE)


def _signed(change: Row) -> str:
    return f"{change['value']:+.3f} [{change['low']:+.3f}, {change['high']:+.3f}]"


def _tried(trained: Sequence[Row]) -> str:
    return ", ".join(f"{row['strength']:g}" for row in trained)


def _own(score: Row) -> dict[str, Any]:
    return {name: value for name, value in score.items() if name in COLUMNS}
