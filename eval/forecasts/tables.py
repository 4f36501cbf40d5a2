"""forecast.json -> forecast.csv with one row per number, and forecast.md.

Made from the JSON alone.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from eval.forecasts.results import ForecastResults
from eval.forecasts.skill import Curve
from eval.probes.output.tables import cell
from eval.provenance import provenance_caption
from eval.voe.scores.tables import table
from worldmodel.files.atomic import atomic_path, write_text

ADDRESS = ("part", "source", "against", "horizon_s")
NUMBERS = ("value", "low", "high", "n")
MAX_COLUMNS = 6  # horizons in a readable table


def write_tables(out: Path, found: ForecastResults) -> None:
    """Write forecast.csv and forecast.md into the folder `out`."""
    with atomic_path(out / "forecast.csv") as part, open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, (*ADDRESS, *NUMBERS), extrasaction="ignore", restval="")
        writer.writeheader()
        writer.writerows(csv_rows(found))
    write_text(out / "forecast.md", markdown(found))


def csv_rows(found: ForecastResults) -> Iterator[dict[str, Any]]:
    """Every number with its address."""
    for part, source, against, curve in curves(found):
        for horizon_s, score in zip(found["horizons_s"], curve, strict=True):
            if score is not None:
                yield {**dict(zip(ADDRESS, (part, source, against, f"{horizon_s:.4g}"), strict=True)), **score}


def curves(found: ForecastResults) -> Iterator[tuple[str, str, str, Curve]]:
    """(part, source, baseline, curve) of all curves; baseline is empty for errors."""
    for part, by_source in (("error", found["error"]), ("position_px", found.get("position_px", {}))):
        for source, curve in by_source.items():
            yield part, source, "", curve
    for part, skills in (("skill", found["skill"]), ("position_skill", found.get("position_skill", {}))):
        for source, by_baseline in skills.items():
            for against, curve in by_baseline.items():
                yield part, source, against, curve


TITLES = {
    "error": "**Error of latents**, in the model's own distance [95 % over videos]",
    "position_px": (
        "**Error of the position**, px, as one probe reads it from each source; last seen position and constant velocity come "
        "from the ground truth"
    ),
    "skill": "**Forecast skill of latents**: 1 - error / error of a baseline; 0 is no better than the baseline",
    "position_skill": "**Forecast skill of the position**: 1 - error in px / error in px of a baseline",
}


def markdown(found: ForecastResults) -> str:
    data, times = found["data"], found["horizons_s"]
    parts = [
        f"# Forecast errors by horizon of {provenance_caption(found['made'])}",
        "",
        f"{data['videos']} {data['split']} videos of {data['manifest']}, context {data['context_s']:.3g} s; scope of target "
        f"latents: {found['target_scope']}.",
        "",
    ]
    shown = sorted({int(k) for k in np.linspace(0, len(times) - 1, MAX_COLUMNS).round()})
    for part, title in TITLES.items():
        of_part = [(source, against, curve) for name, source, against, curve in curves(found) if name == part]
        if of_part:
            heads = [f"{times[k]:.3g} s" for k in shown]
            count = [str(max(0 if (score := curve[k]) is None else score["n"] for _, _, curve in of_part)) for k in shown]
            lines = [["n videos", *count]]
            for source, against, curve in of_part:
                lines.append([f"{source} against {against}" if against else source, *(cell(curve[k]) for k in shown)])
            parts.append(table(title, ["", *heads], lines))
    return "\n".join([*parts, *(f"- {note}" for note in found["notes"])]) + "\n"
