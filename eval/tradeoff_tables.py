"""tradeoff.json -> tradeoff.csv, a row a number, tradeoff.md, a table for people, and what came out in a sentence."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from eval.probe_tables import NONE, cell
from eval.tables import table

WHERE, WHAT = "position", ("shape", "colour")
READ_AS = {"position": "position, R²", "shape": "shape, balanced accuracy", "colour": "hue, R²"}
COLUMNS = ("row", "strength", "property", "metric", "seed", "value", "low", "high", "n", "chance")
Row = Mapping[str, Any]


def write_tables(out: Path, found: Mapping[str, Any]) -> None:
    with (out / "tradeoff.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", restval="")
        writer.writeheader()
        writer.writerows(numbers(found))
    (out / "tradeoff.md").write_text(markdown(found), encoding="utf-8")


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
    made = found["made"]
    return (
        f"{_of(found)}. Small marks: single trainings. All read the same films: differences, in tradeoff.md, are surer than "
        f"these intervals. {made['command']}; commit {made['commit'] or 'unknown'}"
    )


def outcome(found: Mapping[str, Any]) -> str:
    """What the strongest augmentation did, against the weakest; sure is what films and every seed agree on."""
    trained = trained_rows(found)
    if len(trained) < 2:
        return "Fewer than two strengths could be trained: nothing to compare."
    least, most = trained[0], trained[-1]
    changes = {prop: most["scores"][prop]["change"] for prop in READ_AS}
    if None in changes.values():
        return f"No seed was trained both at {least['name']} and at {most['name']}: nothing to compare."
    told = "; ".join(f"{READ_AS[prop]} {_moved(change)}" for prop, change in changes.items())
    lost, gained = direction(changes[WHERE]) < 0, [prop for prop in WHAT if direction(changes[prop]) > 0]
    seeds = len(changes[WHERE]["seeds"])
    if lost and gained:
        verdict = f"The trade-off shows, for {' and '.join(gained)}"
    elif lost:
        verdict = "No trade-off shows: position is lost, and nothing gained for it"
    elif gained:
        verdict = f"No trade-off shows: {' and '.join(gained)} gained, and no position lost for it"
    else:
        verdict = "No trade-off shows: no position is lost, and nothing gained"
    luck = "one training each: another seed may differ" if seeds == 1 else f"{seeds} seeds each"
    return f"From {least['name']} to {most['name']}: {told}. **{verdict}** ({luck}; range tried: {_range(trained)})."


def direction(change: Mapping[str, Any]) -> int:
    """1 up, -1 down, 0 where the interval over films holds 0 or the seeds do not agree."""
    if change["low"] > 0 and min(change["seeds"].values()) > 0:
        return 1
    return -1 if change["high"] < 0 and max(change["seeds"].values()) < 0 else 0


def trained_rows(found: Mapping[str, Any]) -> list[Row]:
    """Weakest first."""
    return [row for row in found["rows"] if "strength" in row]


def _of(found: Mapping[str, Any]) -> str:
    data, seeds = found["data"], max(len(row["scores"][WHERE]["seeds"]) for row in found["rows"])
    return (
        f"Strength of {', '.join(found['parts'])} in training: 0 none, 1 SimCLR's; {found['recipe']}, {found['updates']} "
        f"updates, mean of {seeds} seed{'s' if seeds > 1 else ''}; {data['films']} {data['split']} films "
        "[95 % intervals over films]"
    )


def _cell(score: Row) -> str:
    change = score.get("change")
    return cell(score) + (f" ({change['value']:+.2f} [{change['low']:+.2f}, {change['high']:+.2f}])" if change else "")


def _health(row: Row) -> tuple[str, str]:
    there = row.get("health", {}).values()
    rank = sum(it["effective_rank"] for it in there) / len(there) if there else None
    return (NONE if rank is None else f"{rank:.1f}", ", ".join(dict.fromkeys(it["verdict"] for it in there)) or NONE)


def _moved(change: Row) -> str:
    way = {1: "rose", -1: "fell", 0: "stayed within luck"}[direction(change)]
    return f"{way} ({change['value']:+.2f} [{change['low']:+.2f}, {change['high']:+.2f}])"


def _range(trained: list[Row]) -> str:
    return ", ".join(f"{row['strength']:g}" for row in trained)


def _own(score: Row) -> dict[str, Any]:
    return {name: value for name, value in score.items() if name in COLUMNS}
