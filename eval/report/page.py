"""protocol, scores, traces and films of an evaluation -> report.html."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from eval.report import tables
from eval.report.player import Player
from eval.report.plots import accuracy_curve
from eval.report.quadruplets import Album
from eval.report.rendering import render
from eval.result_folder import read_result
from eval.voe.scorers import is_ablation
from eval.voe.trials import Trial, read_trials
from worldmodel.video.square import SEEN

FIRST = ("whitened", "distance", "adjusted")


def write_report(out: Path) -> Path:
    """OUT/report.html, of what stands in OUT. Films that are no longer where they were are left out with a word."""
    protocol, scores = (read_result(out / name) for name in ("protocol.json", "scores.json"))
    trials = read_trials(out / "trials.json")
    tree, headline = scores["tree"], scores["headline"]
    # those that stand side by side everywhere; without a model, whatever was judged
    shown = [name for name in FIRST if name in headline] or list(headline)[:1]
    windows = "locked" if any(name in tree.get("locked", {}) for name in shown) else "free"
    players = Album(out, protocol, scores, trials).players() if shown else []
    return render(
        out / "report.html",
        "evaluation.html",
        title=f"{protocol['model']['name']} on {protocol['suite']['name']}",
        out=str(out),
        protocol=protocol,
        headline=[_headline(name, headline[name]) for name in shown],
        whitening=tables.whitening(tree, windows, (protocol.get("whitening") or {}).get("films")),
        shown=shown,
        windows=windows,
        flags={trial.property: trial.flag for trial in trials if trial.flag},
        tables=list(tables.property_tables(tree, shown)),
        properties=[
            _property(scores, windows, shown, name, protocol["suite"].get("magnitudes"))
            for name in _properties(tree, windows, shown)
        ],
        groups=_groups(players),
        heat_word=_heat_word(protocol, any(player.has_heat for player in players)),
        diagnostics=tables.diagnostics({windows: plain(it) for windows, it in scores.get("diagnostics", {}).items()}),
        published=tables.crossed(plain(scores.get("published", {}))),
        localisation=tables.crossed(plain(scores.get("localisation", {}))),
        contexts=tables.crossed(plain(scores.get("contexts", {}))),
        splits={name: list(tables.property_tables(it, shown)) for name, it in scores.get("splits", {}).items()},
        taken=scores.get("context_s", {}),
        best=scores.get("best_on_test", {}),
        counts=_counts(trials),
        notes=scores.get("notes", ()),
        seen=SEEN[protocol.get("square", "squeeze")],
        unread=protocol.get("left_out") or {},
        without=_without(scores.get("left_out", {}), protocol.get("left_out") or {}),
    )


def plain(by_scorer: Mapping[str, Any]) -> dict[str, Any]:
    """Without the ablations of whitening, which have a table of their own."""
    return {name: it for name, it in by_scorer.items() if not is_ablation(name)}


def _headline(name: str, it: Mapping[str, Any]) -> dict[str, Any]:
    if it.get("value") is None:
        return {"scorer": name, "range": it["range"], "why": it["why"], "n": it["n"]}
    return {"scorer": name, "score": it, "verdict": tables.verdict(it), "beside": tables.everything_beside(it)}


def _properties(tree: Mapping[str, Any], windows: str, shown: Sequence[str]) -> list[str]:
    return [name for name in (tree[windows][shown[0]] if shown and windows in tree else {}) if name != "all"]


def _property(
    scores: Mapping[str, Any], windows: str, shown: Sequence[str], name: str, magnitudes: Mapping[str, str] | None
) -> dict[str, Any]:
    """One property's picture: its scorers, all that stands beside the first, and its curves; none by a magnitude that is no
    one quantity."""
    tree = scores["tree"]
    found = [(scorer, it) for scorer in shown if (it := tables.main_cell(tree, windows, scorer, name))]
    curves = []
    for key, title, quantity in (
        ("magnitude", "How large is the change?", "magnitude" if magnitudes is None else magnitudes.get(name)),
        ("occlusion_s", "How long is it hidden?", "seconds out of sight"),
    ):
        bins = {scorer: it for scorer in shown if (it := scores.get(key, {}).get(scorer, {}).get(name))}
        if bins and quantity:
            n = sum(it["n"] for it in next(iter(bins.values())))
            curves.append({"title": title, "n": n, "svg": Markup(accuracy_curve(bins, quantity))})
    return {
        "name": name,
        "scores": found,
        "beside": tables.everything_beside(found[0][1]) if found else [],
        "levels": [(scorer, tables.by_level(tree, windows, scorer, name)) for scorer in shown],
        "curves": curves,
    }


def _groups(players: Sequence[Player]) -> dict[str, list[Player]]:
    """Players by property, in their order."""
    found: dict[str, list[Player]] = {}
    for player in players:
        found.setdefault(player.group, []).append(player)
    return found


def _heat_word(protocol: Mapping[str, Any], drawn: bool) -> str:
    """How to read heat maps, or why there are none."""
    latent = protocol["model"].get("latent")
    if drawn:
        return (
            "The heat map over a film is the surprise of the curve, place by place, on one scale for the films of a trial; "
            "its mean over the picture is the curve."
        )
    if latent is None:
        return ""
    if latent[0] == 1:
        return "The model sees a picture as one latent, so there is no map of where it is surprised."
    if math.isqrt(latent[0]) ** 2 != latent[0]:
        return f"The model’s {latent[0]} places are no square, so that no map of where it is surprised is drawn."
    return "No maps of where in the picture it is surprised were kept; the same evaluation again keeps them."


def _without(left_out: Mapping[str, Sequence[str]], unread: Mapping[str, str]) -> dict[str, list[str]]:
    """By scorer: films it has no number for, though they could be read."""
    found = {scorer: [film for film in films if film not in unread] for scorer, films in left_out.items()}
    return {scorer: films for scorer, films in found.items() if films}


def _counts(trials: Sequence[Trial]) -> dict[str, int]:
    return {
        "properties": len({trial.property for trial in trials}),
        "trials": sum(trial.split == "test" for trial in trials),
        "films": sum(len(trial.films) for trial in trials if trial.split == "test"),
    }
