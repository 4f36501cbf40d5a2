"""The folder of the cache, and its replacement if it cannot be written. Tests may run as root: permissions prove nothing."""

import tempfile
from pathlib import Path

import pytest

from eval.cache.cache_folder import cache_folder
from eval.errors import EvalError


def test_the_folder_is_below_xdg_cache_home_else_below_home(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "worldmodel"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "worldmodel"


def test_a_temporary_folder_replaces_one_that_cannot_be_written_with_a_warning(monkeypatch, tmp_path: Path, capsys):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    folder = cache_folder()
    assert folder.parent == Path(tempfile.gettempdir())
    (folder / "kept").touch()
    assert cache_folder() == folder
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "file" / "worldmodel") in line
    assert "set XDG_CACHE_HOME" in line


def test_a_temporary_folder_that_another_user_could_have_made_is_refused(monkeypatch, tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    folder = cache_folder()
    folder.rmdir()
    (tmp_path / "other").mkdir()
    folder.symlink_to(tmp_path / "other")
    with pytest.raises(EvalError, match="set XDG_CACHE_HOME to a folder that can be written"):
        cache_folder()
