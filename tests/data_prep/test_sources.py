"""Search for videos: every file once, skipped files are reported, and the search always ends."""

import json
import os
import shutil
import tarfile
from fractions import Fraction

import av
import pytest

from data_prep.__main__ import main
from data_prep.sources import SkippedFiles, folder
from data_prep.sources.skipped import Int64Set
from worldmodel.files.output_mark import MARK_FILE, mark_new_folder, writer_of
from worldmodel.manifest import Manifest


def found(root):
    skipped = SkippedFiles()
    return sorted(os.path.relpath(item.name, root) for item in folder.find(root, skipped)), skipped


def problems(root):
    return {os.path.basename(item.path): item.problem for item in folder.find(root, SkippedFiles()) if item.problem}


def index(root, out, *options):
    return main(["index", str(root), "--out", str(out), "--workers", "1", *options])


def clips(manifest):
    table = Manifest.open(manifest)
    return [table.clip(row) for row in range(len(table))]


def fill(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


# --- links -------------------------------------------------------------------------------------------------------------
def test_a_link_to_itself_hides_nothing(tmp_path):
    fill(tmp_path, "a.mp4")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    assert found(tmp_path)[0] == ["a.mp4", "loop.mp4"]  # the inspection will report what is wrong with it


def test_folders_that_link_to_one_another_are_visited_once(tmp_path):
    for number in range(12):
        fill(tmp_path, f"{number}/a.mp4")
        for other in range(12):
            (tmp_path / str(number) / f"to {other}").symlink_to(tmp_path / str(other))
    names, skipped = found(tmp_path)
    assert len(names) == 12
    assert skipped.repeats == 144
    assert names == found(tmp_path)[0]


def test_one_file_under_several_names_is_one_video(tmp_path):
    fill(tmp_path, "z/real.mp4", "m.mp4")
    os.link(tmp_path / "m.mp4", tmp_path / "n.mp4")
    (tmp_path / "a.mp4").symlink_to(tmp_path / "z" / "real.mp4")
    names, skipped = found(tmp_path)
    assert names == ["a.mp4", "m.mp4"]
    assert skipped.lines(tmp_path) == ["2 links lead to files or folders that were already found"]


def test_a_folder_thousands_of_levels_deep_is_no_recursion_error(tmp_path):
    levels, before = 1100, os.getcwd()
    os.chdir(tmp_path)
    try:
        for _ in range(levels):
            os.mkdir("d")
            os.chdir("d")
        open("a.mp4", "w").close()
        assert len(found(tmp_path)[0]) == 1
        os.unlink("a.mp4")
        for _ in range(levels):  # shutil.rmtree is recursive itself
            os.chdir("..")
            os.rmdir("d")
    finally:
        os.chdir(before)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_named_and_never_opened(tmp_path):
    fill(tmp_path, "a.mp4")
    os.mkfifo(tmp_path / "p.mp4")
    os.mkfifo(tmp_path / "p.tar")
    assert problems(tmp_path) == {"p.mp4": "not a file", "p.tar": "not a file"}


def test_an_int64_set_knows_which_numbers_are_new():
    numbers = Int64Set()
    assert all(numbers.add(number * 7919 - 10**9) for number in range(30_000))
    assert not any(numbers.add(number * 7919 - 10**9) for number in range(0, 30_000, 97))
    assert numbers.add(1)
    assert not numbers.add(1)


# --- tars --------------------------------------------------------------------------------------------------------------
def tar_of(path, *members):
    with tarfile.open(path, "w") as tar:
        for name, file in members:
            tar.add(file, name)


def test_a_header_that_claims_seven_gigabytes_is_a_damaged_tar(tmp_path):
    head = tarfile.TarInfo("././@LongLink")
    head.type, head.size = tarfile.GNUTYPE_LONGNAME, 7 << 30
    (tmp_path / "a.tar").write_bytes(head.tobuf(tarfile.GNU_FORMAT) + b"x" * 2000)
    fill(tmp_path, "b.mp4")
    assert problems(tmp_path) == {"a.tar": "damaged tar"}
    assert "b.mp4" in found(tmp_path)[0]


def test_a_negative_size_in_a_tar_ends(tmp_path):
    head = bytearray(tarfile.TarInfo("a.mp4").tobuf(tarfile.GNU_FORMAT))
    head[124:136] = b"\xff" * 10 + b"\xfc\x00"
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    (tmp_path / "a.tar").write_bytes(bytes(head) + b"\0" * 2048)
    assert problems(tmp_path) == {"a.tar": "damaged tar"}


def test_of_members_with_one_name_the_last_counts_and_the_others_are_listed(tmp_path, numbered, make_video):
    early, late = make_video(tmp_path / "e.mp4", numbered(12)), make_video(tmp_path / "l.mp4", numbered(20))
    (tmp_path / "videos").mkdir()
    tar_of(tmp_path / "videos" / "t.tar", ("v.mp4", early), ("w.mp4", early), ("v.mp4", late))
    assert index(tmp_path / "videos", tmp_path / "m.parquet") == 0
    frames = {
        member: sum(c.frames for c in clips(tmp_path / "m.parquet") if c.member == member) for member in ("v.mp4", "w.mp4")
    }
    assert frames == {"v.mp4": 20, "w.mp4": 12}
    (row,) = map(json.loads, (tmp_path / "m.parquet.rejected.jsonl").read_text().splitlines())
    assert row["detail"].startswith("the tar has several members of this name")
    assert {**row, "detail": ""} == {"path": "videos/t.tar", "member": "v.mp4", "reason": "repeated member", "detail": ""}


# --- skipped files -----------------------------------------------------------------------------------------------
def test_skipped_files_are_counted_by_suffix(tmp_path, numbered, make_video, capsys):
    video = make_video(tmp_path / "videos" / "a.mp4", numbered(12))
    fill(tmp_path / "videos", "a.srt", "b.SRT", "b.jpg", "scan/1.tif", "scan/2.tif", "scan/3.exr", "README", "x.braw")
    tar_of(tmp_path / "videos" / "t.tar", ("a.json", video))
    assert index(tmp_path / "videos", tmp_path / "m.parquet") == 0
    message = "skipped: 2 .srt, 2 .tif, 1 without a suffix, 1 .braw, 1 .exr, 1 .jpg, 1 .json"
    assert message in capsys.readouterr().out
    (tmp_path / "videos" / "a.mp4").unlink()
    assert index(tmp_path / "videos", tmp_path / "n.parquet") == 1
    assert f"no videos in this folder or below it; {message}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("suffix", "codec", "options"),
    [(".MXF", "mpeg2video", {"format": "mxf"}), (".m2v", "mpeg2video", {}), (".nut", "mpeg4", {}), (".mjpeg", "mjpeg", {})],
)
def test_further_types_of_video_are_indexed_in_any_case(tmp_path, numbered, suffix, codec, options):
    (tmp_path / "videos").mkdir()
    with av.open(str(tmp_path / "videos" / f"a{suffix}"), "w", **options) as out:
        stream = out.add_stream(codec, rate=Fraction(25))
        stream.pix_fmt, stream.height, stream.width = ("yuvj420p" if codec == "mjpeg" else "yuv420p"), 96, 128
        for image in numbered(40, 96, 128):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(stream.encode(None))
    assert index(tmp_path / "videos", tmp_path / "m.parquet") == 0
    assert sum(clip.frames for clip in clips(tmp_path / "m.parquet")) == 40


