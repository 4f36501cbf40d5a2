"""Worker processes: what ends one, what does not, and that nothing of them stays behind."""

import os
import pickle
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

from worldmodel.data import worker_pool
from worldmodel.data.loader import DataError, updates
from worldmodel.data.readers import Patience, completed
from worldmodel.data.reading import ReadFailure
from worldmodel.data.worker import Task

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals and limits of Linux")


def workers() -> list[psutil.Process]:
    return [it for it in psutil.Process().children() if "worldmodel.data.worker" in " ".join(it.cmdline())]


def test_a_file_that_crashes_the_decoder_is_a_bad_clip(clips: Path, reading_goes_wrong):
    expected = [(batch.ids, batch.frames) for (batch,) in updates(windows_of(clips), 0, 6)]
    reading_goes_wrong("os.kill(os.getpid(), signal.SIGSEGV)")
    batches = [batch for (batch,) in updates(windows_of(clips, workers=2, max_failed_fraction=0.5), 0, 6)]
    bad = [clip for batch in batches for clip in batch.bad]
    assert {Path(clip.path).name for clip in bad} == {"000.mp4"}
    assert "crashed (SIGSEGV)" in bad[0].reason
    for batch, (ids, frames) in zip(batches, expected, strict=True):
        assert batch.ids.equal(ids)
        if not batch.bad:
            assert batch.frames.equal(frames)


def test_an_allocation_that_fails_in_a_worker_is_a_bad_clip(clips: Path, reading_goes_wrong):
    reading_goes_wrong("resource.setrlimit(resource.RLIMIT_AS, (4 << 30,) * 2); np.ones(1 << 40, np.uint8)")
    bad = [clip for (batch,) in updates(windows_of(clips, workers=1, max_failed_fraction=0.5), 0, 3) for clip in batch.bad]
    assert {Path(clip.path).name for clip in bad} == {"000.mp4"}
    assert "MemoryError: there was not enough memory" in bad[0].reason


