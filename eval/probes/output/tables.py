"""probe.json -> probe.csv, a row a number, and probe.md, tables for people. Written from the JSON alone."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from eval.probes.contrast import CONTEXTS, OUTCOMES, PREDICTED, REMEMBERED
from eval.probes.evaluation import CONSTANT_VELOCITY
from eval.probes.gathering import MODEL, PIXELS
from eval.probes.layers import NARROWED
from eval.probes.triage import BLAME, SCORED
from eval.provenance import named
from eval.voe.scores.tables import table
from worldmodel.files.atomic import replacing, write_text

Score = Mapping[str, Any]
ADDRESS = ("part", "of", "probe", "source", "how", "time_s", "layer")
NUMBERS = ("metric", "value", "low", "high", "n", "rows", "chance", "error", "error_low", "error_high", "unit")
NONE = "–"
EVERY_S = 0.25  # between columns of a table over time
SHOWN = {
    "forecast, read": ("model: forecast", "read"),
    "forecast, fitted": ("model: forecast", "fitted"),
    "what came, read": ("model: what came", "read"),
    "copy, read": ("model: copy", "read"),
    "copy, fitted": ("model: copy", "fitted"),
    "untrained forecast, fitted": ("untrained: forecast", "fitted"),
    "pixels of the context, fitted": ("pixels: copy", "fitted"),
    CONSTANT_VELOCITY: (CONSTANT_VELOCITY, "truth"),
}
"""Columns of the table of forecasts; probe.csv has all."""


def write_tables(out: Path, found: Mapping[str, Any]) -> None:
    with replacing(out / "probe.csv") as part, open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, (*ADDRESS, *NUMBERS), extrasaction="ignore", restval="")
        writer.writeheader()
        writer.writerows(rows(found))
    write_text(out / "probe.md", markdown(found))


def rows(found: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every number there is, with its address."""
    for name, kinds in found.get("encoded", {}).items():
        for kind, sources in kinds.items():
            for source, score in sources.items():
                yield {"part": "encoded", "of": name, "probe": kind, "source": source, **score}
    for name, kinds in found.get("predicted", {}).items():
        for kind, times in kinds.items():
            for time, sources in times.items():
                for source, hows in sources.items():
                    for how, score in hows.items():
                        address = ("predicted", name, kind, source, how, time)
                        yield {**dict(zip(ADDRESS, address, strict=False)), **score}
    for group, sources in (found.get("tracking") or {}).items():
        for source, curve in sources.items():
            for time, score in curve.items():
                yield {"part": "tracking", "of": group, "source": source, "time_s": time, "metric": "error, widths", **score}
    for name, it in found.get("triage", {}).get("properties", {}).items():
        for stage, score in it["stages"].items():
            yield {"part": "triage", "of": name, "source": stage, "metric": "share right", **score}
        for why, count in it["blame"].items():
            yield {
                "part": "triage",
                "of": name,
                "source": why,
                "metric": "failed quadruplets",
                "value": count,
                "n": it["failed"],
            }
    for kind, sources in found.get("classes", {}).items():
        for source, score in sources.items():
            yield {"part": "classes", "of": "label", "probe": kind, "source": source, **score}
    for name, by_layer in found.get("layers", {}).get("scores", {}).items():
        for layer, by_net in by_layer.items():
            for net, score in by_net.items():
                yield {"part": "layers", "of": name, "probe": "linear", "source": net, "layer": layer, **score}


def markdown(found: Mapping[str, Any]) -> str:
    parts = [f"# Probes of {named(found['made'])}", "", _of(found["data"]), ""]
    if found["kind"] == "labels":
        parts.append(_classes(found))
    else:
        for kind in dict.fromkeys(kind for kinds in found["encoded"].values() for kind in kinds):
            parts += [_encoded(found, kind), *_predicted(found, kind)]
        if found["tracking"]:
            parts += [_tracking(group, sources) for group, sources in found["tracking"].items() if any(sources.values())]
        if "triage" in found:
            parts.append(_triage(found["triage"]))
        parts.append("Of: " + "; ".join(f"{name}: {it['meaning']}" for name, it in found["properties"].items()) + ".\n")
    if "layers" in found:
        parts += _layers(found["layers"])
    return "\n".join([*parts, *(f"- {note}" for note in found["notes"])]) + "\n"


def cell(score: Score | None, unit: str = "") -> str:
    """ ".93 [.91, .95]", and the error in its unit."""
    if score is None or score["value"] is None:
        return NONE
    text = f"{score['value']:.2f} [{score['low']:.2f}, {score['high']:.2f}]"
    return text + (f"; {score['error']:.2g} {unit}" if unit and score.get("error") is not None else "")


def _of(data: Mapping[str, Any]) -> str:
    if "clips" in data:
        counts = ", ".join(f"{count} {split}" for split, count in data["clips"].items())
        return f"Clips of {data['manifest']}: {counts}; {len(data['classes'])} classes."
    return (
        f"{data['films']} {data['split']} films of {data['manifest']}, {data['with_one_body']} of them with one body; "
        f"{data['folds']} folds, each read by probes fitted on the others. [95 % intervals over films]"
    )


