"""One worker process: what it imports, how it ends, and how its end is reported."""

import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from made_clips import windows_of

from worldmodel.data import worker_process
from worldmodel.data.loader import DataError, training_batches
from worldmodel.data.worker import Task
from worldmodel.process.exit_codes import exit_cause

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals and limits of Linux")


def test_a_worker_that_is_killed_while_it_sends_frames_ends_the_run_with_the_reason(clips: Path, monkeypatch):
    whole, buffers = worker_process.WorkerProcess.read_into, []

    def cut(self, buffer: memoryview) -> None:
        buffers.append(buffer)
        if len(buffer) > 10_000 and len(buffers) > 9:
            self._process.kill()
            self._process.wait()
            while self._answers.read(1 << 16):
                pass  # what was in the pipe is less than what is left of a clip
        whole(self, buffer)

    monkeypatch.delattr(os, "memfd_create")  # frames travel through the pipe
    monkeypatch.setattr(worker_process.WorkerProcess, "read_into", cut)
    with pytest.raises(DataError, match=r"a data worker died \(SIGKILL\)"):
        list(training_batches(windows_of(clips, workers=1, prefetch=1), 0, 50))


def test_a_worker_that_cannot_unpickle_a_task_ends():
    program = [sys.executable, "-c", "from worldmodel.data.worker import main; main()"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(program, **pipes) as process:
        process.stdin.write(b"cworldmodel.data.worker\nNoSuchClass\n.")
        process.stdin.flush()
        assert process.wait(30) == 1
        assert b"NoSuchClass" in process.stderr.read()


def test_workers_import_the_same_modules_after_a_change_of_directory(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(sys, "path", ["", "relative", *sys.path])
    before = worker_process.import_path()
    monkeypatch.chdir(tmp_path)
    assert worker_process.import_path() == before
    assert all(Path(entry).is_absolute() for entry in before)
    ours = str(Path(worker_process.__file__).resolve().parents[2])
    assert ours in map(os.path.normpath, before)


def test_a_truncated_task_ends_the_worker_without_a_traceback():
    """The parent was killed while it wrote."""
    task = pickle.dumps(Task(0, tuple((index, "x" * 50) for index in range(1000))))
    program = [sys.executable, "-c", "from worldmodel.data.worker import main; main()"]
    done = subprocess.run(program, input=task[: len(task) // 2], capture_output=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_worker_that_can_neither_unpickle_a_task_nor_report_it_ends():
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


@pytest.mark.parametrize(
    ("code", "cause"),
    [(0xC0000005, "access violation"), (0xC0000374, "damaged heap"), (1, ""), (-signal.SIGSEGV, "SIGSEGV"), (-40, "signal 40")],
)
def test_crashes_on_windows_and_signals_on_linux_are_distinguished_from_errors(code: int, cause: str):
    assert exit_cause(code) == cause


def test_lack_of_memory_is_suspected_only_after_sigkill():
    assert "memory" in worker_process.exit_message(-9, "SIGKILL")
    assert "memory" not in worker_process.exit_message(-15, "SIGTERM")
    assert worker_process.exit_message(1, "").startswith("a data worker ended with exit code 1; its error is printed above")


def test_workers_import_the_package_of_this_process_even_if_another_precedes_it_in_the_path(tmp_path: Path, monkeypatch):
    (tmp_path / "worldmodel").mkdir()
    (tmp_path / "worldmodel" / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert worker_process.import_path()[0] == str(Path(worker_process.__file__).absolute().parents[2])