def test_a_worker_that_is_killed_ends_the_run_as_out_of_memory(clips: Path, reading_goes_wrong):
    reading_goes_wrong("os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(DataError, match=r"a data worker died \(SIGKILL\); most often the machine ran out of memory"):
        list(updates(windows_of(clips, workers=1), 0, 6))


def test_a_stopped_worker_passes_no_limit_and_is_killed(clips: Path):
    stream = updates(windows_of(clips, workers=2, prefetch=1, worker_timeout_s=4.0), 0, 1000)
    next(stream)
    stopped = workers()
    for worker in stopped:
        worker.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(DataError, match=r"no batch within data.worker_timeout_s = 4 s: a worker hangs"):
        list(stream)
    assert time.monotonic() - began < 11
    assert not any(worker.is_running() for worker in stopped)


def test_closing_a_stream_ends_a_stopped_worker(clips: Path):
    stream = updates(windows_of(clips, workers=1), 0, 1000)
    next(stream)
    (worker,) = workers()
    worker.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    stream.close()
    assert time.monotonic() - began < 6
    assert not worker.is_running()


def test_what_a_library_prints_in_a_worker_does_not_get_between_the_frames(clips: Path, reading_goes_wrong):
    expected = [batch.frames for (batch,) in updates(windows_of(clips), 0, 3)]
    reading_goes_wrong("print('x' * 10_000); os.write(1, b'y' * 10_000)")
    for (batch,), frames in zip(updates(windows_of(clips, workers=1), 0, 3), expected, strict=True):
        assert batch.frames.equal(frames)


def test_workers_read_where_standard_error_is_closed(clips: Path):
    expected = [batch.ids.tolist() for (batch,) in updates(windows_of(clips), 0, 3)]
    program = (
        "import os; os.close(2)\n"
        "from worldmodel.data.loader import DataConfig, Windows, updates\n"
        "from worldmodel.data.window_config import WindowConfig\n"
        f"config = DataConfig(manifest={str(clips)!r}, batch_size=4, workers=1, worker_timeout_s=60)\n"
        "windows = Windows(config, WindowConfig(frames=8, fps=10, size_px=32), 'train', 0, 32)\n"
        "print([batch.ids.tolist() for (batch,) in updates(windows, 0, 3)])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100)
    assert done.stdout.strip() == str(expected)


def test_workers_leave_no_descriptors_or_processes(clips: Path):
    def rest() -> tuple[int, int]:
        return psutil.Process().num_fds(), len(workers())

    before = rest()
    for _ in range(3):
        assert len(list(updates(windows_of(clips, workers=2), 0, 3))) == 3
    deadline = time.monotonic() + 5
    while rest() != before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert rest() == before


def test_workers_share_nothing_that_has_a_name(clips: Path):
    """Semaphores and shared memory in /dev/shm would stay behind when the whole group is killed."""

    def shared() -> set[str]:
        processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
        return {it.path for process in processes for it in process.memory_maps() if it.path.startswith("/dev/shm/")}

    before = shared()
    stream = updates(windows_of(clips, workers=2), 0, 100)
    next(stream)
    assert len(workers()) == 2
    assert shared() == before
    stream.close()


def test_a_worker_is_small_because_it_imports_neither_torch_nor_the_manifest(clips: Path):
    stream = updates(windows_of(clips, workers=1), 0, 10)
    next(stream)
    (worker,) = workers()
    assert worker.memory_info().rss < 200e6
    assert not any("torch" in Path(it.path).name for it in worker.memory_maps())
    stream.close()


def test_a_worker_that_is_killed_while_it_sends_frames_ends_the_run_with_the_reason(clips: Path, monkeypatch):
    whole, rooms = worker_pool._Process.read_into, []

    def cut(self, room: memoryview) -> None:
        rooms.append(room)
        if len(room) > 10_000 and len(rooms) > 9:
            self._process.kill()
            self._process.wait()
            while self._answers.read(1 << 16):
                pass  # what was in the pipe is less than what is left of a clip
        whole(self, room)

    monkeypatch.setattr(worker_pool._Process, "read_into", cut)
    with pytest.raises(DataError, match=r"a data worker died \(SIGKILL\)"):
        list(updates(windows_of(clips, workers=1, prefetch=1), 0, 50))


def test_a_worker_that_cannot_understand_a_task_ends():
    program = [sys.executable, "-c", "from worldmodel.data.worker import main; main()"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(program, **pipes) as process:
        process.stdin.write(b"cworldmodel.data.worker\nNoSuchClass\n.")
        process.stdin.flush()
        assert process.wait(30) == 1
        assert b"NoSuchClass" in process.stderr.read()


def test_a_worker_that_a_realtime_signal_ends_is_told_by_number(clips: Path):
    stream = updates(windows_of(clips, workers=1, prefetch=1), 0, 5000)
    next(stream)
    for worker in workers():
        worker.send_signal(40)
    with pytest.raises(DataError, match=r"a data worker died \(signal 40\); the same command"):
        list(stream)


def test_a_program_that_ends_with_an_open_stream_ends_at_once(clips: Path):
    program = (
        "import atexit, sys, time\n"
        "ended = []\n"
        "atexit.register(lambda: print(time.monotonic() - ended[0]))  # called last\n"
        f"sys.path[:0] = {[str(Path(__file__).parents[1] / 'support')]!r}\n"
        "from pathlib import Path\n"
        "from made_clips import windows_of\n"
        "from worldmodel.data.loader import updates\n"
        f"stream = updates(windows_of(Path({str(clips)!r}), workers=2, prefetch=1), 0, 5000)\n"
        "next(stream)\n"
        "ended.append(time.monotonic())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert float(done.stdout) < 1.9  # workers that do not end by themselves are killed after 2 s


def test_workers_import_what_this_process_imports_wherever_it_goes(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(sys, "path", ["", "relative", *sys.path])
    before = worker_pool._import_path()
    monkeypatch.chdir(tmp_path)
    assert worker_pool._import_path() == before
    assert all(Path(entry).is_absolute() for entry in before)
    ours = str(Path(worker_pool.__file__).resolve().parents[2])
    assert ours in map(os.path.normpath, before)


def test_a_job_that_was_suspended_has_not_waited_meanwhile(clips: Path, monkeypatch):
    """Reading takes no time here; the clock jumps by an hour between two looks, as after Ctrl-Z and fg."""
    stream = updates(windows_of(clips, workers=1, prefetch=1, worker_timeout_s=5.0), 0, 20)
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
def test_a_job_that_was_suspended_has_not_waited_for_storage_meanwhile(monkeypatch, worker_timeout_s: float):
    """With a limit for workers and without one; the clock jumps by an hour at the second look."""
    pending, looks, monotonic = Mock(vanished=ReadFailure("storage", "stale", "/data")), [], time.monotonic

    def wait(_pending: object, _seconds: float) -> bool:
        looks.append(3600.0 if looks else 0.0)
        return len(looks) > 3

    monkeypatch.setattr("worldmodel.process.clock.time.monotonic", lambda: monotonic() + sum(looks))
    patience = Patience(worker_timeout_s, storage_s=600.0, say=lambda _text: None)
    assert completed(Mock(wait=wait), pending, patience) is pending.batch()


def test_a_task_that_ends_in_the_middle_ends_the_worker_without_a_traceback():
    """The parent was killed while it wrote."""
    task = pickle.dumps(Task(0, tuple((place, "x" * 50) for place in range(1000))))
    program = [sys.executable, "-c", "from worldmodel.data.worker import main; main()"]
    done = subprocess.run(program, input=task[: len(task) // 2], capture_output=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_worker_that_can_neither_understand_a_task_nor_say_so_ends():
    ends = os.pipe()
    program = [sys.executable, "-c", "from worldmodel.data.worker import main; main()"]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=ends[1]) as process:
        for end in ends:
            os.close(end)
        process.stdin.write(b"cworldmodel.data.worker\nNoSuchClass\n.")
        process.stdin.flush()
        try:
            assert process.wait(20) == 1
        finally:
            process.kill()


@pytest.mark.parametrize("name", ["_receive", "_write"])
def test_a_thread_that_cannot_start_ends_the_run_with_the_reason_and_leaves_no_process(clips: Path, monkeypatch, name: str):
    really_start = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if name in repr(thread._target):
            raise RuntimeError("can't start new thread")
        really_start(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(DataError, match=r"a data worker cannot be started: can't start new thread; set data.workers lower"):
        next(updates(windows_of(clips, workers=2), 0, 2))
    assert workers() == []


def test_the_pipes_of_all_workers_of_a_host_leave_half_of_the_limit_of_a_user(clips: Path, monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "128")
    sizes: list[int] = []
    monkeypatch.setattr(worker_pool, "_widen", lambda _pipe, size: sizes.append(size))
    worker_pool.WorkerPool(2).close()
    assert sizes == [(32 << 20) // 256] * 2


def test_workers_that_cannot_be_killed_are_waited_for_together(monkeypatch):
    class Deaf:
        killed = False

        def close(self) -> None:
            """It waits in the kernel for storage."""

        def kill(self) -> None:
            self.killed = True

        def ends(self, until: float) -> bool:
            time.sleep(max(0.0, until - time.monotonic()))
            return False

    monkeypatch.setattr(worker_pool, "_END_S", 0.1)
    deaf = [Deaf() for _ in range(8)]
    began = time.monotonic()
    worker_pool._close(deaf)
    assert time.monotonic() - began < 2.0
    assert all(worker.killed for worker in deaf)


@pytest.mark.parametrize(
    ("code", "cause"),
    [(0xC0000005, "access violation"), (0xC0000374, "damaged heap"), (1, ""), (-signal.SIGSEGV, "SIGSEGV"), (-40, "signal 40")],
)
def test_crashes_of_windows_and_signals_of_linux_are_told_from_errors(code: int, cause: str):
    assert worker_pool._cause_of(code) == cause


def test_memory_is_suspected_only_where_the_system_may_have_killed_the_worker():
    assert "memory" in worker_pool._died(-9, "SIGKILL")
    assert "memory" not in worker_pool._died(-15, "SIGTERM")
    assert worker_pool._died(1, "").startswith("a data worker ended with exit code 1; its error is printed above")


def test_workers_import_the_package_of_this_process_though_another_lies_before_it(tmp_path: Path, monkeypatch):
    (tmp_path / "worldmodel").mkdir()
    (tmp_path / "worldmodel" / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert worker_pool._import_path()[0] == str(Path(worker_pool.__file__).absolute().parents[2])
