"""Figures of probe.json: encoded and predicted properties, tracking of occluded bodies, classes,
layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eval.probes.constant_velocity import CONSTANT_VELOCITY
from eval.probes.dataset import MODEL, PIXELS, UNTRAINED
from eval.probes.evaluation import FROM_TRUTH, REFITTED, TRANSFERRED, copy_of, forecast_of, target_of
from eval.probes.layers import REDUCTION
from eval.probes.output.layer_figure import layers_figure
from eval.probes.results import ProbeResults, ScoreJson, Tracking, interval_arrays
from eval.probes.tracking import GROUPS, LAST_SEEN, OCCLUDER, OTHER_CLIPS
from eval.provenance import provenance_caption
from worldmodel.render import save_figure
from worldmodel.render.curves import add_caption, style_axes
from worldmodel.render.style import BAD, DARK, FAINT, GOOD, MUTED, PREDICTION, Rgb, hex_colour
from worldmodel.render.style import COPY as COPY_COLOUR

Mark = tuple[str, Rgb, str]  # label, colour, marker
ENCODED: Mapping[str, Mark] = {
    MODEL: ("target latents", GOOD, "o"),
    UNTRAINED: ("untrained network", MUTED, "s"),
    PIXELS: ("raw pixels", BAD, "^"),
}
ATTENTIVE: Mark = ("target latents, attentive probe", GOOD, "D")
PREDICTED: Mapping[tuple[str, str], Mark] = {
    (forecast_of(MODEL), TRANSFERRED): ("forecast, transferred probe", PREDICTION, "o"),
    (forecast_of(MODEL), REFITTED): ("forecast, refitted probe", PREDICTION, "D"),
    (copy_of(MODEL), TRANSFERRED): ("copy last, transferred probe", COPY_COLOUR, "o"),
    (copy_of(MODEL), REFITTED): ("copy last, refitted probe", COPY_COLOUR, "D"),
    (CONSTANT_VELOCITY, FROM_TRUTH): ("constant velocity (ground truth)", DARK, "x"),
}
TRACKED: Mapping[str, Mark] = {
    forecast_of(MODEL): ("forecast", PREDICTION, "o"),
    LAST_SEEN: ("last seen position (ground truth)", COPY_COLOUR, "s"),
    CONSTANT_VELOCITY: ("constant velocity (ground truth)", DARK, "x"),
    OTHER_CLIPS: ("mean position in other videos (ground truth)", MUTED, "^"),
    OCCLUDER: ("centre of the occluders (ground truth)", BAD, "D"),
    target_of(MODEL): ("target latents", GOOD, "v"),
}
MAX_ERROR_WIDTHS = 3.0  # larger errors are cut off
MIN_R2 = -0.5  # a smaller R2 is drawn here


def draw(out: Path, found: ProbeResults) -> None:
    """Write properties.png and, where a body was occluded, tracking.png; of labelled clips
    classes.png; layers.png where layers were probed."""
    data = found["data"]
    of = f"{data['videos']} {data['split']} videos" if found["kind"] == "physics" else f"{data['clips']['test']} test clips"
    caption = f"{of} of {data['manifest']}; bars: 95 % over videos. {provenance_caption(found['made'])}"
    if "layers" in found:
        save_figure(layers_figure(found["layers"], f"{caption}. {REDUCTION.capitalize()}."), out / "layers.png")
    if found["kind"] != "physics":
        save_figure(class_figure(found, caption), out / "classes.png")
        return
    save_figure(property_figure(found, caption), out / "properties.png")
    if found["tracking"]:
        save_figure(tracking_figure(found["tracking"], data["direct_up_to_s"], caption), out / "tracking.png")


def property_figure(found: ProbeResults, caption: str) -> Figure:
    """R2 or balanced accuracy of every property: encoded, and predicted at the middle horizon."""
    times = list(dict.fromkeys(time for kinds in found["predicted"].values() for time in kinds.get("linear", {})))
    middle = times[len(times) // 2] if times else None
    names = list(found["encoded"])
    figure = Figure(figsize=(8.6, 0.46 * len(names) + 1.8), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    encoded = {mark: [found["encoded"][name]["linear"].get(source) for name in names] for source, mark in ENCODED.items()}
    if any("attentive" in found["encoded"][name] for name in names):
        encoded[ATTENTIVE] = [found["encoded"][name].get("attentive", {}).get(MODEL) for name in names]
    _draw_rows(left, names, encoded)
    left.set_title("encoded: at the same time step", fontsize=9, loc="left")
    if middle is not None:
        at_middle = {name: found["predicted"].get(name, {}).get("linear", {}).get(middle, {}) for name in names}
        scores = {
            mark: [at_middle[name].get(source, {}).get(read_by) for name in names]
            for (source, read_by), mark in PREDICTED.items()
        }
        _draw_rows(right, names, scores)
        right.set_title(f"predicted: {middle} s after the context", fontsize=9, loc="left")
    for axes in (left, right):
        axes.set_xlabel("R², or balanced accuracy (grey: chance)", fontsize=9)
        axes.set_xlim(MIN_R2, 1.02)
    chance = [next(iter(found["encoded"][name]["linear"].values()))["chance"] for name in names]
    for axes in (left, right):
        axes.plot(chance, range(len(names)), "|", color=hex_colour(MUTED), markersize=14, zorder=1)
    add_caption(figure, caption)
    return figure


def class_figure(found: ProbeResults, caption: str) -> Figure:
    """Accuracy on test clips, one row per probe."""
    names = list(found["classes"])
    figure = Figure(figsize=(5.4, 0.46 * len(names) + 2.2), layout="constrained")
    axes = figure.subplots()
    scores = {mark: [found["classes"][name].get(source) for name in names] for source, mark in ENCODED.items()}
    _draw_rows(axes, names, scores, -0.32)
    axes.axvline(found["classes"][names[0]][MODEL]["chance"], color=hex_colour(MUTED), linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set_title(f"{len(found['data']['classes'])} classes", fontsize=9, loc="left")
    axes.set_xlabel("accuracy (dashes: the most frequent train class)", fontsize=9)
    axes.set_xlim(0, 1.02)
    add_caption(figure, caption)
    return figure


def _draw_rows(
    axes: Axes, names: Sequence[str], scores: Mapping[Mark, Sequence[ScoreJson | None]], legend_at: float = -0.11
) -> None:
    for index, ((label, colour, marker), some) in enumerate(scores.items()):
        offset = 0.13 * (index - (len(scores) - 1) / 2)
        drawn = [(row + offset, it) for row, it in enumerate(some) if it is not None and it["value"] is not None]
        y = [row for row, _ in drawn]
        x, low, high = (np.maximum(ends, MIN_R2) for ends in interval_arrays(it for _, it in drawn))
        axes.hlines(y, low, high, color=hex_colour(colour), linewidth=1.2, alpha=0.6)
        axes.plot(x, y, marker, color=hex_colour(colour), markersize=4.5, label=label)
    style_axes(axes)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color=hex_colour(FAINT), linewidth=0.6)
    axes.axvline(0, color=hex_colour(MUTED), linewidth=0.8)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.legend(frameon=False, fontsize=7, loc="upper center", bbox_to_anchor=(0.5, legend_at), ncols=2)


def tracking_figure(found: Tracking, reach_s: float, caption: str) -> Figure:
    """Error in widths against seconds hidden, for bodies that moved when last seen and for bodies
    at rest.

    reach_s: forecasts are direct up to there, and rollouts beyond.
    """
    groups = [name for name in GROUPS[:2] if any(found.get(name, {}).values())] or [GROUPS[2]]
    forecast = forecast_of(MODEL)
    figure = Figure(figsize=(4.3 * len(groups) + 0.4, 3.6), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(groups), sharey=True, squeeze=False)[0], groups, strict=True):
        for source, (label, colour, marker) in TRACKED.items():
            curve = found[name].get(source, {})
            x = [float(time) for time in curve]
            value, low, high = interval_arrays(curve.values())
            axes.fill_between(x, low, high, color=hex_colour(colour), alpha=0.12, linewidth=0)
            axes.plot(x, value, marker=marker, color=hex_colour(colour), linewidth=1.6, markersize=4, label=label)
        style_axes(axes)
        count = max((it["n"] for it in found[name].get(forecast, {}).values()), default=0)
        axes.set_title(f"{name}: {count} videos, fewer later", fontsize=9, loc="left")
        axes.set_xlabel("time hidden (s)")
        axes.set_ylim(0, MAX_ERROR_WIDTHS)
        if reach_s < max((float(time) for time in found[name].get(forecast, {})), default=0):
            axes.axvline(reach_s, color=hex_colour(MUTED), linewidth=0.8, linestyle=(0, (4, 3)))
            axes.text(reach_s, MAX_ERROR_WIDTHS, " rollout", fontsize=7, color=hex_colour(MUTED), va="top")
    figure.axes[0].set_ylabel("position error (widths of the body)")
    figure.axes[0].legend(frameon=False, fontsize=7)
    add_caption(figure, caption)
    return figure
