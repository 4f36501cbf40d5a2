"""Output folders: a command replaces the files that it wrote, and no others."""

from pathlib import Path

import pytest

from worldmodel.files.outputs import RECORD, ForeignFileError, output_file, output_folder, record_outputs


def write(folder: Path, text: str, *names: str) -> None:
    with output_folder(folder, names):
        for name in names:
            (folder / name).write_text(text)


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_a_command_replaces_its_own_files_and_those_of_a_folder_that_was_copied(tmp_path: Path):
    write(tmp_path / "out", "1", "a.json", "b.md")
    (tmp_path / "out").rename(tmp_path / "moved")
    write(tmp_path / "moved", "2", "a.json", "b.md", "c.png")
    assert (tmp_path / "moved" / "a.json").read_text() == "2"
    assert visible(tmp_path / "moved") == ["a.json", "b.md", "c.png"]


def test_a_file_of_another_origin_is_named_and_nothing_is_written(tmp_path: Path):
    (tmp_path / "b.md").write_text("mine")
    with pytest.raises(ForeignFileError, match=r"b\.md would be overwritten.*or give another --out"):
        write(tmp_path, "1", "a.json", "b.md")
    assert (tmp_path / "b.md").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.md"]


def test_a_file_that_was_changed_or_replaced_since_is_not_overwritten(tmp_path: Path):
    write(tmp_path, "1", "a.json")
    (tmp_path / "a.json").write_text("1, and a remark of mine")
    with pytest.raises(ForeignFileError, match="was changed since"):
        write(tmp_path, "2", "a.json")
    assert (tmp_path / "a.json").read_text() == "1, and a remark of mine"


def test_a_link_to_a_file_of_the_user_is_not_followed(tmp_path: Path):
    (tmp_path / "mine.md").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.md").symlink_to(tmp_path / "mine.md")
    with pytest.raises(ForeignFileError):
        write(tmp_path / "out", "1", "a.md")
    assert (tmp_path / "mine.md").read_text() == "mine"


def test_files_of_a_killed_command_are_replaced(tmp_path: Path):
    folder = output_folder(tmp_path, ["a.json", "b.md"])
    folder.__enter__()
    (tmp_path / "a.json").write_text("half")
    (tmp_path / ".lock").unlink()  # the process has ended, and its lock was taken over
    write(tmp_path, "2", "a.json", "b.md")
    assert (tmp_path / "a.json").read_text() == "2"


def test_an_error_leaves_no_record_where_nothing_was_written(tmp_path: Path):
    with pytest.raises(ZeroDivisionError), output_folder(tmp_path / "out", ["a.json"]):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_the_user_is_not_overwritten(tmp_path: Path):
    (tmp_path / "maps").mkdir()
    with pytest.raises(ForeignFileError, match="maps would be overwritten"), output_folder(tmp_path, ["maps"]):
        pass
    (tmp_path / "maps").rmdir()
    for _ in range(2):
        with output_folder(tmp_path, ["maps"]):
            (tmp_path / "maps").mkdir(exist_ok=True)


def test_files_of_an_earlier_version_are_adopted_once_and_then_recorded(tmp_path: Path):
    (tmp_path / "scores.json").write_text("by an earlier version")
    with output_folder(tmp_path, ["scores.json"], adopt_unrecorded=True):
        (tmp_path / "scores.json").write_text("2")
    write(tmp_path, "3", "scores.json")
    (tmp_path / "scores.json").write_text("3, and a remark of mine")
    with pytest.raises(ForeignFileError), output_folder(tmp_path, ["scores.json"], adopt_unrecorded=True):
        pass


def test_a_recorded_name_that_was_not_written_belongs_to_the_user(tmp_path: Path):
    with output_folder(tmp_path, ["a.json", "maps"]):
        (tmp_path / "a.json").write_text("1")
    (tmp_path / "maps").mkdir()
    with pytest.raises(ForeignFileError, match="maps"), output_folder(tmp_path, ["a.json", "maps"], adopt_unrecorded=True):
        pass


def test_an_owned_folder_is_written_regardless_of_the_record(tmp_path: Path):
    write(tmp_path, "1", "recipe.yaml")
    (tmp_path / "recipe.yaml").write_text("changed by hand to go on otherwise")
    with record_outputs(tmp_path, ["recipe.yaml"], owned=True):
        (tmp_path / "recipe.yaml").write_text("2")


def test_one_file_is_replaced_only_by_the_command_that_made_it(tmp_path: Path):
    for text in ("1", "2"):
        with output_file(tmp_path / "page.html"):
            (tmp_path / "page.html").write_text(text)
    (tmp_path / "notes.html").write_text("mine")
    with pytest.raises(ForeignFileError), output_file(tmp_path / "notes.html"):
        pass
    assert (tmp_path / RECORD).exists()
