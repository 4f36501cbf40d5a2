"""JSON, JSON lines and YAML: recipes, logs, notes and results."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from data_prep.commands.transcode import VERSION, claim_copies
from data_prep.errors import PrepError
from data_prep.inspection import VideoRecord
from data_prep.journal import Journal
from data_prep.transcoding.encode import TranscodeConfig
from eval.errors import EvalError
from eval.report.training.run_folder import open_run
from eval.voe.evaluation import open_evaluation, write_scores
from eval.voe.trials import Pair, Trial, TrialError, Video, read_trials, write_trials
from fuzz import tables
from worldmodel.config import ConfigError, load_config
from worldmodel.files.output_mark import writer_of
from worldmodel.recipe import Recipe

ROOT = Path(__file__).resolve().parents[3]
ERRORS = (ConfigError, EvalError, TrialError, PrepError)
"""Errors that a command reports in one line. ValueError, the base class of some, does not count."""


def seeds(folder: Path) -> Mapping[str, Path]:
    """A recipe, a run folder, a finished evaluation, and the files of data preparation."""
    found = {name: folder / name for name in ("recipe.yaml", "transcode.json", "mark.json", "journal.jsonl")}
    found["recipe.yaml"].write_bytes((ROOT / "configs" / "demo.yaml").read_bytes())
    found["transcode.json"].write_text(json.dumps({"short_side_px": 80, "max_fps": None, "gop": 12, "version": VERSION}))
    found["mark.json"].write_text('{"made_by": "python -m data_prep index"}')
    record = {"path": "a.mp4", "member": None, "label": None, "reason": None, "detail": None, "duration_s": 1.0, "fps": 10.0}
    found["journal.jsonl"].write_text('{"val": 0.1}\n' + f"{json.dumps(record)}\n" * 3)
    run = folder / "run"
    run.mkdir()
    (run / "recipe.yaml").write_bytes(found["recipe.yaml"].read_bytes())
    for name, row in (("metrics", {"loss": 1.0, "lr": 0.1}), ("health", {"verdict": "healthy", "skill": 0.5})):
        found[f"{name}.jsonl"] = run / f"{name}.jsonl"
        found[f"{name}.jsonl"].write_text("".join(json.dumps({"step": n, **row}) + "\n" for n in range(5)))
    found["best.json"] = run / "best.json"
    found["best.json"].write_text('{"checkpoint": "00000010", "skill": 0.5}')
    evaluation = folder / "evaluation"
    evaluation.mkdir()
    tables.seeds(evaluation)
    videos = tuple(Video(f"video {n}", f"{n}.mp4", 10.0, 20, n % 2 == 0) for n in range(4))
    trials = [Trial("group", videos, (Pair("matched", 0, 1), Pair("matched", 2, 3)), "gravity")]
    found["trials.json"], found["protocol.json"] = evaluation / "trials.json", evaluation / "protocol.json"
    write_trials(found["trials.json"], trials)
    found["protocol.json"].write_bytes((ROOT / "tests" / "eval" / "protocol.json").read_bytes())
    return found


def reader(name: str, path: Path) -> Callable[[int], None]:
    def read_note(turn: int) -> None:
        claim_copies(path.parent, TranscodeConfig(short_side_px=80, max_fps=None, gop=12))

    def read_mark(turn: int) -> None:
        path.replace(path.with_name(".worldmodel.json"))
        writer_of(path.parent)

    def read_journal(turn: int) -> None:
        journal = Journal(path, {"val": 0.1}, iter(()), VideoRecord)
        journal.close()
        if journal.done:
            list(journal.records())

    def read_protocol(turn: int) -> None:
        if turn % 2:
            open_evaluation(path.parent)
        else:
            write_scores(path.parent)

    readers = {
        "recipe.yaml": lambda turn: load_config(Recipe, path),
        "transcode.json": read_note,
        "mark.json": read_mark,
        "journal.jsonl": read_journal,
        "trials.json": lambda turn: read_trials(path),
        "protocol.json": read_protocol,
    }
    return readers.get(name, lambda turn: open_run(path.parent))
