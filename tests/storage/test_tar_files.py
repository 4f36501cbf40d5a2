"""Members of tars without an index: found by name, and each tar is scanned once."""

import io
import tarfile
from collections import OrderedDict

import pytest

from worldmodel.storage import tar_files
from worldmodel.storage.tar_files import locate_member, members_of


@pytest.fixture(autouse=True)
def scans(monkeypatch) -> list[str]:
    """The tars that were scanned, with nothing remembered before."""
    found: list[str] = []
    scan = tar_files.tar_members

    def counted(path):
        found.append(str(path))
        return scan(path)

    monkeypatch.setattr(tar_files, "tar_members", counted)
    monkeypatch.setattr(tar_files, "_scanned", OrderedDict())
    return found


def write_tar(path, *names: str) -> str:
    with tarfile.open(path, "w") as tar:
        for number, name in enumerate(names):
            info = tarfile.TarInfo(name)
            info.size = number + 1
            tar.addfile(info, io.BytesIO(bytes(info.size)))
    return str(path)


def test_64_tars_read_in_turn_are_scanned_once_each(tmp_path, scans):
    tars = [write_tar(tmp_path / f"{number}.tar", "a", "b") for number in range(64)]
    for _ in range(3):
        assert [locate_member(tar, "b")[1] for tar in tars] == [2] * 64
    assert scans == tars


def test_the_tar_that_was_used_least_recently_is_forgotten_where_memory_ends(tmp_path, scans, monkeypatch):
    tars = [write_tar(tmp_path / f"{number}.tar", "a", "b" * 90) for number in range(3)]
    monkeypatch.setattr(tar_files, "MAX_BYTES", 300)  # two of them
    for number in (0, 1, 0, 2, 0, 1):
        locate_member(tars[number], "a")
    assert scans == [tars[number] for number in (0, 1, 2, 1)]
    monkeypatch.setattr(tar_files, "MAX_BYTES", 1)
    scans.clear()
    for number in (2, 2, 2):
        locate_member(tars[number], "a")
    assert len(scans) <= 1


def test_members_are_found_by_names_of_any_kind_and_others_are_missing():
    places = {"": (1, 0), "a": (2, 3), "ab": (4, 5), "b/ü": (6, 7), "b/\udcff": (8, 9)}
    found = members_of(places)
    assert {name: found[name] for name in places} == places
    for name in ("A", "aa", "abc", "b", "z"):
        with pytest.raises(KeyError):
            found[name]
    with pytest.raises(KeyError):
        members_of({})["a"]


def test_of_members_of_one_name_the_last_one_counts_and_a_rewritten_tar_is_read_anew(tmp_path):
    tar = write_tar(tmp_path / "a.tar", "a", "b", "a")
    assert locate_member(tar, "a")[1] == 3
    write_tar(tmp_path / "a.tar", *"bcdea" * 10)
    assert locate_member(tar, "a")[1] == 50
