"""Claims about OUT of the commands of eval: results of another model, and files of the user, are not replaced."""

import json
from pathlib import Path

import pytest

from eval.errors import EvalError
from eval.result_folder import check_same_model, result_folder
from worldmodel.files.outputs import ForeignFileError

MODEL = {"name": "demo", "hash": "0123456789abcdef"}


def result(file: Path, data: str = "videos/a.parquet", **model: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"made": {"model": MODEL | model}, "data": {"manifest": data, "split": "val"}}))
    return file


def test_results_of_another_model_or_of_other_videos_are_not_replaced(tmp_path: Path):
    file = result(tmp_path / "probe.json")
    check_same_model(file, MODEL["hash"], "videos/a.parquet", "val")
    check_same_model(file, MODEL["hash"], "other/../videos/a.parquet", "val")
    check_same_model(tmp_path / "nothing.json", MODEL["hash"], "videos/a.parquet", "val")
    with pytest.raises(EvalError, match=r"another model, demo .*another --out"):
        check_same_model(file, "f" * 16, "videos/a.parquet", "val")
    for data, split in (("videos/b.parquet", "val"), ("videos/a.parquet", "test")):
        with pytest.raises(EvalError, match="of other videos"):
            check_same_model(file, MODEL["hash"], data, split)


def test_a_folder_of_an_earlier_version_is_known_by_its_main_file(tmp_path: Path):
    for name in ("old", "mine"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "probe.md").write_text("a table")
    result(tmp_path / "old" / "probe.json")
    with result_folder(tmp_path / "old", ("probe.json", "probe.md"), "probe.json"):
        (tmp_path / "old" / "probe.md").write_text("a new table")
    with pytest.raises(ForeignFileError), result_folder(tmp_path / "mine", ("probe.json", "probe.md"), "probe.json"):
        pass


def test_a_file_that_was_edited_by_hand_is_not_replaced(tmp_path: Path):
    def write() -> None:
        with result_folder(tmp_path, ("probe.json", "probe.md"), "probe.json"):
            result(tmp_path / "probe.json")
            (tmp_path / "probe.md").write_text("a table")

    write()
    write()
    (tmp_path / "probe.md").write_text("a table, and what I think of it")
    with pytest.raises(ForeignFileError, match=r"probe\.md"):
        write()
