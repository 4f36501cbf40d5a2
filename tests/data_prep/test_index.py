"""`python -m data_prep index`: every video is inspected once, unusable ones are listed, splits are stable."""

import json
import os
import signal
import subprocess
import sys
import tarfile
import time

import pyarrow.parquet as pq
import pytest
from PIL import Image

from data_prep.__main__ import main
from data_prep.content_hash import content_hash
from worldmodel.manifest import Manifest
from worldmodel.video import read_frames


def index(root, out, *options):
    return main(["index", str(root), "--out", str(out), "--workers", "1", *options])


def clips(out):
    manifest = Manifest.open(out)
    return [manifest.clip(row) for row in range(len(manifest))]


def reasons(out):
    lines = (out.parent / f"{out.name}.rejected.jsonl").read_text().splitlines()
    return {os.path.basename(row["path"]): row["reason"] for row in map(json.loads, lines)}


def test_few_files_are_split_in_time(tmp_path, video_folder, number_of):
    out = tmp_path / "m.parquet"
    assert index(video_folder(3), out) == 0
    first = clips(out)[:2]
    assert [clip.split for clip in first] == ["train", "val"]
    assert [clip.frames for clip in first] == [10, 2]
    assert (first[0].start_s, first[0].stop_s) == (0.0, first[1].start_s)
    assert first[1].stop_s == pytest.approx(1.2)
    assert number_of(read_frames(first[1].path, times_s=[first[1].start_s])[0]) == 10  # the first that is held out
    assert len({clip.clip_id for clip in clips(out)}) == 6
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.parquet", "videos"]


def test_added_files_change_no_split(tmp_path, video_folder):
    fractions = ("--val", "0.2", "--test", "0.2")
    folder = video_folder(40)
    hidden = [path.rename(tmp_path / path.name) for path in sorted(folder.iterdir())[::3]]
    assert index(folder, tmp_path / "before.parquet", *fractions) == 0
    for path in hidden:
        path.rename(folder / f"new {path.name}")
    assert index(folder, tmp_path / "after.parquet", *fractions) == 0
    before = {clip.path: (clip.clip_id, clip.split) for clip in clips(tmp_path / "before.parquet")}
    after = {clip.path: (clip.clip_id, clip.split) for clip in clips(tmp_path / "after.parquet")}
    assert (len(before), len(after)) == (26, 40)
    assert before.items() <= after.items()
    assert {split for _, split in after.values()} == {"train", "val", "test"}


