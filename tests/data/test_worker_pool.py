"""Worker processes: what ends one, what does not, and that nothing of them stays behind."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from made_clips import windows_of

from worldmodel.data.loader import DataError, updates

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals and limits of Linux")


def workers() -> list[psutil.Process]:
    return [it for it in psutil.Process().children() if "worldmodel.data.worker" in " ".join(it.cmdline())]


def test_a_file_that_crashes_the_decoder_is_a_bad_clip(clips: Path, reading_goes_wrong):
    expected = [(batch.ids, batch.frames) for (batch,) in updates(windows_of(clips), 0, 6)]
    reading_goes_wrong("os.kill(os.getpid(), signal.SIGSEGV)")
    batches = [batch for (batch,) in updates(windows_of(clips, workers=2, max_bad_share=0.5), 0, 6)]
    bad = [clip for batch in batches for clip in batch.bad]
    assert {Path(clip.path).name for clip in bad} == {"000.mp4"}
    assert "crashed (SIGSEGV)" in bad[0].reason
    for batch, (ids, frames) in zip(batches, expected, strict=True):
        assert batch.ids.equal(ids)
        if not batch.bad:
            assert batch.frames.equal(frames)


def test_an_allocation_that_fails_in_a_worker_is_a_bad_clip(clips: Path, reading_goes_wrong):
    reading_goes_wrong("resource.setrlimit(resource.RLIMIT_AS, (4 << 30,) * 2); np.ones(1 << 40, np.uint8)")
    bad = [clip for (batch,) in updates(windows_of(clips, workers=1, max_bad_share=0.5), 0, 3) for clip in batch.bad]
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
        "from worldmodel.window import WindowConfig\n"
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
