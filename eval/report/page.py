"""report.html of a VoE evaluation, from its protocol, scores, traces and videos."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from eval.report import tables
from eval.report.player import Player
from eval.report.plots import accuracy_curve
from eval.report.quadruplets import TrialGallery
from eval.report.rendering import render
from eval.result_folder import read_result
from eval.voe.scorers import ScorerId
from eval.voe.scores.questions import QuestionScore
from eval.voe.scores.score_types import Headline
from eval.voe.trials import Trial, read_trials
from worldmodel.video.geometry import GEOMETRIES

FIRST = ("whitened", "latent distance", "adjusted")


def write_report(out: Path) -> Path:
    """Write OUT/report.html from the files in OUT. Videos that can no longer be read are replaced by a note."""
    protocol, scores = (read_result(out / name) for name in ("protocol.json", "scores.json"))
    trials = read_trials(out / "trials.json")
    tree, headline = scores["tree"], scores["headline"]
    # scorers that are shown side by side; without a model, the only one there is
    shown = [name for name in FIRST if name in headline] or list(headline)[:1]
    windows = main_windows(tree, shown)
    players = TrialGallery(out, protocol, scores, trials).players() if shown else []
    left_out = protocol.get("left_out") or {}
    return render(
        out / "report.html",
        "evaluation.html",
        title=f"{protocol['model']['name']} on {protocol['suite']['name']}",
        out=str(out),
        protocol=protocol,
        headline=[_headline(name, headline[name], scores.get("questions", {}).get(name, {})) for name in shown],
        whitening=tables.whitening(tree, windows, (protocol.get("whitening") or {}).get("videos")),
        shown=shown,
        windows=windows,
        flags={trial.property: trial.known_defect for trial in trials if trial.known_defect},
        tables=list(tables.property_tables(tree, shown)),
        properties=[
            _property(scores, windows, shown, name, protocol["suite"].get("magnitudes"))
            for name in _properties(tree, windows, shown)
        ],
        groups=_groups(players),
        heat_map_note=_heat_map_note(protocol, any(player.has_heat for player in players)),
        diagnostics=tables.diagnostics({kind: without_ablations(it) for kind, it in scores.get("diagnostics", {}).items()}),
        published=tables.crossed(without_ablations(scores.get("published", {}))),
        localisation=tables.crossed(without_ablations(scores.get("localisation", {}))),
        contexts=tables.crossed(without_ablations(scores.get("contexts", {}))),
        splits={name: list(tables.property_tables(it, shown)) for name, it in scores.get("splits", {}).items()},
        chosen_context_s=scores.get("context_s", {}),
        best=scores.get("best_on_test", {}),
        counts=_counts(trials),
        notes=scores.get("notes", ()),
        geometry=GEOMETRIES[protocol.get("geometry", "resize")],
        left_out=left_out,
        missing=_missing(scores.get("left_out", {}), left_out),
    )


def main_windows(tree: Mapping[str, Any], scorers: Sequence[str]) -> str:
    """The kind of window of the headline: locked windows if there are any, else sliding windows."""
    return "locked" if any(name in tree.get("locked", {}) for name in scorers) else "sliding"


def without_ablations(by_scorer: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the ablations of whitening, which have their own table."""
    return {name: it for name, it in by_scorer.items() if not ScorerId.parse(name).is_whitening_ablation}


def _headline(name: str, it: Headline, questions: Mapping[str, QuestionScore]) -> dict[str, Any]:
    if it.get("value") is None:
        return {"scorer": name, "range": it["range"], "reason": it["reason"], "n": it["n"]}
    shown = {"verdict": tables.verdict(it), "baselines": tables.baseline_rows(it), "questions": questions}
    return {"scorer": name, "score": it, **shown}


def _properties(tree: Mapping[str, Any], windows: str, shown: Sequence[str]) -> list[str]:
    return [name for name in (tree[windows][shown[0]] if shown and windows in tree else {}) if name != "all"]


def _property(
    scores: Mapping[str, Any], windows: str, shown: Sequence[str], name: str, magnitudes: Mapping[str, str] | None
) -> dict[str, Any]:
    """Figure of one property: its scorers, the baselines of the first one, and accuracy curves.

    There is no curve by magnitude if the magnitude of the property is not a single quantity.
    """
    tree = scores["tree"]
    found = [(scorer, it) for scorer in shown if (it := tables.main_cell(tree, windows, scorer, name))]
    curves = []
    for key, title, quantity in (
        ("magnitude", "By size of the change", "magnitude" if magnitudes is None else magnitudes.get(name)),
        ("occlusion_s", "By duration of occlusion", "seconds of occlusion"),
    ):
        bins = {scorer: it for scorer in shown if (it := scores.get(key, {}).get(scorer, {}).get(name))}
        if bins and quantity:
            n = sum(it["n"] for it in next(iter(bins.values())))
            curves.append({"title": title, "n": n, "svg": Markup(accuracy_curve(bins, quantity))})
    return {
        "name": name,
        "scores": found,
        "baselines": tables.baseline_rows(found[0][1]) if found else [],
        "levels": [(scorer, tables.by_level(tree, windows, scorer, name)) for scorer in shown],
        "curves": curves,
    }


def _groups(players: Sequence[Player]) -> dict[str, list[Player]]:
    """Players by property, in order."""
    found: dict[str, list[Player]] = {}
    for player in players:
        found.setdefault(player.group, []).append(player)
    return found


def _heat_map_note(protocol: Mapping[str, Any], is_shown: bool) -> str:
    """How to read heat maps, or why there are none."""
    latent = protocol["model"].get("latent")
    if is_shown:
        return (
            "The heat map over a video shows the surprise of the selected curve by token, on one scale for all videos of a "
            "trial. Its mean over the frame is the curve."
        )
    if latent is None:
        return ""
    if latent[0] == 1:
        return "The model has one latent per time step, so there is no heat map."
    if math.isqrt(latent[0]) ** 2 != latent[0]:
        return f"The {latent[0]} tokens of the model do not form a square grid, so there is no heat map."
    return "No heat maps were stored; run the same evaluation again to store them."


def _missing(left_out: Mapping[str, Sequence[str]], unreadable: Mapping[str, str]) -> dict[str, list[str]]:
    """By scorer: readable videos that it has no score for."""
    found = {scorer: [video for video in videos if video not in unreadable] for scorer, videos in left_out.items()}
    return {scorer: videos for scorer, videos in found.items() if videos}


def _counts(trials: Sequence[Trial]) -> dict[str, int]:
    return {
        "properties": len({trial.property for trial in trials}),
        "trials": sum(trial.split == "test" for trial in trials),
        "videos": sum(len(trial.videos) for trial in trials if trial.split == "test"),
    }
