"""Ctrl-C and SIGTERM reach the whole process group at any time: one line, no traceback, no wrong diagnosis."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from worldmodel.process import interrupts

ENDLESS = "train.max_steps=100000"


def interrupted(process: subprocess.Popen, number: int = signal.SIGINT) -> tuple[int, str, str]:
    """Exit code and output after a signal to the whole group, as a terminal sends it."""
    os.killpg(process.pid, number)
    out, err = process.communicate(timeout=120)
    assert "Traceback" not in err
    assert "out of memory" not in err
    return process.returncode, out, err


def started(command: list[str], **environment: str) -> subprocess.Popen:
    """A process in a separate group, with the default SIGINT even if pytest runs in the background."""

    def default() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.setsid()

    pipe, env = subprocess.PIPE, {**os.environ, **environment}
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, preexec_fn=default, env=env)


def wait_for_processor_time(process: subprocess.Popen, seconds: float) -> None:
    """Until the process has used so much time of a processor, which depends less than a clock on what else runs."""
    for _ in range(6000):
        spent = psutil.Process(process.pid).cpu_times()
        if spent.user + spent.system >= seconds or process.poll() is not None:
            return
        time.sleep(0.01)


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize(
    ("arguments", "program"),
    [
        (["-m", "data_prep", "index", ".", "--out", "m.parquet"], "data_prep"),
        (["-m", "eval", "report", "run"], "eval"),
        (["-m", "worldmodel.rollout", "run"], "rollout"),
        (["-m", "worldmodel.train"], "train"),
    ],
)
def test_ctrl_c_while_modules_are_imported_prints_one_line(arguments, program, tmp_path: Path):
    """A module that both commands import first waits, so that the time of the signal does not depend on the machine."""
    waits = "import os, signal, sys, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n"
    for name in ("numpy", "torch", "pyarrow", "accelerate"):
        (tmp_path / f"{name}.py").write_text(waits)
    path = os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])
    process = started([sys.executable, *arguments], PYTHONPATH=path)
    _, err = process.communicate(timeout=50)
    assert (process.returncode, lines(err)) == (130, [f"{program}: stopped before its work began"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("after_s", [0.4, pytest.param(0.0, marks=pytest.mark.slow), pytest.param(1.5, marks=pytest.mark.slow)])
def test_a_signal_while_workers_start_is_not_reported_as_a_dead_worker(trainer, tmp_path: Path, number: int, after_s: float):
    process = started(trainer.command(tmp_path / "run", ENDLESS, "data.workers=2", "checkpoint.every=100000"))
    for line in process.stdout:
        if line.startswith("training  "):  # the held-out windows are read; the training workers start next
            break
    time.sleep(after_s)
    code, _, err = interrupted(process, number)
    assert code in ((130,) if number == signal.SIGINT else (0, -signal.SIGTERM))
    assert len(lines(err)) <= 1


def test_ctrl_c_in_training_saves_and_exits_with_130(trainer, read_rows, tmp_path: Path):
    run = tmp_path / "run"
    process = started(trainer.command(run, ENDLESS, "checkpoint.every=100000", "data.workers=1"))
    while len(read_rows(run)) < 3:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    code, out, _ = interrupted(process)
    assert code == 130
    assert f"stopped: {run}" in out
    assert int(sorted(os.listdir(run / "checkpoints"))[-1]) == read_rows(run)[-1]["step"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("after_s", [0.1, 0.3, 0.6, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])
def test_a_signal_at_any_time_causes_no_traceback(trainer, tmp_path: Path, number: int, after_s: float):
    process = started(trainer.command(tmp_path / "run", ENDLESS, "data.workers=2"))
    wait_for_processor_time(process, max(after_s, 0.3))  # before that, Python itself starts
    code, _, _ = interrupted(process, number)
    assert code in ((130,) if number == signal.SIGINT else (0, -signal.SIGTERM))


def test_signals_that_arrive_while_children_start_are_handled_afterwards():
    received: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    try:
        with interrupts.signals_blocked():
            os.kill(os.getpid(), signal.SIGTERM)
            script = "import signal; print(signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, []))"
            child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
            assert received == []
        assert received == [signal.SIGTERM]
        assert child.stdout.strip() == "True"
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.fixture
def raising_handlers() -> Iterator[list[int]]:
    """SIGINT and SIGTERM record their number and raise KeyboardInterrupt."""
    received: list[int] = []

    def handle(number: int, _frame: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, handle) for number in numbers}
    handlers = [signal.getsignal(number) for number in numbers]
    yield received
    try:
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) & set(numbers) == set()
        assert [signal.getsignal(number) for number in numbers] == handlers
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
        for number, handler in before.items():
            signal.signal(number, handler)


def test_signals_that_arrive_together_are_all_handled_although_their_handlers_raise(raising_handlers: list[int]):
    def arrive_together() -> None:
        with interrupts.signals_blocked(multiprocessing=False):
            for number in (signal.SIGTERM, signal.SIGINT):
                os.kill(os.getpid(), number)

    with pytest.raises(KeyboardInterrupt):
        arrive_together()
    assert sorted(raising_handlers) == [signal.SIGINT, signal.SIGTERM]


@pytest.mark.parametrize("call", range(4))
def test_a_handler_that_raises_between_two_steps_leaves_no_signal_blocked(raising_handlers, monkeypatch, call: int):
    """It raises after the n-th call that replaces or restores a handler; the fixture checks the remaining state."""
    replace, calls = signal.signal, []

    def raising(number: int, handler: object) -> object:
        calls.append(number)
        before = replace(number, handler)
        if len(calls) == call + 1:
            raise KeyboardInterrupt
        return before

    monkeypatch.setattr(interrupts.signal, "signal", raising)
    with pytest.raises(KeyboardInterrupt), interrupts.signals_blocked(multiprocessing=False):
        pass
    monkeypatch.undo()


def test_a_handler_that_raises_as_signals_are_blocked_leaves_none_blocked(raising_handlers, monkeypatch):
    block = signal.pthread_sigmask

    def raising(how: int, numbers: object) -> object:
        before = block(how, numbers)
        if how == signal.SIG_BLOCK and numbers:
            raise KeyboardInterrupt
        return before

    monkeypatch.setattr(interrupts.signal, "pthread_sigmask", raising)
    with pytest.raises(KeyboardInterrupt), interrupts.signals_blocked(multiprocessing=False):
        pass
    monkeypatch.undo()
