"""The output folder of `eval voe`: which files it gets, and whether it may be written to."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from eval.cache.keys import source_digest
from eval.errors import EvalError
from eval.result_folder import read_json, result_folder
from eval.voe.evaluation import RESULT_FILES
from eval.voe.protocol import Extras, differences
from eval.voe.surprise.task import VoeTask
from eval.voe.trials import Video
from worldmodel.files.atomic import write_json

SCORE_FILES = ("scores.json", "scores.csv", "table.md", "report.html")  # computed from the result files
WRITTEN = (*RESULT_FILES, *SCORE_FILES, "maps", "parts")


@contextlib.contextmanager
def claim_output(
    out: Path, task: VoeTask, calibration_videos: Sequence[Video], ablate_whitening: bool, fresh: bool
) -> Iterator[None]:
    """Lock OUT for this task. OUT may hold the interrupted results of the same task.

    ablate_whitening: whether the traces also hold ablations of the whitening. fresh: replace what an
    earlier evaluation left. Raises EvalError where OUT holds another evaluation, finished or not.
    """
    with result_folder(out, WRITTEN, "protocol.json"):
        _claim(out, task, calibration_videos, ablate_whitening, fresh)
        yield


def is_finished(out: Path, task: VoeTask, calibration_videos: Sequence[Video], extras: Extras) -> bool:
    """Whether OUT holds the finished evaluation of this task by the present code, with at least these extras.

    The number of untrained networks must be the same, since scores are computed from all of them.
    """
    protocol = read_json(out / "protocol.json")
    if protocol is None or not all((out / name).exists() for name in (*RESULT_FILES, *SCORE_FILES)):
        return False
    if (out / "parts").exists():  # an evaluation was interrupted, perhaps after it wrote protocol.json
        return False
    if protocol.get("code") != source_digest() or protocol["untrained_seeds"] != extras.untrained_seeds:
        return False
    if (extras.ablate_whitening and not protocol["ablate_whitening"]) or (extras.maps and not protocol["maps_of_all_videos"]):
        return False
    return not differences(protocol, task, calibration_videos)


def _claim(out: Path, task: VoeTask, calibration_videos: Sequence[Video], ablate_whitening: bool, fresh: bool) -> None:
    """Check the contents of OUT, and write the key of this task into it.

    Maps of an earlier evaluation are removed, and parts without a key.
    """
    key = {"key": task.key(calibration_videos), "ablate_whitening": ablate_whitening}
    for name in ("maps", "parts"):  # files are written into these folders and removed from them
        if (out / name).is_symlink():
            raise EvalError(f"{out / name} is a symbolic link; nothing is written through it; remove it, or give another --out")
    if fresh and out.exists():
        shutil.rmtree(out / "parts", ignore_errors=True)
    stamp = out / "parts" / "key.json"
    if stamp.exists() and read_json(stamp) != key:
        raise EvalError(f"{out} holds the beginning of another evaluation; give another --out, or remove it with --fresh")
    if not stamp.exists():
        protocol = None if fresh else read_json(out / "protocol.json")
        if protocol is not None and (other := differences(protocol, task, calibration_videos)):
            raise EvalError(
                f"{out} holds a finished evaluation that differs in {', '.join(other)}; give another --out, or replace it with "
                "--fresh"
            )
        for name in ("maps", "parts"):
            shutil.rmtree(out / name, ignore_errors=True)
    stamp.parent.mkdir(parents=True, exist_ok=True)
    write_json(stamp, key)
