"""Of two commands that write to the same manifest or folder the second one is refused in one line."""

from pathlib import Path

import pytest

from data_prep.__main__ import main
from worldmodel.files.folder_lock import lock_file, lock_folder


@pytest.fixture
def manifest(video_folder, tmp_path: Path) -> Path:
    assert main(["index", str(video_folder(2)), "--out", str(tmp_path / "m.parquet"), "--workers", "1"]) == 0
    return tmp_path / "m.parquet"


@pytest.mark.parametrize("command", ["index", "transcode", "synthesize"])
def test_an_output_that_another_process_is_writing_is_refused(command: str, manifest: Path, tmp_path: Path, capsys):
    out = tmp_path / "out"
    arguments = {
        "index": ["index", str(tmp_path / "videos"), "--out", str(manifest)],
        "transcode": ["transcode", str(manifest), "--out", str(out)],
        "synthesize": ["synthesize", str(out), "--train", "2"],
    }[command]
    lock = lock_file(manifest, "...") if command == "index" else lock_folder(out, "...")
    before = manifest.read_bytes()
    capsys.readouterr()
    with lock:
        assert main([*arguments, "--workers", "1"]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"data_prep {command}: {manifest if command == 'index' else out} is in use by process")
        assert manifest.read_bytes() == before
    assert not out.exists()


def test_machines_that_share_the_work_of_one_folder_do_not_lock_each_other_out(tmp_path: Path):
    first, second = (["--shard", f"{rank}/2", "--workers", "1"] for rank in (0, 1))
    made = ["synthesize", str(tmp_path / "out"), "--train", "2", "--frames", "16"]
    with lock_folder(tmp_path / "out", "...", ".lock_0_of_2"):
        assert main([*made, *first]) == 1
        assert main([*made, *second]) == 0
