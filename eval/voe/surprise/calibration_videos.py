"""Possible videos for calibration: clips in which nothing impossible happens."""

from __future__ import annotations

from pathlib import Path

from eval.subject import Subject
from worldmodel.manifest import Clip, Manifest
from worldmodel.runs.run_data import RunData, find_data

LAWFUL_FILMS = 400  # at most; of a run's val split there may be millions


def lawful_clips(given: str | None, own: str | None, subject: Subject) -> tuple[str | None, list[Clip]]:
    """(manifest, clips): of the manifest as given, else of the suite's own, else of the run's; none where none is there.

    The val split, since a run has learnt from the others; of a manifest that was given and has none, split train.
    """
    path = given or own or _with_val(run_data(subject))
    if path is None:
        return None, []
    manifest = Manifest.open(path)
    rows = manifest.rows("val")
    if not len(rows) and given:
        rows = manifest.rows("train")
    return str(path), [manifest.clip(row) for row in rows[:LAWFUL_FILMS].tolist()]


def run_data(subject: Subject) -> RunData:
    """Where the data of a subject lies that was trained on some."""
    return RunData((), ()) if subject.recipe is None else find_data(subject.recipe, subject.checkpoint)


def _with_val(data: RunData) -> Path | None:
    """Of the manifests that are found the first that has a val split, else the first."""
    found = [path for path in data.manifests if path is not None]
    return next((path for path in found if len(Manifest.open(path).rows("val"))), found[0] if found else None)
