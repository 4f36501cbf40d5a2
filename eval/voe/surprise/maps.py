"""Maps of surprise over the picture: one file of arrays per video."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eval.cache.keys import digest_of
from eval.cache.sealed import discard
from eval.result_folder import read_result
from eval.resumable_work import compute_pieces, discard_damaged
from eval.voe.surprise.calibration import Calibration
from eval.voe.surprise.forecasting import MODEL_ONLY
from eval.voe.surprise.scoring import SurpriseScorer
from eval.voe.surprise.task import VoeTask
from eval.voe.surprise.video_batches import VideoBatch, in_pieces
from eval.voe.trials import Trial
from worldmodel.files.atomic import write_arrays, write_json
from worldmodel.files.file_names import safe_file_name
from worldmodel.files.outputs import sha256_of


def write_maps(task: VoeTask, folder: Path, parts: Path, trials: Sequence[Trial], calibration: Calibration) -> None:
    """Write the surprise maps of each video of these trials, one file per video in FOLDER.

    PARTS gets a note per piece that lists the files and their digests.
    """
    model = task.subject.model
    assert model is not None
    folder.mkdir(exist_ok=True)
    scorer = SurpriseScorer(model, task.plan, task.device, task.scope, MODEL_ONLY)
    pieces = in_pieces(trials)
    notes = [parts / f"maps_{digest_of([trial.group_id for trial in piece])}.json" for piece in pieces]
    if task.ranks.is_main_process:
        _discard_incomplete(task, notes, pieces, folder)
    task.ranks.wait_for_everyone()

    def work(batch: VideoBatch, note: Path) -> None:
        written: dict[str, str] = {}
        for group in batch.groups:
            for video_id, arrays in scorer.surprise_maps(group, calibration).items():
                path = folder / safe_file_name(video_id, ".npz")
                write_arrays(path, arrays)
                written[path.name] = sha256_of(path)
        write_json(note, written)

    compute_pieces("surprise maps", pieces, lambda i: notes[i], task.read, work, task.ranks)


def _discard_incomplete(task: VoeTask, notes: Sequence[Path], pieces: Sequence[Sequence[Trial]], folder: Path) -> None:
    """Remove notes about maps that must be computed again.

    Either a map in FOLDER was changed, or a video without a map can be read now.
    """
    discard_damaged(notes)
    for note, trials in zip(notes, pieces, strict=True):
        if not note.exists():
            continue
        written = read_result(note)
        changed = any(not (folder / name).is_file() or sha256_of(folder / name) != digest for name, digest in written.items())
        without = [it for it in task.videos_of(trials) if safe_file_name(it[0].video_id, ".npz") not in written]
        if changed or task.reader.any_is_readable(without):
            discard(note)
