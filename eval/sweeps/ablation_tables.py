"""ablation.json -> ablation.csv, a row a number, ablation.md, tables for a paper, and ablation.png."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eval.sweeps.ablation import OUTCOMES, verdicts
from eval.sweeps.ablation_figure import figure
from eval.voe.scores.tables import table
from worldmodel.files.atomic import replacing, write_text
from worldmodel.render import save_figure

NONE = "–"
Score = Mapping[str, Any]


def write_all(out: Path, found: Mapping[str, Any]) -> None:
    """Into OUT."""
    with replacing(out / "ablation.csv") as part, open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("way", "seed", "of", "value", "low", "high", "n"))
        for row in found["cells"]:
            here = (row["way"], row["seed"])
            writer.writerows((*here, name, value, "", "", "") for name, value in row["doctor"].items())
            for name, it in row["scores"].items():
                writer.writerow((*here, name, *(() if it is None else (it[part] for part in ("value", "low", "high", "n")))))
    write_text(out / "ablation.md", markdown(found))
    save_figure(figure(found), out / "ablation.png")


def markdown(found: Mapping[str, Any]) -> str:
    """Ways by scores, and what of training foretold them."""
    return "\n".join([_ways(found), _agreement(found["agreement"])])


def _ways(found: Mapping[str, Any]) -> str:
    ways = found["ways"]
    names = list(next(iter(ways.values()))["scores"])
    rows = [
        [
            way,
            verdicts(it["verdicts"]),
            _number(it["doctor"]["effective_rank"], 1),
            *(_score(name, it["scores"][name]) for name in names),
        ]
        for way, it in ways.items()
    ]
    beside = found["cells"][0]["untrained"]
    rows.append(["untrained", "", "", *(_score(name, beside.get(name)) for name in names)])
    seeds = max(len(it["seeds"]) for it in ways.values())
    title = (
        f"Means over seeds ({seeds}) [lowest to highest end of the seeds' 95 % intervals, over films]. *latent skill*: of "
        "direct forecasts against the better of copy and mean; *position*: R2 of a linear probe, of latents and *ahead* of "
        "forecasts; *@*: seconds ahead; *physics*: percent of pairs right in locked windows, chance 50"
    )
    return table(title, ["way", "verdict", "rank", *names], rows)


def _agreement(found: Mapping[str, Mapping[str, Score | None]]) -> str:
    rows = [
        [metric, *(_number(None if it is None else it["value"], 2) for it in by_outcome.values())]
        for metric, by_outcome in found.items()
    ]
    return table("What foretells what: rank correlation over all cells", ["in training", *OUTCOMES], rows)


def _score(name: str, it: Score | None) -> str:
    if it is None or it.get("value") is None:
        return NONE
    scale, places = (100, 1) if name.startswith("physics") else (1, 2)
    value = _number(scale * it["value"], places)
    return (
        value
        if it.get("low") is None
        else f"{value} [{_number(scale * it['low'], places)}, {_number(scale * it['high'], places)}]"
    )


def _number(value: float | None, places: int) -> str:
    return NONE if value is None else f"{value:.{places}f}"
