import errno
import io
import json
import math
import sys
import types
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console

import worldmodel.runs.progress
import worldmodel.runs.run_log
from worldmodel import checkpoint as checkpoints
from worldmodel.config import ConfigError
from worldmodel.data.loader import BadClip
from worldmodel.files.folder_lock import FolderLockError, lock_folder
from worldmodel.files.log_rows import append_row, read_rows, truncate_after
from worldmodel.health.metrics import compute_metrics
from worldmodel.health.moments import compute_moments
from worldmodel.health.verdicts import HealthCheck, HealthConfig, diagnose
from worldmodel.recipe import Recipe
from worldmodel.runs.progress import Progress, format_duration
from worldmodel.runs.run_log import RunLog
from worldmodel.training.config import TrainConfig

RECIPE = Recipe(train=TrainConfig(max_steps=1000))


def health(step: int, verdict: str = "healthy") -> HealthCheck:
    latents = torch.randn(4, 6, 1, 8, generator=torch.Generator().manual_seed(0))
    forecasts = latents[:, :, None] * 0.5
    metrics = compute_metrics(compute_moments(latents, forecasts), fps=10)
    return replace(diagnose(metrics, HealthConfig(), step=step, max_steps=1000), verdict=verdict)


def row(loss: float = 0.5) -> dict[str, float]:
    return {"samples": 32, "loss": loss, "loss/forecast": loss}


