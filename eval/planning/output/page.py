"""report.html of `eval plan`: verdict, success, videos with failures first, offline measures. It opens offline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup
from numpy.typing import NDArray

from data_prep.progress import bar
from eval.planning.episodes import Episodes
from eval.planning.evaluation import Evaluation
from eval.planning.output import figures
from eval.planning.output.episode_videos import Gallery, choose, episode_player
from eval.planning.output.tables import cell, criterion_text, search_options
from eval.planning.results import PlanResults
from eval.planning.scoring import success
from eval.report.player import Player
from eval.report.rendering import render

SHOWN_BY_DISTANCE = ("model", "oracle_to_go", "straight", "cloning", "inverse")
SHOWN_BESIDE = ("scripted", "oracle_to_go", "oracle")


@dataclass(frozen=True)
class PageInput:
    """What the videos are made from."""

    evaluation: Evaluation
    runs: Mapping[str, Sequence[Episodes]]
    starts: NDArray[Any]
    goals: NDArray[Any]
    gallery: Gallery | None


def write_page(path: Path, found: PlanResults, given: PageInput) -> Path:
    """Write one HTML file."""
    unit, offline = found["environment"]["unit"], found.get("offline", {})
    names = [criterion["name"] for criterion in found["criteria"]]
    models = ", ".join(it["name"] for it in found["made"]["models"])
    return render(
        path,
        "plan.html",
        title=f"Planning in {found['environment']['id']}" + (f": {models}" if models else ": baselines"),
        found=found,
        names=names,
        search_options=search_options(found["protocol"]),
        criteria=[criterion_text(criterion, unit) for criterion in found["criteria"]],
        by_distance=Markup(figures.success_by_distance(found["policies"], unit, SHOWN_BY_DISTANCE)),
        offline_figures=_offline_figures(offline),
        landscapes=[Markup(figures.landscape(it)) for it in offline.get("landscapes", [])],
        landscape_steps=next((it["steps"] for it in offline.get("landscapes", [])), 0),
        players=list(_players(given, names[0])),
        imagined=given.gallery.how if given.gallery is not None else "",
        provenance=_provenance(found),
    )


def _offline_figures(offline: Mapping[str, Any]) -> list[tuple[str, str, Markup]]:
    """(title, what it says, figure)"""
    found = []
    if forecast := offline.get("forecast"):
        text = f"Error under recorded actions is {cell(forecast['uses_actions'])} % below that under shuffled ones. "
        text += "Mean action: the mean of these held-out episodes, at every step."
        found.append(("Does the forecast use the actions?", text, Markup(figures.forecast_errors(forecast))))
    if ranks := offline.get("action_rank"):
        text = "How many action sequences of other episodes cost more than the recorded one, which led to the goal. "
        text += {"all": "All steps cost", "last": "The last step costs"}[ranks[0]["cost_steps"]] + ", as in the plans."
        found.append(("Does the cost prefer the right actions?", text, Markup(figures.action_ranks(ranks))))
    for name, it in offline.get("reach", {}).items():
        where = "–" if it["reach"] is None else f"{it['reach']:.3g} of {it['longest']:.3g}"
        text = f"Against {name}: 90 % of the highest mean is reached at {where}; beyond it, plans have no slope to follow."
        found.append(("Reach of the distance", text, Markup(figures.reach_curve(name, it))))
    return found


def _players(given: PageInput, criterion: str) -> list[Player]:
    name = "model" if "model" in given.runs else next(iter(given.runs))
    main = given.runs[name][0]
    succeeded = success(given.evaluation.task, [main], given.goals)[criterion][0] > 0
    labels = {key: key.replace("_", " ") for key in given.runs}
    beside = next((key for key in SHOWN_BESIDE if key in given.runs and key != name), None)
    other = None if beside is None else (labels[beside], given.runs[beside][0])
    gallery = given.gallery if name == "model" and given.gallery is not None and given.gallery.how else None
    chosen, found = choose(succeeded), []
    with bar("videos", len(chosen)) as progress:
        for it in chosen:
            found.append(episode_player(given.evaluation, it, (labels[name], main), other, gallery, criterion))
            progress.step()
    return found


def _provenance(found: PlanResults) -> str:
    made = found["made"]
    models = [f"{it['name']}, step {it['step']}, weights {it['hash'][:8]}" for it in made["models"]]
    return "; ".join([*models, *([f"commit {made['commit']}"] if made["commit"] else []), made["command"]])
