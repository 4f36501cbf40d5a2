"""The output folder of `eval voe`: which files it gets, and whether it may be written to."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from eval.errors import EvalError
from eval.result_folder import read_json, result_folder
from eval.voe.evaluation import RESULT_FILES
from eval.voe.protocol import differences
from eval.voe.surprise.task import VoeTask
from eval.voe.trials import Video
from worldmodel.files.atomic import write_json

SCORE_FILES = ("scores.json", "scores.csv", "table.md", "report.html")  # computed from the result files
WRITTEN = (*RESULT_FILES, *SCORE_FILES, "maps", "parts")


@contextlib.contextmanager
def claim_output(out: Path, task: VoeTask, calibration_videos: Sequence[Video], fresh: bool) -> Iterator[None]:
    """Lock OUT for this task. OUT may hold the interrupted results of the same task.

    fresh: replace what an earlier evaluation left. Raises EvalError where OUT holds another
    evaluation, finished or not.
    """
    with result_folder(out, WRITTEN, "protocol.json"):
        _claim(out, task, calibration_videos, fresh)
        yield


def is_finished(out: Path, task: VoeTask, calibration_videos: Sequence[Video], untrained_seeds: int) -> bool:
    """Whether OUT holds the finished evaluation of this task, with as many untrained networks."""
    protocol = read_json(out / "protocol.json")
    if protocol is None or not all((out / name).exists() for name in (*RESULT_FILES, *SCORE_FILES)):
        return False
    wanted = 0 if task.subject.model is None else untrained_seeds
    return not differences(protocol, task, calibration_videos) and protocol["untrained_seeds"] == wanted


def _claim(out: Path, task: VoeTask, calibration_videos: Sequence[Video], fresh: bool) -> None:
    """Check the contents of OUT, and write the key of this task into it.

    Maps of an earlier evaluation are removed.
    """
    key = task.key(calibration_videos)
    for name in ("maps", "parts"):  # files are written into these folders and removed from them
        if (out / name).is_symlink():
            raise EvalError(f"{out / name} is a symbolic link; nothing is written through it; remove it, or give another --out")
    if fresh and out.exists():
        shutil.rmtree(out / "parts", ignore_errors=True)
    stamp = out / "parts" / "key.json"
    if stamp.exists() and (read_json(stamp) or {}).get("key") != key:
        raise EvalError(f"{out} holds the beginning of another evaluation; give another --out, or remove it with --fresh")
    if not stamp.exists():
        protocol = None if fresh else read_json(out / "protocol.json")
        if protocol is not None and (other := differences(protocol, task, calibration_videos)):
            raise EvalError(
                f"{out} holds a finished evaluation that differs in {', '.join(other)}; give another --out, or replace it with "
                "--fresh"
            )
        shutil.rmtree(out / "maps", ignore_errors=True)
    stamp.parent.mkdir(parents=True, exist_ok=True)
    write_json(stamp, {"key": key})