# --- duplicates ----------------------------------------------------------------------------------------------------------
def test_copies_of_one_video_count_as_one_and_share_their_split(tmp_path, video_folder, capsys):
    folder = video_folder(12)
    for video in list(folder.iterdir()):
        shutil.copy(video, folder / f"copy of {video.name}")
    assert index(folder, tmp_path / "m.parquet") == 0  # 24 files, but 12 videos: few, so split in time
    message = capsys.readouterr().out
    assert "12 files have the same content as another" in message
    assert "fewer than 20" in message
    ranges = {}
    for clip in clips(tmp_path / "m.parquet"):
        ranges.setdefault(clip.content_hash, set()).add((clip.split, clip.start_s, clip.stop_s))
    assert all(sorted(split for split, _, _ in entry) == ["train", "val"] for entry in ranges.values())
    assert all(
        max(x[2] for x in entry if x[0] == "train") == min(x[1] for x in entry if x[0] == "val") for entry in ranges.values()
    )


def test_copies_of_one_video_fall_into_one_split_where_there_are_many(tmp_path, video_folder):
    folder = video_folder(24)
    for video in list(folder.iterdir()):
        shutil.copy(video, folder / f"copy of {video.name}")
    assert index(folder, tmp_path / "m.parquet", "--val", "0.4") == 0
    splits = {}
    for clip in clips(tmp_path / "m.parquet"):
        splits.setdefault(clip.content_hash, set()).add(clip.split)
    assert len(splits) == 24
    assert {len(of_one) for of_one in splits.values()} == {1}


