"""The suite that the physics world makes: `python -m data_prep synthesize DIR --suite mini`."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from eval.voe.pairs import FILMS, SAME_CONTEXT, SAME_OUTCOME
from eval.voe.suites.layout import refuse
from eval.voe.suites.suite import Suite
from eval.voe.trials import Film, Pair, Trial, TrialError
from worldmodel.manifest import Manifest, ManifestError

SOURCE = "`python -m data_prep synthesize DIR --suite mini`"
PAIRS = tuple(Pair("same context", *places) for places in SAME_CONTEXT) + tuple(
    Pair("same outcome", *places) for places in SAME_OUTCOME
)
MAGNITUDES = {
    "continuity": "jump, in widths",
    "colour": "change of hue, of a circle of 1",
    "size": "ratio of widths",
    "solidity": "height of the wall, in widths",
    "gravity": "slope, degrees",
    "support": "gap or pillar, in widths",
    "collision": "speed of the blow, of 2 m/s",
}
"""Of the others it is no one quantity: some templates of inertia bend the way by degrees, others change the speed."""
COLUMNS = [
    *("quad_id", "clip_id", "context_id", "outcome_id", "possible", "property", "visibility", "spliced", "level", "copy_class"),
    *("magnitude", "split", "fps", "splice", "occlusion_start", "occlusion_stop", "violation", "reveal"),
]


class Clip(NamedTuple):
    """What the manifest says of a film."""

    path: str
    frames: int
    label: str | None


def open_folder(folder: Path) -> Suite:
    """Raises TrialError where tables are missing, contradict each other, or quadruplets are incomplete."""
    if not (folder / "quads.parquet").exists():
        raise TrialError(f"{folder} has no quads.parquet: it is no suite of the physics world; make one with {SOURCE}")
    try:
        manifest = Manifest.open(folder / "suite.parquet")
        rows = pq.read_table(folder / "quads.parquet", columns=COLUMNS, use_threads=False).to_pylist()
    except (ManifestError, pa.ArrowException, OSError) as error:
        raise TrialError(f"{folder}: {error}; make it again with {SOURCE}") from None
    columns = (manifest.column(name) for name in ("clip_id", "path", "frames", "label"))
    clips = {
        clip: Clip(manifest.absolute(path), int(frames), label) for clip, path, frames, label in zip(*columns, strict=True)
    }
    quads: dict[str, dict[tuple[str, str], dict[str, Any]]] = defaultdict(dict)
    problems: list[str] = []
    for row in rows:
        place = row["context_id"], row["outcome_id"]
        if place in quads[row["quad_id"]]:
            problems.append(f"{row['quad_id']} has two films {'-'.join(place)}")
        quads[row["quad_id"]][place] = row
    for name, films in quads.items():
        problems += _wrong(name, films, clips)
    known = {row["clip_id"] for row in rows}
    problems += [
        f"film {clip} of suite.parquet belongs to no quadruplet of quads.parquet" for clip in clips if clip not in known
    ]
    refuse(folder, problems, SOURCE)
    lawful = folder / "lawful.parquet"
    trials = tuple(_trial(name, films, clips) for name, films in quads.items())
    return Suite("builtin", folder, trials, SOURCE, lawful=str(lawful) if lawful.exists() else None, magnitudes=MAGNITUDES)


def _wrong(name: str, films: dict[tuple[str, str], dict[str, Any]], clips: dict[str, Clip]) -> list[str]:
    """Films that are missing, and labels that are missing or contradict the film's context and outcome."""
    problems = []
    for place, possible in zip(FILMS, (True, True, False, False), strict=True):
        row, said = films.get(place), f"{name}, film {'-'.join(place)}"
        if row is None:
            problems.append(f"{said} is missing in quads.parquet")
        elif row["clip_id"] not in clips:
            problems.append(f"{said} ({row['clip_id']}) is missing in suite.parquet")
        else:
            label = "possible" if possible else "impossible"
            if row["possible"] is not possible or clips[row["clip_id"]].label != label:
                found = f"{row['possible']} in quads.parquet, {clips[row['clip_id']].label} in suite.parquet"
                problems.append(f"{said} must be {label}; it is {found}")
    problems += [
        f"{name} has a film {'-'.join(map(str, place))}, which is none of a quadruplet" for place in films if place not in FILMS
    ]
    return problems


def _trial(name: str, rows: dict[tuple[str, str], dict[str, Any]], clips: dict[str, Clip]) -> Trial:
    first = rows[FILMS[0]]
    films = tuple(
        Film(row["clip_id"], clips[row["clip_id"]].path, row["fps"], clips[row["clip_id"]].frames, row["possible"], *place)
        for place in FILMS
        for row in (rows[place],)
    )
    hidden = (first["occlusion_start"], first["occlusion_stop"])
    occluded = hidden[0] is not None and first["visibility"] == "occluded"
    return Trial(
        group_id=name,
        films=films,
        pairs=PAIRS,
        property=first["property"],
        split=first["split"],
        visibility=first["visibility"],
        level=str(first["level"]),
        copy_class=first["copy_class"] or "",
        magnitude=first["magnitude"],
        spliced=first["spliced"],
        # the last two frames seen are both hidden, so that copies and straight lines know nothing
        locked=(hidden[0] + 2, hidden[1] + 1) if occluded else None,
        splice=first["splice"],
        occlusion=hidden if occluded else None,
        violation=first["violation"],
        reveal=first["reveal"],
    )
