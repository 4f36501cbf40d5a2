"""A sharded checkpoint needs one run folder on all hosts; where a host has another one, training does not start."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from worldmodel.config import ConfigError
from worldmodel.files.folder_lock import FolderLock, lock_folder
from worldmodel.ranks import shared_folder
from worldmodel.recipe import Recipe
from worldmodel.runs.pre_run_checks import check_run_folder

RANK_1 = SimpleNamespace(num_processes=2)


def recipe(run: Path, form: str = "sharded") -> Recipe:
    return Recipe.model_validate({"run": str(run), "checkpoint": {"format": form}})


def said_by_rank_0(monkeypatch: pytest.MonkeyPatch, lock: FolderLock) -> None:
    monkeypatch.setattr(shared_folder, "broadcast_object_list", lambda _: [(lock.path, lock.owner.token)])
    monkeypatch.setattr(shared_folder, "gather_object", lambda own: [True, *own])
    monkeypatch.setattr(shared_folder, "VISIBILITY_TIMEOUT_S", 0.05)
    monkeypatch.setattr(shared_folder, "_RETRY_S", 0.02)


def test_a_rank_waits_until_its_host_sees_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with lock_folder(tmp_path / "run", "") as lock:
        said_by_rank_0(monkeypatch, lock)
        check_run_folder(recipe(tmp_path / "run"), None, RANK_1)
        hidden = lock.path.rename(tmp_path / "hidden")
        monkeypatch.setattr(shared_folder.time, "sleep", lambda _: hidden.rename(lock.path))
        check_run_folder(recipe(tmp_path / "run"), None, RANK_1)


@pytest.mark.parametrize("other_has", ["no folder", "a folder", "a lock of another run"])
def test_a_host_with_another_run_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other_has: str):
    other = tmp_path / "other"
    with lock_folder(tmp_path / "run", "") as lock:
        said_by_rank_0(monkeypatch, lock)
        if other_has != "no folder":
            other.mkdir()
        if other_has == "a lock of another run":
            text = lock.path.read_text()
            (other / lock.path.name).write_text(text.replace(lock.owner.token, "0" * 32))
        with pytest.raises(ConfigError, match=f"all hosts must see the same run folder {other}; use format single"):
            check_run_folder(recipe(other), None, RANK_1)


def test_whole_checkpoints_and_one_process_are_not_checked(tmp_path: Path):
    """A check would communicate, which these processes cannot."""
    check_run_folder(recipe(tmp_path, "single"), None, RANK_1)
    check_run_folder(recipe(tmp_path), None, SimpleNamespace(num_processes=1))