# --- folders that this project filled --------------------------------------------------------------------------------------
def test_indexing_again_skips_copies_and_reports_it(tmp_path, video_folder, capsys):
    folder = video_folder(3)
    assert index(folder, folder / "m.parquet") == 0
    assert main(["transcode", str(folder / "m.parquet"), "--out", str(folder / "small"), "--workers", "1"]) == 0
    before = {clip.path for clip in clips(folder / "m.parquet")}
    capsys.readouterr()
    assert index(folder, folder / "m.parquet") == 0
    assert {clip.path for clip in clips(folder / "m.parquet")} == before
    message = capsys.readouterr().out
    assert "skipped because this project wrote them: small (3 files, written by python -m data_prep transcode)" in message
    assert index(folder / "small", tmp_path / "small.parquet") == 0  # a folder that is named is indexed
    assert len({clip.path for clip in clips(tmp_path / "small.parquet")}) == 3


@pytest.mark.parametrize(
    "notes",
    [
        {"transcode.json": '{"short_side_px": 80, "max_fps": null, "gop": 12}'},  # copies of an earlier version
        {".making/train.0-of-1.jsonl": ""},
        {"recipe.yaml": "", "checkpoints/00000400/state.json": ""},
        {"protocol.json": "", "traces.parquet": ""},
        {"gallery.html": "", "horizon.json": ""},
    ],
)
def test_output_folders_of_earlier_versions_are_recognised_by_their_files(tmp_path, notes):
    fill(tmp_path, "a.mp4", "made/clips/b.mp4", "made/c.mp4")
    for name, content in notes.items():
        (tmp_path / "made" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "made" / name).write_text(content)
    names, skipped = found(tmp_path)
    assert names == ["a.mp4"]
    assert [count for _, count in skipped.own_outputs.values()] == [2]


def test_a_file_of_the_user_with_such_a_name_marks_no_folder(tmp_path):
    fill(tmp_path, "mine/a.mp4")
    (tmp_path / "mine" / "transcode.json").write_text('{"preset": "my own tool"}')
    (tmp_path / "mine" / "recipe.yaml").write_text("cake")
    assert found(tmp_path)[0] == ["mine/a.mp4"]


def test_a_folder_with_files_of_a_user_is_never_marked(tmp_path):
    fill(tmp_path, "mine/a.mp4")
    mark_new_folder(tmp_path / "mine", "python -m worldmodel.rollout")
    mark_new_folder(tmp_path / "new", "python -m worldmodel.rollout")
    assert writer_of(tmp_path / "mine") is None
    assert writer_of(tmp_path / "new") == "python -m worldmodel.rollout"
    assert not (tmp_path / "mine" / MARK_FILE).exists()
