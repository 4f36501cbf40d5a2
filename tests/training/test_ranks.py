"""A rank stops, dies or fails: all others end with a message that names it, and the last checkpoint is complete."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import launch
import psutil
import pytest

from worldmodel import checkpoint as checkpoints

ENDLESS = ("train.max_steps=100000", "train.rank_timeout_s=8", "checkpoint.keep=2")


def ranks_of(launcher: subprocess.Popen) -> dict[int, psutil.Process]:
    return {int(child.environ()["RANK"]): child for child in psutil.Process(launcher.pid).children()}


def family(launcher: subprocess.Popen) -> list[psutil.Process]:
    return psutil.Process(launcher.pid).children(recursive=True)


def wait_until(holds: Callable[[], bool], within_s: float) -> bool:
    until = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def trained_for(trainer, read_rows, run: Path, steps: int, *overrides: str) -> subprocess.Popen:
    launcher = trainer.start(run, *ENDLESS, *overrides, ranks=2)
    assert wait_until(lambda: len(read_rows(run)) >= steps or launcher.poll() is not None, 120)
    assert launcher.poll() is None, launcher.communicate()
    return launcher


@pytest.mark.slow
@pytest.mark.parametrize(("victim", "parallel"), [(0, "ddp"), (1, "ddp"), (1, "fsdp2")])
def test_a_stopped_rank_is_named_and_no_process_is_left(trainer, read_rows, tmp_path: Path, victim: int, parallel: str):
    run = tmp_path / "run"
    launcher = trained_for(trainer, read_rows, run, 7, "data.workers=1", f"train.parallel={parallel}")
    everyone, ranks = family(launcher), ranks_of(launcher)
    assert len(everyone) >= 4, "two ranks, each with a worker"
    ranks[victim].send_signal(signal.SIGSTOP)
    assert wait_until(lambda: ended(ranks[1 - victim]), 8 + 1)
    ranks[victim].send_signal(signal.SIGKILL)  # else torchrun waits 30 s before it does so
    _, err = launcher.communicate(timeout=60)
    assert launcher.returncode != 0
    last = checkpoints.latest_checkpoint(run)
    assert last is not None
    line = next(line for line in err.splitlines() if "no heartbeat" in line)
    assert line.startswith(f"[rank {1 - victim}] rank {victim} (host ")
    assert f"process {ranks[victim].pid})" in line
    assert line.endswith(str(last.folder))
    assert wait_until(lambda: all(ended(process) for process in everyone), 10)


@pytest.mark.slow
def test_ranks_whose_launcher_is_killed_end_with_their_workers(trainer, read_rows, tmp_path: Path):
    launcher = trained_for(trainer, read_rows, tmp_path / "run", 7, "data.workers=1")
    everyone = family(launcher)
    launcher.kill()
    launcher.communicate()
    assert wait_until(lambda: all(ended(process) for process in everyone), 15)
    assert checkpoints.latest_checkpoint(tmp_path / "run") is not None


@pytest.mark.slow
def test_a_rank_that_continues_in_time_does_not_end_the_run(trainer, read_rows, tmp_path: Path):
    launcher = trained_for(trainer, read_rows, tmp_path / "run", 7)
    victim = ranks_of(launcher)[1]
    victim.send_signal(signal.SIGSTOP)
    time.sleep(3)
    before = len(read_rows(tmp_path / "run"))
    victim.send_signal(signal.SIGCONT)
    assert wait_until(lambda: len(read_rows(tmp_path / "run")) > before + 5, 30)
    os.killpg(launcher.pid, signal.SIGKILL)
    launcher.communicate()


@pytest.mark.slow
def test_a_job_that_is_suspended_as_a_whole_continues(trainer, read_rows, tmp_path: Path):
    launcher = trained_for(trainer, read_rows, tmp_path / "run", 7)
    ranks = ranks_of(launcher).values()
    for process in ranks:
        process.send_signal(signal.SIGSTOP)
    time.sleep(10)  # longer than the limit
    before = len(read_rows(tmp_path / "run"))
    for process in ranks:
        process.send_signal(signal.SIGCONT)
    assert wait_until(lambda: len(read_rows(tmp_path / "run")) > before + 5, 30)
    os.killpg(launcher.pid, signal.SIGKILL)
    launcher.communicate()


@pytest.mark.slow
def test_a_killed_rank_is_named_without_a_traceback_of_gloo(trainer, read_rows, tmp_path: Path):
    # a long timeout: on a busy machine the missing heartbeat would be noticed before the closed connection
    launcher = trained_for(trainer, read_rows, tmp_path / "run", 7, "train.rank_timeout_s=40")
    ranks_of(launcher)[1].kill()
    _, err = launcher.communicate(timeout=60)
    assert launcher.returncode != 0
    assert "rank 1 (host " in err
    assert "ended without an error message" in err
    assert "gloo" not in err
    assert checkpoints.latest_checkpoint(tmp_path / "run") is not None


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [(), ("train.parallel=fsdp2", "optim.kind=muon", "checkpoint.format=sharded", "checkpoint.asynchronous=true")],
    ids=["ddp", "fsdp2-sharded-asynchronous"],
)
def test_after_a_kill_torchrun_restarts_and_the_result_is_that_of_an_undisturbed_run(
    trainer, read_rows, tmp_path: Path, overrides: tuple[str, ...]
):
    overrides = ("train.max_steps=40", *overrides)
    assert trainer(tmp_path / "whole", *overrides, ranks=2).returncode == 0
    command = trainer.command(tmp_path / "cut", *overrides, ranks=2)
    at = command.index("--standalone")
    command[at:at] = ["--max-restarts", "3", "--monitor-interval", "0.1"]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    launcher = subprocess.Popen(command, start_new_session=True, env=one_thread, **pipes)
    for victim, after in ((1, 7), (0, 17)):
        assert wait_until(lambda after=after: len(read_rows(tmp_path / "cut")) >= after, 120)
        ranks_of(launcher)[victim].kill()
    out, err = launcher.communicate(timeout=120)
    assert launcher.returncode == 0, err
    assert out.count("resuming") == 2
    whole, cut = (checkpoints.latest_checkpoint(tmp_path / name) for name in ("whole", "cut"))
    assert whole is not None
    assert cut is not None
    assert cut.state["sha256"] == whole.state["sha256"]


SLOW_RANK = """
import os, time
from worldmodel import train
from worldmodel.checkpoint import background
from worldmodel.ranks.launch import run_and_exit

