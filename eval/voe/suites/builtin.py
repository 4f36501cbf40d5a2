"""Suites of the synthetic physics worlds: `python -m data_prep synthesize DIR --suite mini --world builtin`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from eval.voe.pairs import QUADRUPLET, SAME_CONTEXT, SAME_OUTCOME
from eval.voe.suites.checked_files import raise_problems
from eval.voe.suites.suite import Suite
from eval.voe.trials import Pair, Trial, TrialError, Video
from worldmodel.files.json_files import parse_json
from worldmodel.manifest import Manifest, ManifestError

SOURCE = "`python -m data_prep synthesize DIR --suite mini`"
CALIBRATION = ("calibration.parquet", "lawful.parquet")  # the second in suites of an earlier version
PAIRS = (
    *(Pair("same context", *indices) for indices in SAME_CONTEXT),
    *(Pair("same outcome", *indices) for indices in SAME_OUTCOME),
)
_SHARED_MAGNITUDES = {
    "continuity": "jump, in widths",
    "colour": "change of hue, of a circle of 1",
    "size": "ratio of widths",
}
MAGNITUDES: dict[str, dict[str, str]] = {
    "builtin": {
        **_SHARED_MAGNITUDES,
        "solidity": "height of the wall, in widths",
        "gravity": "slope, degrees",
        "support": "gap or pillar, in widths",
        "collision": "speed of the blow, of 2 m/s",
    },
    "flat": {
        **_SHARED_MAGNITUDES,
        "solidity": "height of the wall, in heights of the body",
        "collision": "speed of the blow, of 2 m/s",
    },
    "lookaway": {**_SHARED_MAGNITUDES, "inertia": "ratio of speeds"},
    "memory": {"number": "number of bodies", "identity": "number of bodies"},
    "spliced": {"other_stretch": "distance in time, s", "part_mirrored": "mirrored share of the picture"},
}
"""By world. The other properties have no single quantity: inertia of the built-in world, for example, has
templates that bend the path and templates that change the speed.
"""
LOCKED_S = {"memory": 1.0}
"""By world: contexts of locked windows end at most this long before the end of the occlusion.

