import errno
import json
import os
import stat
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import save_file

from worldmodel.files import atomic
from worldmodel.files.atomic import atomic_folder, atomic_path, part_path, remove_parts, write_arrays, write_json, write_text
from worldmodel.files.output_errors import OutputError

WRITES_AND_WAITS = """
import sys, time
from pathlib import Path
from worldmodel.files.atomic import atomic_folder, atomic_path
path = Path(sys.argv[1])
with atomic_path(path) as part, atomic_folder(path.with_name("folder")) as folder:
    part.write_text("half")
    (folder / "a").write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def writer(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", WRITES_AND_WAITS, tmp_path / "a.json"], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def interrupted(part):
    part.write_text("half")
    raise RuntimeError


def test_an_error_keeps_the_old_content_and_leaves_no_temporary_file(tmp_path):
    write_json(tmp_path / "a.json", {"x": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "a.json") as part:
        interrupted(part)
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": 1}


def test_a_failed_folder_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "folder") as part:
        interrupted(part / "a")
    assert not list(tmp_path.iterdir())
    with atomic_folder(tmp_path / "folder") as part:
        write_text(part / "a", "whole")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077])
def test_files_have_the_permissions_of_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_text(tmp_path / "text", "a")
        write_arrays(tmp_path / "arrays.npz", {"a": np.ones(2)})
        with atomic_path(tmp_path / "weights") as part:
            save_file({"a": torch.ones(2)}, part)  # creates files with mode 0600
        with atomic_folder(tmp_path / "folder") as part:
            write_text(part / "text", "a")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes.pop("folder") == 0o777 & ~umask
    assert set(modes.values()) == {0o666 & ~umask}


def test_temporary_files_of_a_killed_process_are_removed_and_those_of_a_running_one_stay(tmp_path, writer):
    (tmp_path / ".notes.part").write_text("a user's own file")
    remove_parts(tmp_path)
    assert len(list(tmp_path.glob(".*@*.part"))) == 2
    writer.kill()
    writer.wait()
    remove_parts(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".notes.part"]


def test_the_first_write_to_a_folder_removes_temporary_files_of_a_killed_process(tmp_path, writer):
    writer.kill()
    writer.wait()
    assert len([path for path in tmp_path.iterdir() if path.name.endswith(".part")]) == 2
    write_text(tmp_path / "b.txt", "whole")
    assert [path.name for path in tmp_path.iterdir()] == ["b.txt"]


def test_a_temporary_file_of_another_machine_is_removed_after_one_day(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "_system_digest", lambda: "00000000")
    part = part_path(tmp_path / "a.json")
    part.write_text("half")
    monkeypatch.undo()
    remove_parts(tmp_path)
    assert part.exists()
    os.utime(part, (time.time() - 90_000,) * 2)
    remove_parts(tmp_path)
    assert not part.exists()


def test_a_temporary_file_of_a_hidden_process_counts_as_in_use(tmp_path, writer, monkeypatch):
    """/proc mounted with hidepid shows no processes of other users; storage whose clock is behind shows old files."""

    def hidden(_pid):
        raise psutil.NoSuchProcess(_pid)

    for part in tmp_path.iterdir():
        os.utime(part, (time.time() - 3600,) * 2)
    monkeypatch.setattr(psutil, "Process", hidden)
    remove_parts(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    writer.kill()
    writer.wait()
    remove_parts(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_temporary_file_of_an_earlier_process_with_the_same_number_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "_start_digest", lambda _pid: "00000000")
    part = part_path(tmp_path / "a.json")
    monkeypatch.undo()
    part.write_text("half")
    remove_parts(tmp_path)
    assert not part.exists()


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
def test_storage_that_cannot_sync_folders_can_be_written_to(tmp_path, monkeypatch, code):
    def fsync(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fsync)
    with atomic_folder(tmp_path / "folder") as part:
        write_text(part / "a", "whole")
    assert (tmp_path / "folder" / "a").read_text() == "whole"


def test_a_name_of_maximum_length_can_be_written(tmp_path):
    names = ["a" * 250 + ".json", "\U0001f3a5" * 60 + ".json", "ü" * 125 + ".json", "a" * 249 + "b.json"]
    for name in names:
        write_text(tmp_path / name, name)
    assert len({part_path(tmp_path / name) for name in names}) == 4
    assert all((tmp_path / name).read_text(encoding="utf-8") == name for name in names)


def test_a_link_is_replaced_and_its_target_does_not_change(tmp_path):
    (tmp_path / "target").write_text("of a user")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "target").read_text() == "of a user"
    assert not (tmp_path / "link").is_symlink()


def test_a_missing_folder_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match=r"a\.json: cannot be written"):
        write_json(tmp_path / "gone" / "a.json", {})


def test_a_folder_that_cannot_be_opened_can_be_written_to(tmp_path, monkeypatch):
    opened = os.open

    def open_(path, *positional, **named):
        if isinstance(path, os.PathLike) and os.path.isdir(path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return opened(path, *positional, **named)

    monkeypatch.setattr(os, "open", open_)
    atomic.sync_to_disk(tmp_path)
    with pytest.raises(FileNotFoundError):
        atomic.sync_to_disk(tmp_path / "a file that is missing")
