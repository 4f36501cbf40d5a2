"""Evaluations that share a cache, or resume from one that was interrupted."""

import os
import threading
import time

import pytest
from accelerate import PartialState

from eval.cache.cache_lock import cache_lock
from eval.cache.sealed import is_whole, seal
from eval.resumable_work import discard_damaged
from worldmodel.files.atomic import write_json
from worldmodel.files.folder_lock import FolderLockError, lock_folder


def test_a_second_evaluation_waits_until_the_first_has_filled_the_cache(tmp_path, monkeypatch, capsys):
    """Two threads of this process stand for two evaluations."""
    order: list[str] = []
    folder = tmp_path / "untrained" / "key" / "0"

    def second() -> None:
        with cache_lock(folder, "untrained network 0", PartialState()):
            order.append("second")

    with cache_lock(folder, "untrained network 0", PartialState()):
        waiting = threading.Thread(target=second)
        waiting.start()
        time.sleep(0.6)
        order.append("first")
    waiting.join(10)
    assert order == ["first", "second"]
    assert "untrained network 0: another process computes the same; waiting until it has finished" in capsys.readouterr().err


def test_a_folder_of_the_cache_can_be_removed_while_it_is_locked(tmp_path):
    """`eval plausibility` does so at its end. A third evaluation must not get the lock before the second releases it."""
    folder = tmp_path / "videos" / "key"
    with cache_lock(folder, "videos", PartialState()):
        folder.rmdir()
        with pytest.raises(FolderLockError, match="is in use by"), lock_folder(folder.parent, "...", ".key.lock"):
            pass
    with cache_lock(folder, "videos", PartialState()):
        assert folder.is_dir()
    assert not (tmp_path / "videos" / ".key.lock").exists()


def test_finished_pieces_are_sealed_and_checked_without_listing_their_folder(tmp_path, monkeypatch):
    """Otherwise the time for one piece would grow with the number of pieces."""
    files = [tmp_path / f"{number:05d}.json" for number in range(50)]
    write_json(tmp_path / "first.json", {})  # the first write searches for parts of killed processes
    monkeypatch.setattr(os, "listdir", lambda *_: pytest.fail("the folder was listed"))
    for file in files:
        write_json(file, {})
        write_json(file.with_suffix(".unread.json"), {"a": "damaged"})
        seal(file)
    files[7].with_suffix(".unread.json").unlink()
    discard_damaged(files)
    assert [file.exists() for file in files] == [number != 7 for number in range(50)]
    assert is_whole(files[8]) is True