original = background.write_files

def slow(folder, files):
    if os.environ["RANK"] == "1" and "00000010" in folder.name:
        time.sleep(600)
    return original(folder, files)

background.write_files = slow
run_and_exit(train.main)
"""


@pytest.mark.slow
def test_a_rank_that_is_killed_while_a_checkpoint_is_written_leaves_the_one_before(trainer, read_rows, tmp_path: Path):
    script, run = tmp_path / "slow.py", tmp_path / "run"
    script.write_text(SLOW_RANK)
    saving = ("checkpoint.format=sharded", "checkpoint.asynchronous=true")
    command = trainer.command(run, *ENDLESS, *saving, ranks=2)
    command = [str(script) if argument.endswith("train.py") else argument for argument in command]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    launcher = subprocess.Popen(command, start_new_session=True, env=one_thread, stderr=subprocess.PIPE, text=True)
    trainer.started.append(launcher)
    assert wait_until(lambda: len(read_rows(run)) >= 13 or launcher.poll() is not None, 120), "training goes on meanwhile"
    ranks_of(launcher)[1].kill()
    _, err = launcher.communicate(timeout=60)
    assert "rank 1 (host " in err
    assert [path.name for path in (run / "checkpoints").iterdir() if path.name.isdecimal()] == ["00000005"]
    done = trainer(run, "train.max_steps=6", "train.parallel=ddp", flags=("--allow-changed-recipe",))
    assert done.returncode == 0, done.stderr
    assert "after step 5" in done.stdout
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["00000005", "00000006"]


PATCHED = """
import os, sys
from worldmodel import checkpoint, train
from worldmodel.ranks.launch import run_and_exit

original = checkpoint.{function}

def fails(*args, **kwargs):
    if os.environ["RANK"] == "{rank}" and next(fails.calls) == 1:
        raise {error}
    return original(*args, **kwargs)

fails.calls = iter(range(100))
checkpoint.{function} = fails
run_and_exit(train.main)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "rank", "error", "message"),
    [
        ("gather_tensors", 1, 'MemoryError("no space for the moments")', "no space for the moments"),
        ("gather_tensors", 0, 'MemoryError("no space for the moments")', "no space for the moments"),
        ("save_checkpoint", 0, 'checkpoint.CheckpointError("disk is full")', "disk is full"),
        ("save_checkpoint", 0, 'MemoryError("no space for a copy")', "no space for a copy"),
        ("prune", 0, 'PermissionError(13, "not yours")', "not yours"),
    ],
)
def test_a_rank_that_fails_in_a_save_ends_all(trainer, tmp_path: Path, function: str, rank: int, error: str, message: str):
    script = tmp_path / "patched.py"
    script.write_text(PATCHED.format(function=function, rank=rank, error=error))
    run = tmp_path / "run"
    command = [
        str(script) if argument.endswith("train.py") else argument for argument in trainer.command(run, *ENDLESS, ranks=2)
    ]
    began = time.monotonic()
    one_thread = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = launch.run(command, timeout=120, env=one_thread)
    assert done.returncode != 0
    assert message in done.stderr
    assert "gloo" not in done.stderr
    assert time.monotonic() - began < 40, "no rank waits for the launcher to kill it"
    last = checkpoints.latest_checkpoint(run)
    assert last is not None
    assert last.step in ((5,) if function == "save_checkpoint" else (5, 10))  # under DDP rank 0 gathers without the others


def test_an_error_that_cannot_be_pickled_is_sent_as_its_message():
    from worldmodel.ranks.launch import _picklable

    class LocalError(Exception):
        """The class is local to a function, so no other process can construct it."""

    assert str(_picklable(LocalError("the reason"))) == "LocalError: the reason"
    assert isinstance(_picklable(OSError(28, "No space left")), OSError)


def test_an_uncaught_error_of_one_of_several_ranks_ends_its_process_at_once(tmp_path: Path):
    """Otherwise the interpreter would wait for non-daemon threads, such as workers that hang."""
    script = tmp_path / "program.py"
    script.write_text(
        "import threading, time\nfrom worldmodel.ranks.launch import run_and_exit\n"
        "threading.Thread(target=time.sleep, args=(60,)).start()\n"
        "def main():\n    raise ValueError('the reason')\n"
        "run_and_exit(main)\n"
    )
    environment = os.environ | {"WORLD_SIZE": "2", "RANK": "1"}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment, timeout=50)
    assert done.returncode == 1
    assert "ValueError: the reason" in done.stderr