def test_every_unusable_file_is_listed_with_its_reason(tmp_path, video_folder, numbered, make_video, capsys):
    folder = video_folder(2)
    whole = (folder / "000.mp4").read_bytes()
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("hello\n" * 100)
    (folder / "half.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "codec.mp4").write_bytes(whole.replace(b"avc1", b"zzzz"))
    (folder / "notes.txt").write_text("no video, and not meant to be one")
    (folder / "gone.mp4").symlink_to(tmp_path / "nowhere")
    (folder / "packed.tar.gz").write_bytes(b"")
    (folder / "broken.tar").write_bytes(b"no tar" * 200)
    (folder / "loop").symlink_to(folder)
    make_video(folder / "short.mp4", numbered(3))
    out = tmp_path / "m.parquet"
    assert index(folder, out) == 0
    assert reasons(out) == {
        "empty.mp4": "empty file",
        "text.mp4": "not a video",
        "half.mp4": "truncated",
        "codec.mp4": "unreadable codec",
        "gone.mp4": "missing file",
        "packed.tar.gz": "compressed tar",
        "broken.tar": "damaged tar",
        "short.mp4": "too short",
    }
    assert len(clips(out)) == 4
    assert "8 rejected" in capsys.readouterr().out


def test_a_tar_and_a_folder_of_frames_are_found(tmp_path, video_folder, numbered):
    folder = video_folder(1)
    with tarfile.open(folder / "shard.tar", "w") as tar:
        tar.add(folder / "000.mp4", "../in.mp4")
    (folder / "frames").mkdir()
    for number, frame in enumerate(numbered(15)):
        Image.fromarray(frame).save(folder / "frames" / f"{number}.png")
    out = tmp_path / "m.parquet"
    assert index(folder, out) == 0
    found = {(os.path.basename(clip.path), clip.member, clip.codec) for clip in clips(out)}
    assert found == {("000.mp4", None, "h264"), ("shard.tar", "../in.mp4", "h264"), ("frames", None, "png")}
    for clip in clips(out):
        assert read_frames(clip.path, times_s=[clip.start_s], member=clip.member).shape == (1, 48, 64, 3)
    hashes = {clip.content_hash for clip in clips(out) if clip.codec == "h264"}
    assert hashes == {content_hash(str(folder / "000.mp4"), None)}  # the same content, in the tar or out of it


def test_classes_are_the_first_folder(tmp_path, video_folder):
    folder = video_folder(2)
    (folder / "rope skipping" / "deep").mkdir(parents=True)
    (folder / "000.mp4").rename(folder / "rope skipping" / "deep" / "a.mp4")
    assert index(folder, tmp_path / "m.parquet", "--source", "classes", "--name", "toy") == 0
    assert {(clip.label, clip.source) for clip in clips(tmp_path / "m.parquet")} == {("rope skipping", "toy"), (None, "toy")}


def test_a_list_in_the_format_of_vjepa_is_imported(tmp_path, video_folder):
    folder = video_folder(3)
    (folder / "000.mp4").rename(folder / "a b.mp4")
    lines = ["videos/a b.mp4 7", f"{folder / '001.mp4'} 0", '"videos/002.mp4" 12', "videos/gone.mp4 3", ""]
    (tmp_path / "train.csv").write_text("\n".join(lines))
    out = tmp_path / "m.parquet"
    assert index(tmp_path / "train.csv", out) == 0
    labels = {os.path.basename(clip.path): clip.label for clip in clips(out)}
    assert labels == {"a b.mp4": "7", "001.mp4": "0", "002.mp4": "12"}
    assert reasons(out) == {"gone.mp4": "missing file"}


@pytest.mark.parametrize(
    ("root", "out", "message"),
    [
        ("none", "m.parquet", "no such folder"),
        ("empty", "m.parquet", "it is empty"),
        ("texts", "m.parquet", "no videos in this folder or below it; skipped: 1 .txt"),
        ("bad", "m.parquet", "none of 1 files can be used: 1 empty file"),
        ("bad", "texts", "--out is a folder"),
        ("bad", "texts/a.txt/m.parquet", "a.txt"),
    ],
)
def test_an_error_is_one_line_and_gives_a_nonzero_exit_code(tmp_path, capsys, root, out, message):
    for name in ("empty", "texts", "bad"):
        (tmp_path / name).mkdir()
    (tmp_path / "texts" / "a.txt").write_text("text")
    (tmp_path / "bad" / "a.mp4").touch()
    assert index(tmp_path / root, tmp_path / out) != 0
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("data_prep index: ")
    assert message in line
    assert not [path for path in tmp_path.rglob("*") if "parquet" in path.name and "rejected" not in path.name]


def test_a_killed_run_resumes_to_the_same_manifest(tmp_path, video_folder):
    folder = video_folder(60)
    (folder / "bad.mp4").touch()
    whole, cut = tmp_path / "whole.parquet", tmp_path / "cut.parquet"
    assert index(folder, whole) == 0
    command = [sys.executable, "-m", "data_prep", "index", str(folder), "--out", str(cut), "--workers", "1"]
    journal, before = tmp_path / "cut.parquet.part.jsonl", 0
    for more in (5, 10):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while process.poll() is None and (not journal.exists() or journal.read_bytes().count(b"\n") < before + more):
            time.sleep(0.001)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert not cut.exists()
        assert journal.read_bytes().count(b"\n") >= before + more
        before = journal.read_bytes().count(b"\n")
    with open(journal, "ab") as file:
        file.write(b'{"path": "cut in the mid')  # as a kill in the middle of a line leaves it
    assert index(folder, cut) == 0
    assert pq.read_table(cut).equals(pq.read_table(whole))
    assert reasons(cut) == reasons(whole) == {"bad.mp4": "empty file"}
    assert not journal.exists()


def test_a_resumed_run_inspects_no_file_twice(tmp_path, video_folder, monkeypatch):
    folder, inspected = video_folder(6), []

    def until_the_fourth(work, items, workers, timeout_s):
        for item in items:
            inspected.append(item.path)
            if len(inspected) == 4:
                raise KeyboardInterrupt
            yield item, work(item)

    monkeypatch.setattr("data_prep.parallel.workers.run_each", until_the_fourth)
    assert index(folder, tmp_path / "m.parquet") == 130
    assert index(folder, tmp_path / "m.parquet") == 0
    assert len(inspected) == 7  # the fourth was not finished
    assert len(set(inspected)) == 6


def test_a_line_of_an_earlier_version_is_inspected_again(tmp_path, video_folder, monkeypatch):
    folder, out = video_folder(3), tmp_path / "m.parquet"
    monkeypatch.setattr("data_prep.commands.index.write_index", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert index(folder, out) == 130
    journal = tmp_path / "m.parquet.part.jsonl"
    settings, *lines = map(json.loads, journal.read_text().splitlines())
    del lines[1]["held_out_s"]
    journal.write_text("".join(json.dumps(line) + "\n" for line in (settings, *lines)))
    monkeypatch.undo()
    assert index(folder, out) == 0
    assert len(clips(out)) == 6


def test_a_journal_with_other_settings_is_started_again(tmp_path, video_folder):
    folder, out = video_folder(2), tmp_path / "m.parquet"
    (tmp_path / "m.parquet.part.jsonl").write_text('{"root": "elsewhere"}\n{"path": "x"}\n')
    assert index(folder, out) == 0
    assert len(clips(out)) == 4


def test_videos_that_are_read_from_their_start_are_counted_and_marked_in_the_manifest(tmp_path, numbered, make_video, capsys):
    make_video(tmp_path / "videos" / "a.avi", numbered(40), fps=25, bf=2, g=12)
    make_video(tmp_path / "videos" / "b.mp4", numbered(40), fps=25, bf=2, g=12)
    assert main(["index", str(tmp_path / "videos"), "--out", str(tmp_path / "m.parquet"), "--workers", "1"]) == 0
    assert "1 video does not say when frames are shown" in capsys.readouterr().out
    assert Manifest.open(tmp_path / "m.parquet").column("timing").tolist() == ["order", "order", "packets", "packets"]
