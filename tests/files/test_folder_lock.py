"""Locks of folders: one writer at a time, stale locks are taken over, and by one process only."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from worldmodel.files import folder_lock, lock_files
from worldmodel.files.folder_lock import FolderLockError, lock_file, lock_folder

HOLD = """
import sys, time
from pathlib import Path
from worldmodel.files.folder_lock import lock_folder
with lock_folder(Path(sys.argv[1]), "give another --out"):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""
ROOT = Path(__file__).resolve().parents[2]


def holder(folder: Path, seconds: float = 60) -> subprocess.Popen[str]:
    """Start another process that holds the lock of a folder."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder), str(seconds)], cwd=ROOT, **pipes)
    assert process.stdout.readline() == "held\n", process.stderr.read()
    return process


def lock_of(folder: Path, **changes: object) -> None:
    """Write a lock as another process would have left it."""
    owner = vars(folder_lock.Owner.this_process()) | changes
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".lock").write_text(json.dumps(owner))


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_a_second_process_is_refused_while_the_first_runs_and_accepted_after_it_ended(tmp_path: Path):
    first = holder(tmp_path / "run")
    message = rf"run is in use by process {first.pid} .*or give another run=FOLDER"
    with pytest.raises(FolderLockError, match=message), lock_folder(tmp_path / "run", "give another run=FOLDER"):
        pass
    first.terminate()
    first.wait()
    with lock_folder(tmp_path / "run", "give another run=FOLDER") as lock:
        lock.check()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_removes_the_lock_and_ends_the_process_as_usual(tmp_path: Path, number: int):
    process = holder(tmp_path)
    process.send_signal(number)
    process.wait(timeout=10)
    assert process.returncode == -number
    assert not (tmp_path / ".lock").exists()


FORK = """
import multiprocessing, signal, sys
from pathlib import Path
from worldmodel.files.folder_lock import lock_folder

def handler(_):
    return signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

