"""sweep.json of anti-collapse methods -> sweep.csv with one row per number, sweep.md, and
sweep.png."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from eval.sweeps.anti_collapse.figure import sweep_figure
from eval.sweeps.anti_collapse.results import OUTCOMES, MethodResults, Score, SweepResults, verdict_text
from eval.voe.scores.tables import table
from worldmodel.files.atomic import atomic_path, write_text
from worldmodel.render import save_figure

NONE = "–"


def write_results(out: Path, found: SweepResults) -> None:
    """Write all files but sweep.json into the folder `out`."""
    with atomic_path(out / "sweep.csv") as part, open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("method", "seed", "of", "value", "low", "high", "n"))
        for row in found["cells"]:
            address = (row["method"], row["seed"])
            writer.writerows((*address, name, value, "", "", "") for name, value in row["health"].items())
            for name, score in row["scores"].items():
                numbers = () if score is None else tuple(score[part] for part in ("value", "low", "high", "n"))
                writer.writerow((*address, name, *numbers))
    write_text(out / "sweep.md", markdown(found))
    save_figure(sweep_figure(found), out / "sweep.png")


def markdown(found: SweepResults) -> str:
    """A table of methods by scores, and a table of the rank correlations."""
    return "\n".join([_method_table(found["methods"], found["cells"][0]["untrained"]), _agreement_table(found["agreement"])])


def _method_table(methods: Mapping[str, MethodResults], untrained: Mapping[str, Score | None]) -> str:
    names = list(next(iter(methods.values()))["scores"])
    rows = []
    for method, it in methods.items():
        rank = _number(it["health"]["effective_rank"], 1)
        rows.append([method, verdict_text(it["verdicts"]), rank, *(_score(name, it["scores"][name]) for name in names)])
    rows.append(["untrained", "", "", *(_score(name, untrained.get(name)) for name in names)])
    seeds = max(len(it["seeds"]) for it in methods.values())
    title = (
        f"Means over seeds ({seeds}) [from the lowest to the highest end of the seeds' 95 % intervals over videos]. *latent "
        "skill*: of direct forecasts, against the better of copy last and mean; *position*: R2 of a linear probe of target "
        "latents, *position ahead* of forecasts; *@*: seconds ahead; *voe*: percent of pairs right in locked windows, chance 50"
    )
    return table(title, ["method", "verdict", "rank", *names], rows)


def _agreement_table(agreement: Mapping[str, Mapping[str, Score | None]]) -> str:
    rows = [
        [metric, *(_number(None if it is None else it["value"], 2) for it in by_outcome.values())]
        for metric, by_outcome in agreement.items()
    ]
    title = "Which training metric predicts which outcome: rank correlation over all cells"
    return table(title, ["in training", *OUTCOMES], rows)


def _score(name: str, score: Score | None) -> str:
    if score is None or score.get("value") is None:
        return NONE
    scale, digits = (100, 1) if name.startswith("voe") else (1, 2)
    value = _number(scale * score["value"], digits)
    if score.get("low") is None:
        return value
    return f"{value} [{_number(scale * score['low'], digits)}, {_number(scale * score['high'], digits)}]"


def _number(value: float | None, digits: int) -> str:
    return NONE if value is None else f"{value:.{digits}f}"
