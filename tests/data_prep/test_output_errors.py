"""Errors of the output end a command, and are distinguished from errors of the input."""

import errno
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from data_prep.__main__ import main
from data_prep.pool import run_each
from worldmodel.files.atomic import atomic_path
from worldmodel.files.output_errors import OutputError, output_errors
from worldmodel.manifest import Manifest
from worldmodel.video import VideoError, write_video

resource = pytest.importorskip("resource", reason="limits of the size of files are POSIX")

LIMITED = """
import resource, sys
from data_prep.__main__ import main
if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
    sys.exit(main(sys.argv[2:]))
"""


def with_limit(limit, *arguments):
    """A command whose files cannot exceed a limit in bytes, as on a disk that is almost full."""
    return subprocess.run([sys.executable, "-c", LIMITED, str(limit), *arguments], capture_output=True, text=True)


@pytest.fixture
def indexed(tmp_path, numbered, make_video):
    """A manifest of two small videos and, in between, one whose copy is large."""
    rng = np.random.default_rng(0)
    make_video(tmp_path / "videos" / "a.mp4", numbered(12))
    make_video(tmp_path / "videos" / "b.mp4", rng.integers(0, 255, (30, 128, 128, 3), np.uint8))
    make_video(tmp_path / "videos" / "c.mp4", numbered(12, first=40))
    assert main(["index", str(tmp_path / "videos"), "--out", str(tmp_path / "m.parquet"), "--workers", "1"]) == 0
    return tmp_path / "m.parquet"


def transcode(manifest, out, workers="1"):
    return ["transcode", str(manifest), "--out", str(out), "--workers", workers, "--short-side-px", "128"]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_full_disk_ends_transcoding_and_rejects_no_source(tmp_path, indexed, workers):
    out = tmp_path / "small"
    done = with_limit(40_000, *transcode(indexed, out, workers))
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("data_prep")]
    assert f"{os.strerror(errno.EFBIG)} (" in line
    assert "MB left)" in line
    assert line.endswith("the same command resumes from here")
    left = {path.name: path for path in out.rglob("*") if path.is_file()}
    assert not [name for name in left if name.endswith((".part", ".jsonl", ".parquet"))]
    finished = [path for path in left.values() if path.suffix == ".mp4" and path.with_suffix(".json").exists()]
    copies = {path: path.stat().st_mtime_ns for path in finished}  # a note beside a copy proves that it is complete
    assert len(copies) >= (workers == "1")  # finished copies stay; with two workers, the large one may end first
    assert main(transcode(indexed, out)) == 0
    assert len(Manifest.open(out / "manifest.parquet")) == 6
    assert {path: path.stat().st_mtime_ns for path in copies} == copies


def test_a_full_disk_ends_an_index_and_loses_nothing(tmp_path, indexed):
    arguments = ["index", str(tmp_path / "videos"), "--out", str(tmp_path / "n.parquet"), "--workers", "1"]
    for limit in (50, 500, 2500):  # limits in bytes: in the head of the journal, in its lines, in the manifest
        done = with_limit(limit, *arguments)
        assert done.returncode == 1
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("data_prep")]
        assert "cannot be written" in line
        assert not (tmp_path / "n.parquet").exists()
        assert not list(tmp_path.glob("*.part"))
    assert main(arguments) == 0
    assert len(Manifest.open(tmp_path / "n.parquet")) == 6


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_full_disk_ends_synthesis(tmp_path, workers):
    out = tmp_path / "videos"
    done = with_limit(1000, "synthesize", str(out), "--train", "3", "--size-px", "32", "--workers", workers)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("data_prep")]
    assert "cannot be written" in line
    assert not list(out.rglob("*.part"))


def test_a_video_is_not_half_written_on_a_full_disk(tmp_path):
    rng = np.random.default_rng(0)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        for name in ("a.mp4", "a.gif"):
            with pytest.raises(OutputError, match=f"{name}: cannot be written"):
                write_video(tmp_path / name, rng.integers(0, 255, (20, 128, 128, 3), np.uint8), 10)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match=r"a\.mp4"):
        write_video(tmp_path / "gone" / "a.mp4", np.zeros((3, 16, 16, 3), np.uint8), 10)
    with pytest.raises(OutputError, match=r"a\.txt"), atomic_path(tmp_path / "gone" / "a.txt") as part:
        part.write_text("words")


def test_read_errors_within_a_block_that_writes_are_not_output_errors(tmp_path):
    with pytest.raises(FileNotFoundError) as raised, atomic_path(tmp_path / "a.txt") as part:
        part.write_text((tmp_path / "gone.txt").read_text())
    assert not isinstance(raised.value, OutputError)
    with pytest.raises(OSError, match="disk is broken") as raised, atomic_path(tmp_path / "a.txt"):
        raise OSError(errno.EIO, "disk is broken", "source.mp4")
    assert not isinstance(raised.value, OutputError)
    with pytest.raises(VideoError), output_errors(tmp_path / "a.txt"):
        raise VideoError("source.mp4", "corrupt")


def unwritable(task):
    if task == 2:
        raise OutputError.of(errno.ENOSPC, f"/{task}.mp4")
    return task


def test_an_output_error_of_a_worker_ends_the_run():
    results = run_each(unwritable, range(1000), workers=2, timeout_s=30)
    with pytest.raises(OutputError) as raised:
        list(results)
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, "/2.mp4")


def test_one_clip_that_its_copy_does_not_hold_is_listed_and_the_rest_is_written(tmp_path, indexed):
    import pyarrow.parquet as pq

    table = pq.read_table(indexed)
    starts, stops = table["start_s"].to_pylist(), table["stop_s"].to_pylist()
    starts[1], stops[1] = 50.0, 60.0
    for name, values in (("start_s", starts), ("stop_s", stops)):
        table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), [values])
    pq.write_table(table, tmp_path / "beyond.parquet")
    assert main(transcode(tmp_path / "beyond.parquet", tmp_path / "small")) == 0
    assert len(Manifest.open(tmp_path / "small" / "manifest.parquet")) == 5
    (row,) = map(json.loads, (tmp_path / "small" / "manifest.parquet.rejected.jsonl").read_text().splitlines())
    assert row["detail"].startswith("the clip is [50.000, 60.000) s, its copy ends at 1.2")
    del row["detail"]
    assert row == {"path": str(tmp_path / "videos" / "a.mp4"), "member": None, "reason": "past the end"}


def test_a_damaged_copy_is_made_again(tmp_path, indexed):
    out = tmp_path / "small"
    assert main(transcode(indexed, out)) == 0
    copy = next(iter(out.rglob("*.mp4")))
    whole = copy.read_bytes()
    copy.write_bytes(whole[:100])
    assert main(transcode(indexed, out)) == 0
    assert copy.read_bytes() == whole
