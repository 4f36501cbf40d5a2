"""Films in which nothing impossible happens, to learn a model's usual errors from."""

from __future__ import annotations

from pathlib import Path

from eval.subject import Subject
from worldmodel.manifest import Clip, Manifest

LAWFUL_FILMS = 400  # at most; of a run's val split there may be millions


def lawful_clips(given: str | None, own: str | None, subject: Subject) -> tuple[str | None, list[Clip]]:
    """(manifest, clips): of the manifest as given, else of the suite's own, else of the run's; none where none is there.

    The val split, since a run has learnt from the others; of a manifest that was given and has none, split train.
    """
    path = given or own
    if path is None and subject.recipe is not None:
        path = next((name for name in subject.recipe.data.manifests if Path(name).exists()), None)
    if path is None:
        return None, []
    manifest = Manifest.open(path)
    rows = manifest.rows("val")
    if not len(rows) and given:
        rows = manifest.rows("train")
    return str(path), [manifest.clip(row) for row in rows[:LAWFUL_FILMS].tolist()]