def _encoded(found: Mapping[str, Any], kind: str) -> str:
    lines = []
    for name, kinds in found["encoded"].items():
        if kind in kinds:
            scores, unit = kinds[kind], found["properties"][name]["unit"]
            first = next(iter(scores.values()))
            chance = f"{first['chance']:.2f}"
            lines.append([name, first["metric"], str(first["n"]), chance, *(cell(score, unit) for score in scores.values())])
    sources = next(iter(kinds[kind] for kinds in found["encoded"].values() if kind in kinds))
    title = f"**Encoded?** {kind} probes of latents of what came; n films; with the root mean squared error in its unit"
    return table(title, ["property", "metric", "n", "chance", *sources], lines)


def _predicted(found: Mapping[str, Any], kind: str) -> Iterator[str]:
    there = [times for kinds in found["predicted"].values() for it, times in kinds.items() if it == kind]
    for time in dict.fromkeys(time for times in there for time in times):
        lines = []
        for name, kinds in found["predicted"].items():
            if time in kinds.get(kind, {}):
                scores = [kinds[kind][time].get(source, {}).get(how) for source, how in SHOWN.values()]
                n = next(score["n"] for score in scores if score is not None)
                lines.append([name, str(n), *(cell(score, found["properties"][name]["unit"]) for score in scores)])
        title = (
            f"**Predicted {time} s ahead?** {kind} probes; read: fitted on latents of what came; fitted: on the source itself; "
            "what came: the most that the first could read at these moments; copy: the context's last latents"
        )
        yield table(title, ["property", "n", *SHOWN], lines)


def _tracking(group: str, sources: Mapping[str, Any]) -> str:
    times = list(dict.fromkeys(time for curve in sources.values() for time in curve))
    quarters = np.arange(0, max(map(float, times)) + EVERY_S, EVERY_S)
    times = list(dict.fromkeys(min(times, key=lambda time: abs(float(time) - quarter)) for quarter in quarters.tolist()))
    count = [str(max((curve[time]["n"] for curve in sources.values() if time in curve), default=0)) for time in times]
    lines = [[source, *(cell(curve.get(time)) for time in times)] for source, curve in sources.items()]
    title = f"**Where is what cannot be seen?** Bodies {group}; error in widths of the body, by seconds hidden"
    return table(title, ["source", *(f"{time} s" for time in times)], [["n films", *count], *lines])


def _triage(found: Mapping[str, Any]) -> str:
    own = {
        SCORED: SCORED,
        CONTEXTS: f"{CONTEXTS}, {MODEL}",
        OUTCOMES: f"{OUTCOMES}, {MODEL}",
        REMEMBERED: f"{REMEMBERED}, {MODEL}: forecast",
        PREDICTED: f"{PREDICTED}, {MODEL}: forecast",
    }
    everything = next(iter(found["properties"].values()))["stages"]
    others = {stage: stage for stage in sorted(everything) if stage not in own.values()}
    lines = [
        [name, str(it["n"]), *(cell(it["stages"][stage]) for stage in own.values()), str(it["failed"])]
        + [str(count) for count in it["blame"].values()]
        for name, it in found["properties"].items()
    ]
    beside = [
        [name, str(it["n"]), *(cell(it["stages"][stage]) for stage in others.values())]
        for name, it in found["properties"].items()
    ]
    title = (
        f"**Why quadruplets fail** ({found['of']}, {found['scorer']}, locked windows). Share right, chance .50; then how many "
        "failed, and the first stage that went wrong"
    )
    told = table(title, ["property", "n", *own, "failed", *BLAME], lines)
    return told + "\n" + table("The same stages of what knows nothing", ["property", "n", *others], beside)


def _layers(layers: Mapping[str, Any]) -> Iterator[str]:
    """A table a network: quantity x layer, raw pixels beside."""
    networks = dict.fromkeys(net for it in layers["scores"].values() for by_net in it.values() for net in by_net)
    for net in networks:
        if net == PIXELS:
            continue
        lines = []
        for name, it in layers["scores"].items():
            first = it[PIXELS][PIXELS]
            some = [it[layer].get(net) for layer in layers["names"]]
            lines.append([name, first["metric"], str(first["n"]), f"{first['chance']:.2f}", *map(cell, [*some, first])])
        of = "the model" if net == MODEL else f"the {net} network"
        title = f"**Encoded where?** Linear probes of the layers of {of}; {NARROWED}"
        yield table(title, ["quantity", "metric", "n", "chance", *layers["names"], "raw pixels"], lines)


def _classes(found: Mapping[str, Any]) -> str:
    sources = list(next(iter(found["classes"].values())))
    lines = [
        [
            kind,
            str(next(iter(scores.values()))["n"]),
            f"{next(iter(scores.values()))['chance']:.2f}",
            *map(cell, scores.values()),
        ]
        for kind, scores in found["classes"].items()
    ]
    title = "**Classes** accuracy on test, learning rate and length chosen on val; chance: the most frequent train class"
    return table(title, ["probe", "n", "chance", *sources], lines)
