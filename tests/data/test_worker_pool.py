"""Worker processes: what ends them, what does not, and that they leave nothing behind."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from unittest.mock import Mock

import psutil
import pytest
from made_clips import windows_of

from worldmodel.data import worker_pool, worker_process
from worldmodel.data.batch_waiting import WaitLimits, wait_for_batch
from worldmodel.data.loader import DataError, training_batches
from worldmodel.data.reading import ReadFailure

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals and limits of Linux")


def workers() -> list[psutil.Process]:
    return [entry for entry in psutil.Process().children() if "worldmodel.data.worker" in " ".join(entry.cmdline())]


@pytest.mark.parametrize("shared", [True, False])
def test_a_file_that_crashes_the_decoder_is_a_bad_clip(clips: Path, reading_fails, monkeypatch, shared: bool):
    if not shared:
        monkeypatch.delattr(os, "memfd_create")  # frames travel through pipes
    expected = [(batch.ids, batch.frames) for (batch,) in training_batches(windows_of(clips), 0, 6)]
    reading_fails("os.kill(os.getpid(), signal.SIGSEGV)")
    batches = [batch for (batch,) in training_batches(windows_of(clips, workers=2, max_failed_fraction=0.5), 0, 6)]
    bad = [clip for batch in batches for clip in batch.bad]
    assert {Path(clip.path).name for clip in bad} == {"000.mp4"}
    assert "crashed (SIGSEGV)" in bad[0].reason
    for batch, (ids, frames) in zip(batches, expected, strict=True):
        assert batch.ids.equal(ids)
        if not batch.bad:
            assert batch.frames.equal(frames)


def test_an_allocation_that_fails_in_a_worker_is_a_bad_clip(clips: Path, reading_fails):
    reading_fails("resource.setrlimit(resource.RLIMIT_AS, (4 << 30,) * 2); np.ones(1 << 40, np.uint8)")
    bad = [
        clip for (batch,) in training_batches(windows_of(clips, workers=1, max_failed_fraction=0.5), 0, 3) for clip in batch.bad
    ]
    assert {Path(clip.path).name for clip in bad} == {"000.mp4"}
    assert "MemoryError: there was not enough memory" in bad[0].reason


def test_a_worker_that_is_killed_ends_the_run_as_out_of_memory(clips: Path, reading_fails):
    reading_fails("os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(DataError, match=r"a data worker died \(SIGKILL\); most often the machine ran out of memory"):
        list(training_batches(windows_of(clips, workers=1), 0, 6))


def test_a_suspended_worker_exceeds_the_time_limit_and_is_killed(clips: Path):
    stream = training_batches(windows_of(clips, workers=2, prefetch=1, worker_timeout_s=4.0), 0, 1000)
    next(stream)
    stopped = workers()
    for worker in stopped:
        worker.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(DataError, match=r"no batch within data.worker_timeout_s = 4 s: a worker hangs"):
        list(stream)
    assert time.monotonic() - began < 11
    assert not any(worker.is_running() for worker in stopped)


def test_closing_the_iterator_ends_a_suspended_worker(clips: Path):
    stream = training_batches(windows_of(clips, workers=1), 0, 1000)
    next(stream)
    (worker,) = workers()
    worker.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    stream.close()
    assert time.monotonic() - began < 6
    assert not worker.is_running()


def test_output_of_a_library_in_a_worker_does_not_mix_with_the_frames(clips: Path, reading_fails):
    expected = [batch.frames for (batch,) in training_batches(windows_of(clips), 0, 3)]
    reading_fails("print('x' * 10_000); os.write(1, b'y' * 10_000)")
    for (batch,), frames in zip(training_batches(windows_of(clips, workers=1), 0, 3), expected, strict=True):
        assert batch.frames.equal(frames)


def test_workers_read_if_standard_error_is_closed(clips: Path):
    expected = [batch.ids.tolist() for (batch,) in training_batches(windows_of(clips), 0, 3)]
    program = (
        "import os; os.close(2)\n"
        "from worldmodel.data.loader import DataConfig, WindowDataset, training_batches\n"
        "from worldmodel.data.window_config import WindowConfig\n"
        f"config = DataConfig(manifest={str(clips)!r}, batch_size=4, workers=1, worker_timeout_s=60)\n"
        "windows = WindowDataset(config, WindowConfig(frames=8, fps=10, size_px=32), 'train', 0, 32)\n"
        "print([batch.ids.tolist() for (batch,) in training_batches(windows, 0, 3)])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100)
    assert done.stdout.strip() == str(expected)


def test_workers_leave_no_descriptors_or_processes(clips: Path):
    def rest() -> tuple[int, int]:
        return psutil.Process().num_fds(), len(workers())

    gc.collect()  # what other tests left must not be closed meanwhile
    before = rest()
    for _ in range(3):
        assert len(list(training_batches(windows_of(clips, workers=2), 0, 3))) == 3
    deadline = time.monotonic() + 5
    while rest() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert rest() <= before


def test_workers_use_no_named_resources(clips: Path):
    """Semaphores and shared memory in /dev/shm would stay behind when the whole group is killed."""

    def shared() -> set[str]:
        processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
        return {entry.path for process in processes for entry in process.memory_maps() if entry.path.startswith("/dev/shm/")}

    before = shared()
    stream = training_batches(windows_of(clips, workers=2), 0, 100)
    next(stream)
    assert len(workers()) == 2
    assert shared() == before
    stream.close()


def test_a_worker_is_small_because_it_imports_neither_torch_nor_the_manifest(clips: Path):
    stream = training_batches(windows_of(clips, workers=1), 0, 10)
    next(stream)
    (worker,) = workers()
    assert worker.memory_info().rss < 200e6
    assert not any("torch" in Path(entry.path).name for entry in worker.memory_maps())
    stream.close()


def test_a_worker_ended_by_a_realtime_signal_is_reported_with_its_number(clips: Path):
    stream = training_batches(windows_of(clips, workers=1, prefetch=1), 0, 5000)
    next(stream)
    for worker in workers():
        worker.send_signal(40)
    with pytest.raises(DataError, match=r"a data worker died \(signal 40\); the same command"):
        list(stream)


def test_a_program_that_ends_with_an_open_iterator_ends_at_once(clips: Path):
    program = (
        "import atexit, sys, time\n"
        "ended = []\n"
        "atexit.register(lambda: print(time.monotonic() - ended[0]))  # called last\n"
        f"sys.path[:0] = {[str(Path(__file__).parents[1] / 'support')]!r}\n"
        "from pathlib import Path\n"
        "from made_clips import windows_of\n"
        "from worldmodel.data.loader import training_batches\n"
        f"stream = training_batches(windows_of(Path({str(clips)!r}), workers=2, prefetch=1), 0, 5000)\n"
        "next(stream)\n"
        "ended.append(time.monotonic())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert float(done.stdout) < 1.9  # workers that do not end by themselves are killed after 2 s


def test_time_in_which_the_job_was_suspended_does_not_count_as_waiting_for_a_worker(clips: Path, monkeypatch):
    """Reading takes no time here; the clock jumps by an hour between two checks, as after Ctrl-Z and fg."""
    stream = training_batches(windows_of(clips, workers=1, prefetch=1, worker_timeout_s=5.0), 0, 20)
    next(stream)
    wait, monotonic, jumps = worker_pool.WorkerPool.wait, time.monotonic, []

    def suspended(self, pending, seconds):
        if len(jumps) < 2:
            jumps.append(3600.0)
            return False
        return wait(self, pending, seconds)

    monkeypatch.setattr(worker_pool.WorkerPool, "wait", suspended)
    monkeypatch.setattr("worldmodel.process.clock.time.monotonic", lambda: monotonic() + sum(jumps))
    assert len(list(stream)) == 19


@pytest.mark.parametrize("worker_timeout_s", [0.0, 60.0])
def test_time_in_which_the_job_was_suspended_does_not_count_as_waiting_for_storage(monkeypatch, worker_timeout_s: float):
    """With a limit for workers and without one; the clock jumps by an hour at the second check."""
    pending, jumps_s, monotonic = Mock(missing_storage=ReadFailure("storage", "stale", "/data")), [], time.monotonic

    def wait(_pending: object, _seconds: float) -> bool:
        jumps_s.append(3600.0 if jumps_s else 0.0)
        return len(jumps_s) > 3

    monkeypatch.setattr("worldmodel.process.clock.time.monotonic", lambda: monotonic() + sum(jumps_s))
    limits = WaitLimits(worker_timeout_s, storage_wait_s=600.0, report=lambda _text: None)
    assert wait_for_batch(Mock(wait=wait), pending, limits) is pending.batch()


@pytest.mark.parametrize("name", ["_receive", "_write"])
def test_a_thread_that_cannot_start_ends_the_run_with_the_reason_and_leaves_no_process(clips: Path, monkeypatch, name: str):
    really_start = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if name in repr(thread._target):
            raise RuntimeError("can't start new thread")
        really_start(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(DataError, match=r"a data worker cannot be started: can't start new thread; set data.workers lower"):
        next(training_batches(windows_of(clips, workers=2), 0, 2))
    assert workers() == []


def test_the_pipes_of_all_workers_of_a_host_use_half_of_the_users_limit(clips: Path, monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "128")
    sizes: list[int] = []
    monkeypatch.setattr(worker_process, "enlarge_pipe", lambda _pipe, size: sizes.append(size))
    worker_pool.WorkerPool(2).close()
    assert sizes == [(32 << 20) // 256] * 2


def test_workers_that_cannot_be_killed_are_waited_for_at_the_same_time(monkeypatch):
    class Unkillable:
        killed = False

        def close(self) -> None:
            """A worker that waits in the kernel for storage."""

        def kill(self) -> None:
            self.killed = True

        def wait_until(self, deadline: float) -> bool:
            time.sleep(max(0.0, deadline - time.monotonic()))
            return False

    monkeypatch.setattr(worker_pool, "_END_S", 0.1)
    stuck = [Unkillable() for _ in range(8)]
    began = time.monotonic()
    worker_pool._close(stuck)
    assert time.monotonic() - began < 2.0
    assert all(worker.killed for worker in stuck)
