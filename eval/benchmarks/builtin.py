"""The suite that the physics world makes: `python -m data_prep synthesize DIR --suite mini`."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pyarrow.parquet as pq

from eval.benchmarks.layout import refuse
from eval.benchmarks.suite import Suite
from eval.pairs import FILMS, SAME_CONTEXT, SAME_OUTCOME
from eval.trials import Film, Pair, Trial, TrialError
from worldmodel.manifest import Manifest, ManifestError

SOURCE = "`python -m data_prep synthesize DIR --suite mini`"
PAIRS = tuple(Pair("same context", *places) for places in SAME_CONTEXT) + tuple(
    Pair("same outcome", *places) for places in SAME_OUTCOME
)


def open_folder(folder: Path) -> Suite:
    """Raises TrialError where tables are missing or quadruplets incomplete."""
    if not (folder / "quads.parquet").exists():
        raise TrialError(f"{folder} has no quads.parquet: it is no suite of the physics world; make one with {SOURCE}")
    try:
        manifest = Manifest.open(folder / "suite.parquet")
    except ManifestError as error:
        raise TrialError(str(error)) from None
    clips = zip(*(manifest.column(name) for name in ("clip_id", "path", "frames")), strict=True)
    files = {clip: (manifest.absolute(path), int(frames)) for clip, path, frames in clips}
    quads: dict[str, dict[tuple[str, str], dict]] = defaultdict(dict)
    for row in pq.read_table(folder / "quads.parquet").to_pylist():
        quads[row["quad_id"]][row["context_id"], row["outcome_id"]] = row
    problems, trials = [], []
    for name, rows in quads.items():
        missing = [pair for pair in FILMS if pair not in rows or rows[pair]["clip_id"] not in files]
        if missing:
            problems.append(f"{name} has no film {', '.join('-'.join(pair) for pair in missing)}")
        else:
            trials.append(_trial(name, rows, files))
    refuse(folder, problems, SOURCE)
    lawful = folder / "lawful.parquet"
    return Suite("builtin", folder, tuple(trials), SOURCE, lawful=str(lawful) if lawful.exists() else None)


def _trial(name: str, rows: dict[tuple[str, str], dict], files: dict[str, tuple[str, int]]) -> Trial:
    first = rows[FILMS[0]]
    films = tuple(
        Film(row["clip_id"], files[row["clip_id"]][0], row["fps"], files[row["clip_id"]][1], row["possible"], *pair)
        for pair in FILMS
        for row in (rows[pair],)
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