class Clock:
    """A clock that the test sets."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(worldmodel.runs.run_log.time, "monotonic", lambda: self.now)


# --- rows ------------------------------------------------------------------------------------------------------------
def test_rows_come_back_as_they_were_written(tmp_path):
    written = {"step": 1, "loss": 0.1 + 0.2, "name": "Übung", "flag": True, "none": None}
    append_row(tmp_path / "a.jsonl", written)
    append_row(tmp_path / "a.jsonl", {"step": np.int64(2), "loss": np.float64(0.25)})
    assert read_rows(tmp_path / "a.jsonl") == [written, {"step": 2, "loss": 0.25}]


def test_nan_and_infinity_become_null(tmp_path):
    append_row(tmp_path / "a.jsonl", {"step": 1, "nan": math.nan, "inf": -math.inf})
    assert (tmp_path / "a.jsonl").read_text() == '{"step": 1, "nan": null, "inf": null}\n'


def test_tensors_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(TypeError, match=r"loss is a Tensor; .* \.item\(\)"):
        append_row(tmp_path / "a.jsonl", {"step": 1, "loss": torch.tensor(1.0)})
    assert not (tmp_path / "a.jsonl").exists()


def test_truncation_keeps_rows_up_to_the_checkpoint_byte_for_byte(tmp_path):
    path = tmp_path / "a.jsonl"
    for update in (10, 20, 30):
        append_row(path, {"step": update, "loss": 1 / update})
    two_rows = b"".join(path.read_bytes().splitlines(keepends=True)[:2])
    truncate_after(path, 20)
    assert path.read_bytes() == two_rows
    assert [file.name for file in tmp_path.iterdir()] == ["a.jsonl"]


@pytest.mark.parametrize("cut", range(1, 30))
def test_an_incomplete_last_line_is_dropped(tmp_path, cut):
    path = tmp_path / "a.jsonl"
    append_row(path, {"step": 10, "loss": 1.0})
    whole = path.read_bytes()
    append_row(path, {"step": 20, "word": "Übermaß"})
    path.write_bytes(path.read_bytes()[:-cut])
    assert read_rows(path) == [{"step": 10, "loss": 1.0}]
    truncate_after(path, 20)
    assert path.read_bytes() == whole


DAMAGED = [
    b"\0" * 40,
    b'{"step": 15, "lo',
    b'{"step": \xff}',
    b"[1]",
    b'{"loss": 1.0}',
    b'{"step": "15"}',
    b"[" * 100_000,
]


@pytest.mark.parametrize("line", DAMAGED)
def test_a_damaged_line_is_removed_and_the_original_file_is_kept(tmp_path, line):
    path = tmp_path / "metrics.jsonl"
    append_row(path, {"step": 10})
    append_row(path, {"step": 20})
    whole = path.read_bytes()
    first, second = whole.splitlines(keepends=True)
    damaged = first + line + b"\n" + second
    path.write_bytes(damaged)
    assert [entry["step"] for entry in read_rows(path) if entry.get("step") in (10, 20)] == [10, 20]
    assert truncate_after(path, 30) == ["1 damaged line was removed (the original is metrics.jsonl.damaged)"]
    assert path.read_bytes() == whole
    assert truncate_after(path, 30) == []
    path.write_bytes(line + b"\n" + damaged)
    assert "2 damaged lines were removed (the original is metrics.jsonl.damaged-2)" in truncate_after(path, 30)
    assert (tmp_path / "metrics.jsonl.damaged").read_bytes() == damaged


def test_missing_rows_that_a_checkpoint_counted_are_reported(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for update in (10, 20, 30):
        append_row(path, {"step": update})
    assert truncate_after(path, 20, expected=2) == []
    assert truncate_after(path, 20, expected=5) == ["3 of the 5 rows up to step 20 are missing and cannot be recovered"]
    path.unlink()
    assert truncate_after(path, 20, expected=1) == ["1 of the 1 rows up to step 20 is missing and cannot be recovered"]
    assert not path.exists()


def test_a_row_after_an_incomplete_line_is_intact(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"step": 10}\n{"upd')
    append_row(path, {"step": 20})
    assert read_rows(path) == [{"step": 10}, {"step": 20}]


def test_a_missing_file_has_no_rows(tmp_path):
    truncate_after(tmp_path / "none.jsonl", 5)
    assert read_rows(tmp_path / "none.jsonl") == []
    assert list(tmp_path.iterdir()) == []


# --- the log of a run ------------------------------------------------------------------------------------------------
def test_every_row_has_step_samples_and_seconds(tmp_path, monkeypatch):
    clock = Clock(monkeypatch)
    with RunLog(tmp_path, RECIPE, start=20, seconds=5.0) as log:
        clock.now += 2
        log.log_training(30, row())
    (written,) = read_rows(tmp_path / "metrics.jsonl")
    assert list(written)[:3] == ["step", "samples", "seconds"]
    assert (written["step"], written["samples"], written["seconds"]) == (30, 32, 7.0)
    assert written["samples_per_s"] == 10 * RECIPE.data.batch_size / 2


def test_time_spent_waiting_for_data_is_recorded(tmp_path, monkeypatch):
    """Three steps wait 1 s for data and compute for 3 s each, so the fraction of waiting is 0.25."""
    clock = Clock(monkeypatch)

    def slow_stream():
        for update in range(3):
            clock.now += 1
            yield update

    with RunLog(tmp_path, RECIPE) as log:
        for update in log.timed(slow_stream()):
            clock.now += 3
            log.log_training(update + 1, row())
    rows = read_rows(tmp_path / "metrics.jsonl")
    assert [r["data_wait_fraction"] for r in rows] == [0.25, 0.25, 0.25]
    assert [r["samples_per_s"] for r in rows] == [RECIPE.data.batch_size / 4] * 3


def test_resuming_gives_the_log_of_an_uninterrupted_run(tmp_path):
    def write(run, start, stop):
        with RunLog(run, RECIPE, start=start) as log:
            for update in range(start + 1, stop + 1):
                log.log_training(update, row(1 / update))
                log.log_health(update, health(update))

    write(tmp_path / "whole", 0, 6)
    write(tmp_path / "parts", 0, 5)  # killed after step 5; its last checkpoint has step 3
    with (tmp_path / "parts" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')
    write(tmp_path / "parts", 3, 6)

    timeless = ("seconds", "samples_per_s", "data_wait_fraction")
    for name in ("metrics.jsonl", "health.jsonl"):
        whole, parts = (
            [{k: v for k, v in r.items() if k not in timeless} for r in read_rows(tmp_path / run / name)]
            for run in ("whole", "parts")
        )
        assert whole == parts


def test_problems_of_logs_at_a_resume_are_reported_once_with_one_line_per_log(tmp_path, capsys):
    with RunLog(tmp_path, RECIPE) as log:
        for update in (1, 2, 3):
            log.log_training(update, row())
            log.log_health(update, health(update))
        counted = log.rows
    assert counted == {"metrics": 3, "health": 3, "bad_clips": 0}
    lines = (tmp_path / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "metrics.jsonl").write_bytes(lines[0] + b"\0\0\n" + lines[2][:-9])
    (tmp_path / "health.jsonl").unlink()
    capsys.readouterr()
    with RunLog(tmp_path, RECIPE, start=3, rows=counted) as log:
        output = [line for line in capsys.readouterr().out.splitlines() if ".jsonl" in line]
        counted = log.rows
    assert len(output) == 2
    assert "1 damaged line was removed" in output[0]
    assert "its incomplete last line was removed" in output[0]
    assert "2 of the 3 rows up to step 3 are missing" in output[0]
    assert "health.jsonl: 3 of the 3 rows up to step 3 are missing" in output[1]
    with RunLog(tmp_path, RECIPE, start=3, rows=counted):
        assert ".jsonl" not in capsys.readouterr().out


def test_changed_logs_are_synced_before_a_checkpoint(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(worldmodel.runs.run_log, "sync_to_disk", lambda path: synced.append(path.name))
    with RunLog(tmp_path / "run", RECIPE) as log:
        log.log_training(1, row())
        log.sync()
        log.sync()
        log.log_health(2, health(2))
        log.sync()
    assert synced == ["metrics.jsonl", "run", "health.jsonl", "run"]


def test_other_processes_write_nothing_but_keep_the_same_state(tmp_path):
    with RunLog(tmp_path / "run", RECIPE, main=False) as log:
        assert list(log.timed(range(2))) == [0, 1]
        log.log_training(1, row())
        log.log_health(1, health(1))
        log.log_bad_clips([BadClip("a.mp4", "truncated")])
        assert log.skill_at(1) is not None
    assert not (tmp_path / "run").exists()


def test_health_rows_have_the_documented_fields(tmp_path):
    with RunLog(tmp_path, RECIPE) as log:
        log.log_health(50, health(50))
        assert log.skill_at(50) == health(50).skill
        assert log.skill_at(51) is None
    (written,) = [json.loads(line) for line in (tmp_path / "health.jsonl").read_text().splitlines()]
    fields = "step verdict effective_rank std_min std_mean corr_offdiag skill_copy/0.1 skill_mean/0.1 skill/0.1"
    assert set(fields.split()) <= set(written)


def test_a_skill_that_is_not_finite_is_none(tmp_path):
    still = torch.zeros(2, 6, 1, 8)
    metrics = compute_metrics(compute_moments(still, still[:, :, None]), fps=10)
    nothing = diagnose(metrics, HealthConfig(), step=5, max_steps=9)
    with RunLog(tmp_path, RECIPE) as log:
        log.log_health(5, nothing)
        assert log.skill_at(5) is None
    assert read_rows(tmp_path / "health.jsonl")[0]["skill/0.1"] is None


def test_an_unreadable_video_is_written_once(tmp_path):
    bad = BadClip("a.mp4", "truncated")
    with RunLog(tmp_path, RECIPE) as log:
        log.log_bad_clips([bad, bad])
    with RunLog(tmp_path, RECIPE, start=100) as log:
        log.log_bad_clips([bad, BadClip("b.mp4", "empty file")])
    assert [(r["step"], r["path"]) for r in read_rows(tmp_path / "bad_clips.jsonl")] == [(0, "a.mp4"), (100, "b.mp4")]


# --- on the screen ---------------------------------------------------------------------------------------------------
def test_changed_verdicts_are_printed_with_advice(tmp_path, capsys):
    with RunLog(tmp_path, RECIPE) as log:
        log.log_health(50, health(50))
        log.log_health(100, health(100))
        log.log_health(150, health(150, "unpredictable"))
    output = capsys.readouterr().out.splitlines()
    assert [line.split(":")[:2] for line in output] == [["step 50", " healthy"], ["step 150", " unpredictable"]]


def test_without_a_terminal_a_line_is_printed_every_ten_seconds_and_at_the_end(monkeypatch):
    clock = Clock(monkeypatch)
    screen = io.StringIO()
    with Progress(100, console=Console(file=screen, width=200)) as progress:
        for update in range(1, 101):
            clock.now += 0.5
            progress.advance(update)
            progress.set_metrics(loss=0.5, samples_per_s=64.0, data_wait_fraction=0.04)
    lines = screen.getvalue().splitlines()
    assert lines[0] == "step 1/100  loss 0.5  64 samples/s  waiting 4%  50 s left"
    assert [line.split()[1] for line in lines] == ["1/100", "21/100", "41/100", "61/100", "81/100", "100/100"]


def test_a_terminal_shows_one_bar_with_all_values():
    screen = io.StringIO()
    with Progress(2000, start=1000, console=Console(file=screen, width=160, force_terminal=True)) as progress:
        progress.set_verdict("dimensional_collapse")
        progress.advance(1200)
        progress.set_metrics(loss=0.4321, samples_per_s=64.0, data_wait_fraction=0.04)
    last = [line for line in screen.getvalue().splitlines() if "2,000" in line][-1]
    for part in ("60%", "1,200/2,000", "loss 0.4321", "64 samples/s", "waiting 4%", "dimensional_collapse", "left"):
        assert part in last


@pytest.mark.parametrize(
    ("seconds", "text"), [(45, "45 s"), (720, "12 min"), (12_000, "3 h 20 min"), (187_200, "2 d 4 h"), (5_970, "1 h 40 min")]
)
def test_durations_have_two_units_at_most(seconds, text):
    assert format_duration(seconds) == text


# --- trackers --------------------------------------------------------------------------------------------------------
def tracked(name: str) -> Recipe:
    return Recipe(train=TrainConfig(max_steps=1000, trackers=(name,)))


def test_tensorboard_gets_the_numbers(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with RunLog(tmp_path, tracked("tensorboard")) as log:
        log.log_training(10, row(0.25))
        log.log_health(10, health(10))
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss/forecast")] == [(10, 0.25)]
    assert "health/skill/0.1" in events.Tags()["scalars"]


def test_wandb_continues_the_same_run(tmp_path, monkeypatch):
    """Uses a fake wandb module with its three calls, because the real one needs a network."""
    begun, logged = [], []
    run = types.SimpleNamespace(id="abc", log=lambda numbers, step: logged.append((step, numbers)), finish=lambda: None)
    fake = types.ModuleType("wandb")
    fake.__spec__ = types.SimpleNamespace()
    fake.init = lambda **given: begun.append(given) or run
    monkeypatch.setitem(sys.modules, "wandb", fake)
    for start in (0, 10):
        with RunLog(tmp_path, tracked("wandb"), start=start) as log:
            log.log_training(start + 10, {**row(), "batch_hash": "f00", "lr": math.nan})
    assert [given["id"] for given in begun] == [None, "abc"]
    assert [step for step, _ in logged] == [10, 20]
    assert {"loss", "samples_per_s"} <= set(logged[0][1])
    assert not {"batch_hash", "lr", "step"} & set(logged[0][1])


def test_a_missing_tracker_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"wandb is not installed; `pip install 'worldmodel\[track\]'`"):
        RunLog(tmp_path, tracked("wandb"))


def test_the_error_for_a_full_disk_names_the_last_intact_checkpoint(tmp_path, monkeypatch):
    def full(path, row):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(worldmodel.runs.run_log, "append_row", full)
    checkpoints.save_checkpoint(tmp_path, {}, {"step": 7, "recipe": {}})
    with RunLog(tmp_path, RECIPE) as log, pytest.raises(checkpoints.CheckpointError) as raised:
        log.log_training(10, row())
    (line,) = str(raised.value).splitlines()
    assert "metrics.jsonl could not be written: [Errno 28] No space left on device" in line
    assert f"the last intact checkpoint is {tmp_path}/checkpoints/00000007. Free disk space" in line


def test_nothing_is_written_once_the_folder_is_no_longer_locked(tmp_path):
    with lock_folder(tmp_path / "run", "...") as lock, RunLog(tmp_path / "run", RECIPE, lock=lock) as log:
        log.log_training(10, row())
        (tmp_path / "run" / ".lock").unlink()
        with pytest.raises(FolderLockError):
            log.log_training(20, row())
        with pytest.raises(FolderLockError):
            log.log_bad_clips([BadClip("a.mp4", "broken")])
    assert [entry["step"] for entry in read_rows(tmp_path / "run" / "metrics.jsonl")] == [10]
    assert not (tmp_path / "run" / "bad_clips.jsonl").exists()
