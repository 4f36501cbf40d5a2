"""A task that crashes or hangs its process fails alone."""

import os
import signal
import time
from functools import partial
from operator import floordiv

import psutil
import pytest

from data_prep.pool import Failed, WorkerProcess, run_each


def test_results_come_in_the_order_of_the_tasks():
    results = run_each(abs, range(-700, 0), workers=3, timeout_s=30)  # more than may be ahead
    assert list(results) == [(number, -number) for number in range(-700, 0)]


def test_a_crash_an_exception_and_a_hang_fail_alone():
    crashed = dict(run_each(os._exit, [3, 0], workers=2, timeout_s=30))
    assert {task: result.reason for task, result in crashed.items()} == {3: "crashed", 0: "crashed"}
    assert "exit code 3" in crashed[3].detail
    raised = dict(run_each(partial(floordiv, 6), [2, 0, 3], workers=1, timeout_s=30))
    assert (raised[2], raised[3], raised[0].reason) == (3, 2, "error")
    assert "ZeroDivisionError" in raised[0].detail
    hung = dict(run_each(time.sleep, [0, 60, 0.01], workers=1, timeout_s=2))
    assert hung == {0: None, 60: Failed("hung", "no answer within 2 s"), 0.01: None}


@pytest.mark.skipif(not hasattr(signal, "SIGRTMIN"), reason="no realtime signals here")
def test_a_worker_that_ends_by_a_realtime_signal_fails_its_task_alone():
    ended = dict(run_each(end_by_signal, [0, signal.SIGRTMIN + 5], workers=1, timeout_s=30))
    assert ended[0] is None
    assert ended[signal.SIGRTMIN + 5] == Failed("crashed", f"the process reading it died (signal {signal.SIGRTMIN + 5})")


def end_by_signal(number: int) -> None:
    if number:
        os.kill(os.getpid(), number)
        time.sleep(10)


def test_an_idle_worker_that_was_killed_is_replaced_and_its_task_given_again():
    results = run_each(pid_of, range(4), workers=1, timeout_s=30)
    pids = []
    for number in range(4):
        task, pid = next(results)
        assert task == number
        pids.append(pid)
        if number == 1:
            os.kill(pid, signal.SIGKILL)  # as the kernel does where memory is short; the worker has no task now
            while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.01)
    assert pids[0] == pids[1] != pids[2] == pids[3]


def pid_of(task: int) -> int:
    return os.getpid()


def test_a_worker_that_never_starts_fails_its_tasks_alone(monkeypatch):
    worker = WorkerProcess(abs)
    try:
        monkeypatch.setattr(worker, "restart", lambda: None)
        os.kill(worker._process.pid, signal.SIGKILL)
        worker._process.join()
        worker.start(0, -3)
        assert worker.busy
        monkeypatch.undo()
        assert worker.collect().reason == "crashed"
        worker.start(1, -4)
        assert worker.collect() == 4
    finally:
        worker.stop()


def test_workers_end_with_the_work_also_when_it_is_abandoned():
    results = run_each(abs, range(10**9), workers=2, timeout_s=30)
    assert next(results) == (0, 0)
    assert len(psutil.Process().children(recursive=True)) >= 2
    results.close()
    assert not [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]
