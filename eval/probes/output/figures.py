"""Figures of probe.json: what is encoded and predicted, and how far a hidden body is followed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eval.probes.evaluation import CONSTANT_VELOCITY
from eval.probes.layers import NARROWED
from eval.probes.output.layer_figure import layers_figure
from eval.probes.tracking import COPY, FORECAST, GROUPS, OCCLUDER, OTHERS
from eval.provenance import named
from worldmodel.render import save_figure
from worldmodel.render.curves import bare, under
from worldmodel.render.ink import BAD, FAINT, GOOD, IMAGINED, INK, MUTED, Rgb, hexadecimal
from worldmodel.render.ink import COPY as COPY_COLOUR

Mark = tuple[str, Rgb, str]  # label, colour, marker
ENCODED: Mapping[str, Mark] = {
    "model": ("latents of what came", GOOD, "o"),
    "untrained": ("untrained network's", MUTED, "s"),
    "pixels": ("raw pixels", BAD, "^"),
}
ATTENTIVE: Mark = ("latents of what came, attentive probe", GOOD, "D")
PREDICTED: Mapping[tuple[str, str], Mark] = {
    ("model: forecast", "read"): ("forecast, read", IMAGINED, "o"),
    ("model: forecast", "fitted"): ("forecast, fitted", IMAGINED, "D"),
    ("model: copy", "read"): ("context's last latents, read", COPY_COLOUR, "o"),
    ("model: copy", "fitted"): ("context's last latents, fitted", COPY_COLOUR, "D"),
    (CONSTANT_VELOCITY, "truth"): ("constant velocity (truth)", INK, "x"),
}
TRACKED: Mapping[str, Mark] = {
    FORECAST: ("forecast", IMAGINED, "o"),
    COPY: ("copy: where it was last seen (truth)", COPY_COLOUR, "s"),
    CONSTANT_VELOCITY: ("constant velocity (truth)", INK, "x"),
    OTHERS: ("where others hide, on average (truth)", MUTED, "^"),
    OCCLUDER: ("middle of the occluders (truth)", BAD, "D"),
    "model: what came": ("latents of what came", GOOD, "v"),
}
WIDEST = 3.0  # widths; errors beyond are cut off
FLOOR = -0.5  # R2 below is drawn here


def draw(out: Path, found: Mapping[str, Any]) -> None:
    """OUT/readings.png, OUT/tracking.png where something went out of sight, or of labelled clips OUT/classes.png;
    OUT/layers.png where layers were asked."""
    data = found["data"]
    of = f"{data['films']} {data['split']} films" if found["kind"] == "physics" else f"{data['clips']['test']} test clips"
    caption = f"{of} of {data['manifest']}; bars: 95 % over films. {named(found['made'])}"
    if "layers" in found:
        save_figure(layers_figure(found["layers"], f"{caption}. {NARROWED.capitalize()}."), out / "layers.png")
    if found["kind"] != "physics":
        save_figure(classes(found, caption), out / "classes.png")
        return
    save_figure(readings(found, caption), out / "readings.png")
    if found["tracking"]:
        save_figure(tracking(found["tracking"], found["data"]["direct_up_to_s"], caption), out / "tracking.png")


def readings(found: Mapping[str, Any], caption: str) -> Figure:
    """R2 or balanced accuracy of every property: encoded, and predicted at the middle horizon."""
    times = list(dict.fromkeys(t for kinds in found["predicted"].values() for t in kinds.get("linear", {})))
    middle = times[len(times) // 2] if times else None
    names = list(found["encoded"])
    figure = Figure(figsize=(8.6, 0.46 * len(names) + 1.8), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    encoded = {mark: [found["encoded"][n]["linear"].get(s) for n in names] for s, mark in ENCODED.items()}
    if any("attentive" in found["encoded"][n] for n in names):
        encoded[ATTENTIVE] = [found["encoded"][n].get("attentive", {}).get("model") for n in names]
    _rows(left, names, encoded)
    left.set_title("encoded: at the moment itself", fontsize=9, loc="left")
    if middle is not None:
        there = {n: found["predicted"].get(n, {}).get("linear", {}).get(middle, {}) for n in names}
        scores = {mark: [there[n].get(s, {}).get(how) for n in names] for (s, how), mark in PREDICTED.items()}
        _rows(right, names, scores)
        right.set_title(f"predicted: {middle} s after the context", fontsize=9, loc="left")
    for axes in (left, right):
        axes.set_xlabel("R², or balanced accuracy (grey: chance)", fontsize=9)
        axes.set_xlim(FLOOR, 1.02)
    chance = [next(iter(found["encoded"][n]["linear"].values()))["chance"] for n in names]
    for axes in (left, right):
        axes.plot(chance, range(len(names)), "|", color=hexadecimal(MUTED), markersize=14, zorder=1)
    under(figure, caption)
    return figure


def classes(found: Mapping[str, Any], caption: str) -> Figure:
    """Accuracy on test clips, a row a probe."""
    names = list(found["classes"])
    figure = Figure(figsize=(5.4, 0.46 * len(names) + 2.2), layout="constrained")
    axes = figure.subplots()
    _rows(axes, names, {mark: [found["classes"][n].get(s) for n in names] for s, mark in ENCODED.items()}, -0.32)
    axes.axvline(found["classes"][names[0]]["model"]["chance"], color=hexadecimal(MUTED), linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set_title(f"{len(found['data']['classes'])} classes", fontsize=9, loc="left")
    axes.set_xlabel("accuracy (dashes: the most frequent train class)", fontsize=9)
    axes.set_xlim(0, 1.02)
    under(figure, caption)
    return figure


def _rows(
    axes: Axes, names: Sequence[str], scores: Mapping[Mark, Sequence[Mapping[str, Any] | None]], legend_at: float = -0.11
) -> None:
    for place, ((label, colour, marker), some) in enumerate(scores.items()):
        offset = 0.13 * (place - (len(scores) - 1) / 2)
        there = [(row + offset, it) for row, it in enumerate(some) if it is not None and it["value"] is not None]
        x = [max(it["value"], FLOOR) for _, it in there]
        y = [row for row, _ in there]
        low, high = ([max(it[end], FLOOR) for _, it in there] for end in ("low", "high"))
        axes.hlines(y, low, high, color=hexadecimal(colour), linewidth=1.2, alpha=0.6)
        axes.plot(x, y, marker, color=hexadecimal(colour), markersize=4.5, label=label)
    bare(axes)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color=hexadecimal(FAINT), linewidth=0.6)
    axes.axvline(0, color=hexadecimal(MUTED), linewidth=0.8)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.legend(frameon=False, fontsize=7, loc="upper center", bbox_to_anchor=(0.5, legend_at), ncols=2)


def tracking(found: Mapping[str, Any], reach_s: float, caption: str) -> Figure:
    """Error in widths against time hidden: bodies that moved when last seen, and those at rest. Forecasts are direct up to
    `reach_s` and imagined beyond."""
    groups = [name for name in GROUPS[:2] if name in found]
    figure = Figure(figsize=(4.3 * len(groups) + 0.4, 3.6), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(groups), sharey=True, squeeze=False)[0], groups, strict=True):
        for source, (label, colour, marker) in TRACKED.items():
            curve = found[name].get(source, {})
            x = [float(time) for time in curve]
            value, low, high = ([it[end] for it in curve.values()] for end in ("value", "low", "high"))
            axes.fill_between(x, low, high, color=hexadecimal(colour), alpha=0.12, linewidth=0)
            axes.plot(x, value, marker=marker, color=hexadecimal(colour), linewidth=1.6, markersize=4, label=label)
        bare(axes)
        count = max((it["n"] for it in found[name].get(FORECAST, {}).values()), default=0)
        axes.set_title(f"{name}: {count} films, fewer later", fontsize=9, loc="left")
        axes.set_xlabel("time hidden (s)")
        axes.set_ylim(0, WIDEST)
        if reach_s < max((float(time) for time in found[name].get(FORECAST, {})), default=0):
            axes.axvline(reach_s, color=hexadecimal(MUTED), linewidth=0.8, linestyle=(0, (4, 3)))
            axes.text(reach_s, WIDEST, " imagined", fontsize=7, color=hexadecimal(MUTED), va="top")
    figure.axes[0].set_ylabel("error of place (widths of the body)")
    figure.axes[0].legend(frameon=False, fontsize=7)
    under(figure, caption)
    return figure
