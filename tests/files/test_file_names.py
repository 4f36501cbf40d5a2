"""Names from data as file names."""

import itertools
import os

import pytest

from worldmodel.files.file_names import file_name_for

HOSTILE = [
    *(
        "",
        ".",
        "..",
        "/",
        "\\",
        "../../X",
        "..\\..\\X",
        "/etc/passwd",
        "C:\\X",
        "C:X",
        "a/b",
        "a\\b",
        "a\0b",
        "a\nb",
        "a\x1b]0;b",
    ),
    *(" ", "a ", "a.", ".a", "-a", "~", "~a", "con", "CON", "nul.txt", "com1", "a:b", "a*b", "a?b", 'a"b', "a<b", "a|b"),
    *("a" * 101, "a" * 300, "A" * 300, "é" * 300, "e\u0301", "\xe9", "\ud800", "\udcff", "\u202eX", "A", "a", "ß", "SS", "%2F"),
]


def test_every_name_becomes_one_file_in_its_folder(tmp_path):
    for name in HOSTILE:
        path = tmp_path / file_name_for(name, ".npz")
        path.write_bytes(b"")
        assert path.parent == tmp_path
        assert path.is_file()
        assert os.path.realpath(path) == os.path.join(os.path.realpath(tmp_path), path.name)
    assert len(list(tmp_path.iterdir())) == len(HOSTILE)


def test_two_names_never_share_a_file_where_case_is_ignored():
    names = {file_name_for(name).lower() for name in HOSTILE}
    assert len(names) == len(set(HOSTILE))


def test_the_file_name_of_a_name_is_not_the_file_name_of_another():
    made = [file_name_for(name) for name in HOSTILE]
    again = [file_name_for(name) for name in made if name not in HOSTILE]
    assert not set(made) & set(again)


@pytest.mark.parametrize(
    "name", ["3f2a09c4d1e5b677", "shape-occluded-test-0000", "colour, encoded", "scene_12.left", "gravity"]
)
def test_an_ordinary_name_is_its_own_file_name(name):
    assert file_name_for(name, ".npz") == f"{name}.npz"


def test_a_file_name_fits_every_file_system_with_the_mark_of_an_unfinished_file():
    for name, suffix in itertools.product(HOSTILE, (".npz", ".unread.json")):
        assert len(f".{file_name_for(name, suffix)}.{2**32}.part.npz".encode()) < 255