with lock_folder(Path(sys.argv[1]), "give another --out"):
    assert not handler(0)
    for count in range(60):  # with few tasks, a process is ended while it starts
        with multiprocessing.get_context("fork").Pool(2) as pool:
            assert all(pool.map(handler, range(count % 3)))
    assert (Path(sys.argv[1]) / ".lock").exists()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_forked_children_end_at_a_signal_and_leave_the_lock(tmp_path: Path):
    """A child with the parent's handler, in Python, missed a signal that arrived just before it waited for a task."""
    result = subprocess.run([sys.executable, "-c", FORK, str(tmp_path)], cwd=ROOT, timeout=120, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_an_error_removes_the_lock_and_the_empty_folders_that_were_made_for_it(tmp_path: Path):
    with pytest.raises(ZeroDivisionError), lock_folder(tmp_path / "runs" / "x", "..."):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    with lock_folder(tmp_path / "runs" / "x", "..."):
        (tmp_path / "runs" / "x" / "result").touch()
    assert [path.name for path in (tmp_path / "runs" / "x").iterdir()] == ["result"]


def test_the_lock_of_a_killed_process_is_taken_over_at_once_with_one_line(tmp_path: Path, capsys):
    process = holder(tmp_path)
    process.kill()
    process.wait()
    with lock_folder(tmp_path, "..."):
        pass
    (line,) = capsys.readouterr().err.splitlines()
    assert f"taking over the lock of process {process.pid} on " in line
    assert "no longer running" in line


def test_a_zombie_process_holds_no_lock(tmp_path: Path):
    process = holder(tmp_path)
    process.kill()
    time.sleep(0.2)  # it is a zombie now, and its number is still in use
    with lock_folder(tmp_path, "..."):
        pass
    process.wait()


def test_a_later_process_with_the_same_number_is_distinguished_by_its_start_time(tmp_path: Path):
    lock_of(tmp_path, started="1")  # with the number of this process
    with lock_folder(tmp_path, "..."):
        pass
    lock_of(tmp_path)
    with pytest.raises(FolderLockError, match=f"process {os.getpid()} "), lock_folder(tmp_path, "..."):
        pass


@contextlib.contextmanager
def refreshed(path: Path):
    """Refresh the mtime of a lock continuously, as a running owner does."""
    ended = threading.Event()

    def refresh() -> None:
        while not ended.wait(0.2):
            os.utime(path)

    thread = threading.Thread(target=refresh)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_a_process_on_another_machine_that_refreshes_its_lock_is_respected(tmp_path: Path, capsys):
    lock_of(tmp_path, host="node7", pid=12)
    message = r"process 12 on node7 .*it refreshed its lock 0 s ago.*give another --out"
    refused = pytest.raises(FolderLockError, match=message)
    with refreshed(tmp_path / ".lock"), refused, lock_folder(tmp_path, "give another --out"):
        pass
    assert "waiting until it refreshes its lock" in capsys.readouterr().err


def test_a_job_that_starts_again_on_another_machine_waits_until_the_lock_of_its_killed_process_is_stale(
    tmp_path: Path, monkeypatch
):
    monkeypatch.setattr(lock_files, "STALE_S", 1.0)
    lock_of(tmp_path, host="node7", pid=12)
    began = time.monotonic()
    with lock_folder(tmp_path, "give another --out") as lock:
        assert time.monotonic() - began > 0.8
        lock.check()


def test_the_lock_of_another_machine_is_taken_over_after_minutes_without_a_refresh(tmp_path: Path, capsys):
    lock_of(tmp_path, host="node7", pid=12)
    age(tmp_path / ".lock", 600)
    with lock_folder(tmp_path, "..."):
        pass
    assert "process 12 on node7, which has not refreshed its lock for 10 minutes" in capsys.readouterr().err


def test_a_process_number_of_another_container_or_boot_is_not_looked_up(tmp_path: Path):
    lock_of(tmp_path, system="another", pid=2**30)
    with (
        refreshed(tmp_path / ".lock"),
        pytest.raises(FolderLockError, match="it refreshed its lock"),
        lock_folder(tmp_path, "..."),
    ):
        pass


@pytest.mark.parametrize("content", ["", "no json", "[]", '{"pid": 1}'])
def test_a_lock_without_a_readable_owner_is_respected_for_minutes(tmp_path: Path, content: str, monkeypatch):
    monkeypatch.setattr(lock_files, "_CONTENT_WAIT_S", 0.05)
    (tmp_path / ".lock").write_text(content)
    with (
        refreshed(tmp_path / ".lock"),
        pytest.raises(FolderLockError, match="did not write its name"),
        lock_folder(tmp_path, "..."),
    ):
        pass
    age(tmp_path / ".lock", 600)
    with lock_folder(tmp_path, "..."):
        pass


def test_the_holder_refreshes_its_lock(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(folder_lock, "HEARTBEAT_S", 0.02)
    with lock_folder(tmp_path, "..."):
        age(tmp_path / ".lock", 600)
        deadline = time.monotonic() + 5
        while folder_lock.file_age_s(tmp_path / ".lock") > 60:
            assert time.monotonic() < deadline, "never refreshed"
            time.sleep(0.02)


def test_the_holder_detects_that_its_folder_was_removed_or_taken_over(tmp_path: Path):
    run = tmp_path / "run"
    with lock_folder(run, "...") as lock:
        (run / ".lock").unlink()
        run.rmdir()
        with pytest.raises(FolderLockError, match="removed or moved"):
            lock.check()
    assert not run.exists()
    with lock_folder(run, "...") as lock:
        lock_of(run, host="node7", token="theirs")
        with pytest.raises(FolderLockError, match=r"taken over by process .* on node7"):
            lock.check()
    assert json.loads((run / ".lock").read_text())["token"] == "theirs"


def test_two_processes_never_hold_a_lock_that_many_found_stale(tmp_path: Path):
    """Each thread holds the lock and counts the threads that hold it. Refused threads try again."""
    inside, most, won, lock = 0, 0, 0, threading.Lock()

    def work(number: int) -> None:
        nonlocal inside, most, won
        for _ in range(8):
            try:
                with lock_folder(tmp_path, "..."):
                    with lock:
                        inside, won = inside + 1, won + 1
                        most = max(most, inside)
                    time.sleep(0.002)
                    with lock:
                        inside -= 1
                    if number % 2:  # leave the lock as a killed process does
                        lock_of(tmp_path, pid=2**30 + number)
            except FolderLockError:
                pass

    lock_of(tmp_path, pid=2**30)
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(work, range(12)))
    assert won >= 1
    assert most == 1
    assert [path.name for path in tmp_path.iterdir() if path.name != ".lock"] == []


def test_a_late_process_does_not_replace_the_lock_that_replaced_a_stale_one(tmp_path: Path):
    lock_of(tmp_path, pid=2**30)
    stale = lock_files.read_owner(tmp_path / ".lock")  # two processes have read it like this
    with lock_folder(tmp_path, "...") as first:
        assert not lock_files.take_over(tmp_path / ".lock", stale, folder_lock.Owner.this_process())
        first.check()
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_process_that_died_during_a_takeover_does_not_block_others(tmp_path: Path):
    lock_of(tmp_path, pid=2**30, token="first")
    lock_of(tmp_path / "other", pid=2**30 + 1, token="second")
    (tmp_path / "other" / ".lock").rename(tmp_path / ".lock.first")
    (tmp_path / "other").rmdir()
    with lock_folder(tmp_path, "..."):
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    assert list(tmp_path.iterdir()) == []


def test_guards_of_killed_processes_are_removed_and_those_of_running_ones_stay(tmp_path: Path):
    dead, living, user = tmp_path / f".lock.{'a' * 32}", tmp_path / f".lock.{'b' * 32}", tmp_path / ".lock.notes"
    for path, changes in ((dead, {"pid": 2**30}), (living, {}), (user, {"pid": 2**30})):
        lock_of(tmp_path, **changes)
        (tmp_path / ".lock").rename(path)
    with lock_folder(tmp_path, "..."):
        assert sorted(tmp_path.iterdir()) == sorted([tmp_path / ".lock", living, user])


def test_two_files_of_one_folder_have_separate_locks(tmp_path: Path):
    one, two = tmp_path / "a.parquet", tmp_path / "b.parquet"
    refused = pytest.raises(FolderLockError, match=r"a\.parquet is in use")
    with lock_file(one, "..."), lock_file(two, "..."), refused, lock_file(one, "..."):
        pass


def test_waiting_for_the_release_of_a_lock_succeeds(tmp_path: Path):
    first = holder(tmp_path, seconds=0.5)
    with lock_folder(tmp_path, "...", wait_s=20):
        pass
    first.wait()


def test_a_file_where_the_folder_should_be_is_reported(tmp_path: Path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(FolderLockError, match="out is a file"), lock_folder(tmp_path / "out", "give another --out"):
        pass
    assert (tmp_path / "out").read_text() == "mine"


def test_a_lock_does_not_record_a_secret_of_the_command_line(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "model.target.run=https://user:hunter2@host/run"])
    with folder_lock.lock_folder(tmp_path / "run", "wait"):
        command = json.loads((tmp_path / "run" / ".lock").read_text())["command"]
    assert command == "train.py 'model.target.run=https://***@host/run'"
