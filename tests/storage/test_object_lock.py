"""The lock object of a folder in object storage: one process writes, whatever answers are lost."""

import json
import os
import threading
import time
from types import SimpleNamespace

import pytest

from worldmodel.files.folder_lock import FolderLockError
from worldmodel.storage import object_lock
from worldmodel.storage.object_lock import lock_url

FOLDER, LOCK = "s3://bucket/run", "/bucket/run/lock.json"


def write_lock(server, **changes) -> None:
    """The lock of a process on another machine, or with these changes."""
    owner = {
        "token": "t",
        "host": "far",
        "system": "s",
        "pid": 7,
        "started": "1",
        "command": "train",
        "since": "now",
        "count": 0,
    }
    server.objects[LOCK] = json.dumps({**owner, **changes}).encode()


def test_a_second_process_is_refused_and_the_lock_goes_with_its_owner(server):
    refused = rf"in use by process {os.getpid()} .*two writers.*give another URL"
    with lock_url(FOLDER, "") as lock:
        with pytest.raises(FolderLockError, match=refused), lock_url(FOLDER, "give another URL"):
            pass
        lock.refresh()
        lock.check()
    assert LOCK not in server.objects


def test_the_lock_of_a_dead_process_of_this_machine_is_taken_over_at_once(server, capsys):
    with lock_url(FOLDER, ""):
        owner = json.loads(server.objects[LOCK])
    write_lock(server, host=owner["host"], system=owner["system"], pid=owner["pid"], started="other")
    with lock_url(FOLDER, ""):
        assert json.loads(server.objects[LOCK])["token"] != "t"
    assert "taking over" in capsys.readouterr().err


@pytest.mark.parametrize("runs", [True, False])
def test_the_lock_of_another_machine_is_taken_over_only_if_it_is_not_refreshed(server, monkeypatch, runs):
    monkeypatch.setattr(object_lock, "STALE_S", 0.2)
    looks = []

    def look(_seconds: float) -> None:
        looks.append(1)
        if runs and len(looks) == 2:
            write_lock(server, count=1)

    monkeypatch.setattr(object_lock, "time", SimpleNamespace(sleep=look, monotonic=time.monotonic))
    write_lock(server)
    if not runs:
        with lock_url(FOLDER, ""):
            assert json.loads(server.objects[LOCK])["host"] != "far"
        return
    with pytest.raises(FolderLockError, match=r"process 7 on far .*refreshed its lock just now"), lock_url(FOLDER, ""):
        pass


def test_a_process_whose_lock_was_taken_over_knows_it(server):
    with lock_url(FOLDER, "") as lock:
        write_lock(server)
        lock.refresh()
        with pytest.raises(FolderLockError, match="taken over by process 7 on far"):
            lock.check()
    assert json.loads(server.objects[LOCK])["host"] == "far"  # it is not removed


def test_a_store_that_does_not_answer_loses_no_lock(server):
    with lock_url(FOLDER, "") as lock:
        server.always["lock"] = 503
        lock.refresh()
        lock.check()
        server.always.clear()
        lock.refresh()
        lock.check()


def test_a_process_that_was_suspended_asks_for_its_lock_before_it_writes(server, monkeypatch):
    with lock_url(FOLDER, "") as lock:
        assert lock.confirm()
        now = time.time() + 2 * object_lock.REFRESH_S + 1
        monkeypatch.setattr(object_lock, "time", SimpleNamespace(time=lambda: now, monotonic=time.monotonic))
        server.always["lock"] = 503
        assert not lock.confirm()  # nobody knows
        lock.check()
        server.always.clear()
        assert lock.confirm()
        assert lock.count == 1
        now += 2 * object_lock.REFRESH_S + 1
        write_lock(server)
        assert not lock.confirm()
        with pytest.raises(FolderLockError, match="taken over by process 7 on far"):
            lock.check()


def test_a_store_that_is_down_does_not_hold_up_the_end(server, monkeypatch):
    monkeypatch.setattr(object_lock, "_RELEASE_WAIT_S", 0.05)
    released = threading.Event()
    monkeypatch.setattr(object_lock, "delete", lambda urls: released.wait(10))
    began = time.monotonic()
    with lock_url(FOLDER, ""):
        pass
    assert time.monotonic() - began < 5
    released.set()
