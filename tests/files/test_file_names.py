"""Safe file names for names from data."""

import itertools
import os

import pytest

from worldmodel.files.file_names import safe_file_name

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
        path = tmp_path / safe_file_name(name, ".npz")
        path.write_bytes(b"")
        assert path.parent == tmp_path
        assert path.is_file()
        assert os.path.realpath(path) == os.path.join(os.path.realpath(tmp_path), path.name)
    assert len(list(tmp_path.iterdir())) == len(HOSTILE)


def test_two_names_never_share_a_file_where_case_is_ignored():
    names = {safe_file_name(name).lower() for name in HOSTILE}
    assert len(names) == len(set(HOSTILE))


def test_the_file_name_of_a_name_is_not_the_file_name_of_another():
    made = [safe_file_name(name) for name in HOSTILE]
    again = [safe_file_name(name) for name in made if name not in HOSTILE]
    assert not set(made) & set(again)


@pytest.mark.parametrize(
    "name", ["3f2a09c4d1e5b677", "shape-occluded-test-0000", "colour, encoded", "scene_12.left", "gravity"]
)
def test_an_ordinary_name_is_unchanged(name):
    assert safe_file_name(name, ".npz") == f"{name}.npz"


def test_the_name_of_a_temporary_file_fits_every_file_system():
    for name, suffix in itertools.product(HOSTILE, (".npz", ".unread.json")):
        assert len(f".{safe_file_name(name, suffix)}.{2**32}.part.npz".encode()) < 255