Otherwise the forecasts of many windows in a long occlusion would end before anything is seen again.
"""
COLUMNS = [
    *("quad_id", "clip_id", "context_id", "outcome_id", "possible", "property", "visibility", "spliced", "level", "copy_class"),
    *("magnitude", "split", "fps", "splice", "occlusion_start", "occlusion_stop", "violation", "reveal"),
]


class ManifestRow(NamedTuple):
    """A row of the manifest."""

    path: str
    frames: int
    label: str | None


def open_folder(folder: Path) -> Suite:
    """Raises TrialError where tables are missing or inconsistent, or quadruplets incomplete."""
    if not (folder / "quads.parquet").exists():
        raise TrialError(f"{folder} has no quads.parquet: it is not a suite of the physics world; make one with {SOURCE}")
    try:
        manifest = Manifest.open(folder / "suite.parquet")
        table = pq.read_table(folder / "quads.parquet", columns=COLUMNS, use_threads=False)
        rows, world = table.to_pylist(), _world_of(table.schema.metadata or {})
    except (ManifestError, pa.ArrowException, OSError, ValueError) as error:
        raise TrialError(f"{folder}: {error}; make it again with {SOURCE}") from None
    columns = (manifest.column(name) for name in ("clip_id", "path", "frames", "label"))
    clips = {
        clip: ManifestRow(manifest.absolute(path), int(frames), label)
        for clip, path, frames, label in zip(*columns, strict=True)
    }
    quads: dict[str, dict[tuple[str, str], dict[str, Any]]] = defaultdict(dict)
    problems: list[str] = []
    for row in rows:
        key = row["context_id"], row["outcome_id"]
        if key in quads[row["quad_id"]]:
            problems.append(f"{row['quad_id']} has two videos {'-'.join(key)}")
        quads[row["quad_id"]][key] = row
    for name, videos in quads.items():
        problems += _problems(name, videos, clips)
    known = {row["clip_id"] for row in rows}
    problems += [
        f"video {clip} of suite.parquet belongs to no quadruplet of quads.parquet" for clip in clips if clip not in known
    ]
    raise_problems(folder, problems, SOURCE)
    calibration = next((path for name in CALIBRATION if (path := folder / name).exists()), None)
    trials = tuple(_trial(name, videos, clips, LOCKED_S.get(world)) for name, videos in quads.items())
    return Suite(
        name="builtin",
        path=folder,
        trials=trials,
        source=_source_of(world),
        calibration=None if calibration is None else str(calibration),
        magnitudes=MAGNITUDES.get(world, _SHARED_MAGNITUDES),
        title=world,
        notes=_notes_on(world),
    )


def _world_of(metadata: Mapping[bytes, bytes]) -> str:
    """The world that a table of quadruplets was made of. Tables of earlier versions do not say it: builtin.

    Raises ValueError where the configuration in the table is damaged.
    """
    config = parse_json(metadata.get(b"physics", b"{}").decode())
    return str(config.get("world", "builtin"))


def _source_of(world: str) -> str:
    if world == "spliced":
        return "`python -m data_prep quadruplets VIDEOS --out DIR`"
    return SOURCE if world == "builtin" else f"{SOURCE.removesuffix('`')} --world {world}`"


def _notes_on(world: str) -> tuple[str, ...]:
    if world == "spliced":
        return ("The videos are spliced from real ones; quadruplets of few videos overlap and are not independent.",)
    return () if world == "builtin" else (f"The videos show the world {world!r}, not the built-in one.",)


def _problems(name: str, videos: dict[tuple[str, str], dict[str, Any]], clips: dict[str, ManifestRow]) -> list[str]:
    """Videos that are missing, and labels that are missing or contradict the context and outcome."""
    problems = []
    for key, possible in zip(QUADRUPLET, (True, True, False, False), strict=True):
        row, where = videos.get(key), f"{name}, video {'-'.join(key)}"
        if row is None:
            problems.append(f"{where} is missing in quads.parquet")
        elif row["clip_id"] not in clips:
            problems.append(f"{where} ({row['clip_id']}) is missing in suite.parquet")
        else:
            label = "possible" if possible else "impossible"
            if row["possible"] is not possible or clips[row["clip_id"]].label != label:
                found = f"{row['possible']} in quads.parquet, {clips[row['clip_id']].label} in suite.parquet"
                problems.append(f"{where} must be {label}; it is {found}")
    problems += [
        f"{name} has a video {'-'.join(map(str, key))}, which no quadruplet has" for key in videos if key not in QUADRUPLET
    ]
    return problems


def _trial(
    name: str, rows: dict[tuple[str, str], dict[str, Any]], clips: dict[str, ManifestRow], locked_s: float | None
) -> Trial:
    first = rows[QUADRUPLET[0]]
    videos = tuple(
        Video(row["clip_id"], clips[row["clip_id"]].path, row["fps"], clips[row["clip_id"]].frames, row["possible"], *key)
        for key in QUADRUPLET
        for row in (rows[key],)
    )
    hidden = (first["occlusion_start"], first["occlusion_stop"])
    occluded = hidden[0] is not None and first["visibility"] == "occluded"
    first_cut = hidden[0] + 2 if occluded else 0
    if occluded and locked_s is not None:
        first_cut = max(first_cut, hidden[1] + 1 - round(locked_s * first["fps"]))
    return Trial(
        group_id=name,
        videos=videos,
        pairs=PAIRS,
        property=first["property"],
        split=first["split"],
        visibility=first["visibility"],
        level=str(first["level"]),
        copy_class=first["copy_class"] or "",
        magnitude=first["magnitude"],
        spliced=first["spliced"],
        # the last two context frames are fully occluded, so that neither a copy nor linear
        # extrapolation has information about the object
        locked_cuts=(first_cut, hidden[1] + 1) if occluded else None,
        splice_frame=first["splice"],
        occluded_frames=hidden if occluded else None,
        violation_frame=first["violation"],
        reveal_frame=first["reveal"],
    )
