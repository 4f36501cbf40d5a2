"""probe.json -> probe.csv with one row per number, and probe.md with readable tables.

Made from the JSON alone.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from eval.probes.constant_velocity import CONSTANT_VELOCITY
from eval.probes.dataset import MODEL, PIXELS, UNTRAINED
from eval.probes.evaluation import FROM_TRUTH, REFITTED, TRANSFERRED, copy_of, forecast_of, target_of
from eval.probes.layers import REDUCTION
from eval.probes.quadruplets.contrast import CONTEXTS, OUTCOMES, PREDICTED, REMEMBERED
from eval.probes.quadruplets.failures import FAILED_STAGES, SCORED
from eval.probes.results import FailureResults, LayerResults, ProbedData, ProbeResults, ScoreJson
from eval.provenance import provenance_caption
from eval.voe.scores.tables import table
from worldmodel.files.atomic import atomic_path, write_text

ADDRESS = ("part", "of", "probe", "source", "read_by", "time_s", "layer")
NUMBERS = ("metric", "value", "low", "high", "n", "rows", "chance", "error", "error_low", "error_high", "unit")
NONE = "–"
TIME_COLUMNS_EVERY_S = 0.25
PREDICTED_COLUMNS = {
    "forecast, transferred": (forecast_of(MODEL), TRANSFERRED),
    "forecast, refitted": (forecast_of(MODEL), REFITTED),
    "target, transferred": (target_of(MODEL), TRANSFERRED),
    "copy last, transferred": (copy_of(MODEL), TRANSFERRED),
    "copy last, refitted": (copy_of(MODEL), REFITTED),
    "untrained forecast, refitted": (forecast_of(UNTRAINED), REFITTED),
    "pixels of the context, refitted": (copy_of(PIXELS), REFITTED),
    CONSTANT_VELOCITY: (CONSTANT_VELOCITY, FROM_TRUTH),
}
"""Columns of the table of forecasts; probe.csv has all sources."""


def write_tables(out: Path, found: ProbeResults) -> None:
    """Write probe.csv and probe.md into the folder `out`."""
    with atomic_path(out / "probe.csv") as part, open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, (*ADDRESS, *NUMBERS), extrasaction="ignore", restval="")
        writer.writeheader()
        writer.writerows(csv_rows(found))
    write_text(out / "probe.md", markdown(found))


def csv_rows(found: ProbeResults) -> Iterator[dict[str, Any]]:
    """Every number with its address."""
    for name, kinds in found.get("encoded", {}).items():
        for kind, sources in kinds.items():
            for source, score in sources.items():
                yield {"part": "encoded", "of": name, "probe": kind, "source": source, **score}
    for name, by_kind in found.get("predicted", {}).items():
        for kind, times in by_kind.items():
            for time, by_source in times.items():
                for source, by_probe in by_source.items():
                    for read_by, score in by_probe.items():
                        address = ("predicted", name, kind, source, read_by, time)
                        yield {**dict(zip(ADDRESS, address, strict=False)), **score}
    for group, curves in (found.get("tracking") or {}).items():
        for source, curve in curves.items():
            for time, score in curve.items():
                yield {"part": "tracking", "of": group, "source": source, "time_s": time, "metric": "error, widths", **score}
    yield from _failure_rows(found)
    for kind, accuracies in found.get("classes", {}).items():
        for net, accuracy in accuracies.items():
            yield {"part": "classes", "of": "label", "probe": kind, "source": net, **accuracy}
    if "layers" in found:
        for name, by_layer in found["layers"]["scores"].items():
            for layer, by_net in by_layer.items():
                for net, score in by_net.items():
                    yield {"part": "layers", "of": name, "probe": "linear", "source": net, "layer": layer, **score}


def _failure_rows(found: ProbeResults) -> Iterator[dict[str, Any]]:
    if "failures" not in found:
        return
    for name, it in found["failures"]["properties"].items():
        for stage, score in it["stages"].items():
            yield {"part": "failures", "of": name, "source": stage, "metric": "fraction right", **score}
        for stage, count in it["first_failed_stage"].items():
            address = {"part": "failures", "of": name, "source": stage, "metric": "failed quadruplets"}
            yield {**address, "value": count, "n": it["failed"]}


def markdown(found: ProbeResults) -> str:
    parts = [f"# Probes of {provenance_caption(found['made'])}", "", _data_line(found["data"]), ""]
    if found["kind"] == "labels":
        parts.append(_class_table(found))
    else:
        for kind in dict.fromkeys(kind for kinds in found["encoded"].values() for kind in kinds):
            parts += [_encoded_table(found, kind), *_predicted_tables(found, kind)]
        for group, sources in (found["tracking"] or {}).items():
            if any(sources.values()):
                parts.append(_tracking_table(group, sources))
        if "failures" in found:
            parts.append(_failure_tables(found["failures"]))
        parts.append("Properties: " + "; ".join(f"{name}: {it['description']}" for name, it in found["properties"].items()))
        parts[-1] += ".\n"
    if "layers" in found:
        parts += _layer_tables(found["layers"])
    return "\n".join([*parts, *(f"- {note}" for note in found["notes"])]) + "\n"


def cell(score: Mapping[str, Any] | None, unit: str = "") -> str:
    """A table cell such as "0.93 [0.91, 0.95]", with the error in its unit where there is one."""
    if score is None or score["value"] is None:
        return NONE
    text = f"{score['value']:.2f} [{score['low']:.2f}, {score['high']:.2f}]"
    return text + (f"; {score['error']:.2g} {unit}" if unit and score.get("error") is not None else "")


def _data_line(data: ProbedData) -> str:
    if "clips" in data:
        counts = ", ".join(f"{count} {split}" for split, count in data["clips"].items())
        return f"Clips of {data['manifest']}: {counts}; {len(data['classes'])} classes."
    return (
        f"{data['videos']} {data['split']} videos of {data['manifest']}, {data['with_one_body']} of them with one body; "
        f"{data['folds']} folds, each scored by probes fitted on the others. [95 % intervals over videos]"
    )


def _encoded_table(found: ProbeResults, kind: str) -> str:
    lines = []
    for name, kinds in found["encoded"].items():
        if kind in kinds:
            scores, unit = kinds[kind], found["properties"][name]["unit"]
            first = next(iter(scores.values()))
            chance = f"{first['chance']:.2f}"
            lines.append([name, first["metric"], str(first["n"]), chance, *(cell(score, unit) for score in scores.values())])
    sources = next(iter(kinds[kind] for kinds in found["encoded"].values() if kind in kinds))
    title = f"**Encoded**: {kind} probes of target latents; n videos; with the root mean squared error in its unit"
    return table(title, ["property", "metric", "n", "chance", *sources], lines)


def _predicted_tables(found: ProbeResults, kind: str) -> Iterator[str]:
    """One table per horizon."""
    by_property = {name: kinds[kind] for name, kinds in found["predicted"].items() if kind in kinds}
    for time in dict.fromkeys(time for times in by_property.values() for time in times):
        lines = []
        for name, times in by_property.items():
            if time in times:
                scores = [times[time].get(source, {}).get(read_by) for source, read_by in PREDICTED_COLUMNS.values()]
                n = next(score["n"] for score in scores if score is not None)
                lines.append([name, str(n), *(cell(score, found["properties"][name]["unit"]) for score in scores)])
        title = (
            f"**Predicted {time} s ahead**: {kind} probes; transferred: fitted on target latents; refitted: fitted on the "
            "source itself; target: the limit of what the transferred probe can read at these steps; copy last: the last "
            "latents of the context"
        )
        yield table(title, ["property", "n", *PREDICTED_COLUMNS], lines)


def _tracking_table(group: str, sources: Mapping[str, Mapping[str, ScoreJson]]) -> str:
    times = list(dict.fromkeys(time for curve in sources.values() for time in curve))
    columns = np.arange(0, max(map(float, times)) + TIME_COLUMNS_EVERY_S, TIME_COLUMNS_EVERY_S)
    times = list(dict.fromkeys(min(times, key=lambda time: abs(float(time) - column)) for column in columns.tolist()))
    count = [str(max((curve[time]["n"] for curve in sources.values() if time in curve), default=0)) for time in times]
    lines = [[source, *(cell(curve.get(time)) for time in times)] for source, curve in sources.items()]
    title = f"**Tracking of occluded bodies**, {group}: position error in widths of the body, by seconds hidden"
    return table(title, ["source", *(f"{time} s" for time in times)], [["n videos", *count], *lines])


def _failure_tables(found: FailureResults) -> str:
    """The stages of the model with the failed quadruplets, and the same stages of the baselines."""
    own = {
        SCORED: SCORED,
        CONTEXTS: f"{CONTEXTS}, {MODEL}",
        OUTCOMES: f"{OUTCOMES}, {MODEL}",
        REMEMBERED: f"{REMEMBERED}, {forecast_of(MODEL)}",
        PREDICTED: f"{PREDICTED}, {forecast_of(MODEL)}",
    }
    stages = next(iter(found["properties"].values()))["stages"]
    others = [stage for stage in sorted(stages) if stage not in own.values()]
    lines = [
        [name, str(it["n"]), *(cell(it["stages"][stage]) for stage in own.values()), str(it["failed"])]
        + [str(count) for count in it["first_failed_stage"].values()]
        for name, it in found["properties"].items()
    ]
    baselines = [
        [name, str(it["n"]), *(cell(it["stages"][stage]) for stage in others)] for name, it in found["properties"].items()
    ]
    title = (
        f"**Why quadruplets fail** ({found['of']}, {found['scorer']}, locked windows). Fraction right with chance level 0.50; "
        "then the number of failed quadruplets, by the first stage that failed"
    )
    own_table = table(title, ["property", "n", *own, "failed", *FAILED_STAGES], lines)
    return own_table + "\n" + table("The same stages of the baselines", ["property", "n", *others], baselines)


def _layer_tables(layers: LayerResults) -> Iterator[str]:
    """One table per network: property x layer, with raw pixels as the last column."""
    networks = dict.fromkeys(net for it in layers["scores"].values() for by_net in it.values() for net in by_net)
    for net in networks:
        if net == PIXELS:
            continue
        lines = []
        for name, it in layers["scores"].items():
            pixels = it[PIXELS][PIXELS]
            scores = [it[layer].get(net) for layer in layers["names"]]
            numbers = map(cell, [*scores, pixels])
            lines.append([name, pixels["metric"], str(pixels["n"]), f"{pixels['chance']:.2f}", *numbers])
        of = "the model" if net == MODEL else f"the {net} network"
        title = f"**Encoded by layer**: linear probes of the layers of {of}; {REDUCTION}"
        yield table(title, ["property", "metric", "n", "chance", *layers["names"], "raw pixels"], lines)


def _class_table(found: ProbeResults) -> str:
    sources = list(next(iter(found["classes"].values())))
    lines = []
    for kind, scores in found["classes"].items():
        first = next(iter(scores.values()))
        lines.append([kind, str(first["n"]), f"{first['chance']:.2f}", *map(cell, scores.values())])
    chosen = "learning rate and number of steps are chosen on val"
    title = f"**Classes**: accuracy on test; {chosen}; chance: the most frequent class of train"
    return table(title, ["probe", "n", "chance", *sources], lines)
