"""Something-Something v2, Kinetics, EPIC-KITCHENS-100 and lists: miniature copies in the layout in which they are published."""

import json
import os
from pathlib import Path

import pytest

from data_prep.__main__ import main
from data_prep.parallel import workers
from worldmodel.data.window_config import WindowConfig
from worldmodel.data.windows import WindowSource
from worldmodel.manifest import Clip, Manifest

FPS = 10


def index(root: Path, out: Path, *options: str) -> int:
    return main(["index", str(root), "--out", str(out), "--workers", "1", *options])


def clips(out: Path) -> list[Clip]:
    manifest = Manifest.open(out)
    return [manifest.clip(row) for row in range(len(manifest))]


def labelled(out: Path) -> dict[str, tuple[str | None, str]]:
    return {os.path.basename(clip.path): (clip.label, clip.split) for clip in clips(out)}


def reasons(out: Path) -> dict[str, str]:
    lines = (out.parent / f"{out.name}.rejected.jsonl").read_text().splitlines()
    return {os.path.basename(row["path"]): row["detail"] for row in map(json.loads, lines)}


def write_csv(path: Path, *rows: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(rows) + "\n")


@pytest.fixture
def videos(tmp_path, numbered, make_video):
    """Write videos of 12 frames that differ in content."""

    def write(*names: str, frames: int = 12, **options: object) -> Path:
        for number, name in enumerate(names):
            make_video(tmp_path / "set" / name, numbered(frames, first=20 * number), fps=FPS, **options)
        return tmp_path / "set"

    return write


# --- Something-Something v2 ----------------------------------------------------------------------------------------------
@pytest.fixture
def something(videos):
    root = videos("videos/1.webm", "videos/2.webm", "videos/3.webm", "videos/9.webm", codec="libvpx")
    lists = {
        "labels": {"Moving something up": "0", "Showing something": "1"},
        "train": [
            {"id": "1", "label": "moving a cup up", "template": "Moving [something] up", "placeholders": ["a cup"]},
            {"id": "4", "label": "showing a pen", "template": "Showing [something]", "placeholders": ["a pen"]},
        ],
        "validation": [{"id": "2", "template": "Showing [something]"}],
        "test": [{"id": "3"}],
    }
    for name, content in lists.items():
        (root / f"something-something-v2-{name}.json").write_text(json.dumps(content))
    return root


def test_something_something_has_the_classes_and_splits_of_its_lists(something, tmp_path, capsys):
    out = tmp_path / "m.parquet"
    assert index(something, out, "--source", "something_something_v2") == 0
    assert labelled(out) == {
        "1.webm": ("Moving something up", "train"),
        "2.webm": ("Showing something", "val"),
        "3.webm": (None, "test"),
    }
    message = capsys.readouterr().out
    assert "1 train, 1 val, 1 test, as the lists say" in message
    assert "1 rejected: 1 missing file" in message
    assert f"files that no list names: 1 (first: {something / 'videos' / '9.webm'})" in message
    assert "something-something-v2-train.json, item 2 lists it" in reasons(out)["4"]


def test_lists_may_lie_in_a_folder_and_a_split_changes_without_new_files(something, tmp_path):
    (something / "labels").mkdir()
    for path in something.glob("*.json"):
        path.rename(something / "labels" / path.name.removeprefix("something-something-v2-"))
    assert index(something, tmp_path / "m.parquet", "--source", "something_something_v2") == 0
    assert labelled(tmp_path / "m.parquet")["2.webm"] == ("Showing something", "val")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"id": "1"},\n {"id": }]', "line 2"),
        ('[{"id": "1"}, {"template": "x"}]', "train.json, item 2"),
        ('[{"id": "../1"}]', "train.json, item 1"),
        ('{"id": "1"}', "expected a list of objects"),
    ],
)
def test_a_damaged_list_is_named_with_the_place(something, tmp_path, capsys, content, message):
    (something / "something-something-v2-train.json").write_text(content)
    assert index(something, tmp_path / "m.parquet", "--source", "something_something_v2") == 1
    error = capsys.readouterr().err
    assert "something-something-v2-train.json" in error
    assert message in error


# --- Kinetics ------------------------------------------------------------------------------------------------------------
HEADER = "label,youtube_id,time_start,time_end,split"


def test_kinetics_files_are_found_by_id_and_time_in_any_folder(videos, tmp_path, capsys):
    root = videos("train/-a_b_000012_000022.mp4", "val/archery/x_000001_000011.mp4", "replacement/z_000000_000010.mp4")
    write_csv(root / "annotations" / "train.csv", HEADER, '"playing cards, badly",-a_b,12,22,train', "archery,gone,0,10,train")
    write_csv(root / "annotations" / "val.csv", HEADER, "archery,x,1,11,validate")
    write_csv(root / "annotations" / "test.csv", "youtube_id,time_start,time_end,split", "z,0.0,10.0,test")
    out = tmp_path / "m.parquet"
    assert index(root, out, "--source", "kinetics") == 0
    assert labelled(out) == {
        "-a_b_000012_000022.mp4": ("playing cards, badly", "train"),
        "x_000001_000011.mp4": ("archery", "val"),
        "z_000000_000010.mp4": (None, "test"),
    }
    assert "train.csv, line 3 lists it" in reasons(out)["gone_000000_000010"]
    assert "2 classes" in capsys.readouterr().out


def test_kinetics_lists_without_a_column_split_take_it_from_their_name(videos, tmp_path):
    root = videos("a_000000_000010.mp4", "b_000000_000010.mp4")
    write_csv(root / "train.csv", "label,youtube_id,time_start,time_end", "archery,a,0,10")
    write_csv(root / "val.csv", "label,youtube_id,time_start,time_end", "archery,b,0,10")
    assert index(root, tmp_path / "m.parquet", "--source", "kinetics") == 0
    assert labelled(tmp_path / "m.parquet") == {
        "a_000000_000010.mp4": ("archery", "train"),
        "b_000000_000010.mp4": ("archery", "val"),
    }


def test_class_folders_of_kinetics_without_a_list_give_split_and_class(videos, tmp_path):
    root = videos("train/archery/a_000000_000010.mp4", "val/high jump/b_000000_000010.mp4")
    assert index(root, tmp_path / "m.parquet", "--source", "kinetics") == 0
    assert labelled(tmp_path / "m.parquet") == {
        "a_000000_000010.mp4": ("archery", "train"),
        "b_000000_000010.mp4": ("high jump", "val"),
    }


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("archery,a,zero,10,train", "line 2: time_start is 'zero'; expected seconds"),
        ("archery,a,0,10,trian", "line 2: split is 'trian'; expected one of train"),
        ("archery,a,0,10", "line 2: 4 fields; the header has 5"),
    ],
)
def test_a_row_of_kinetics_that_does_not_parse_is_named(videos, tmp_path, capsys, row, message):
    root = videos("a_000000_000010.mp4")
    write_csv(root / "list.csv", HEADER, row)
    assert index(root, tmp_path / "m.parquet", "--source", "kinetics") == 1
    assert f"list.csv, {message}" in capsys.readouterr().err


def test_a_list_is_recognised_by_its_header_and_a_folder_only_gets_advice(videos, tmp_path, capsys):
    root = videos("a_000000_000010.mp4", "b_000000_000010.mp4")
    write_csv(root / "list.csv", HEADER, "archery,a,0,10,test", "archery,b,0,10,train")
    assert index(root / "list.csv", tmp_path / "m.parquet") == 0
    assert labelled(tmp_path / "m.parquet")["a_000000_000010.mp4"] == ("archery", "test")
    capsys.readouterr()
    assert index(root, tmp_path / "n.parquet") == 0
    assert "--source kinetics takes labels and splits from it" in capsys.readouterr().out
    assert {clip.label for clip in clips(tmp_path / "n.parquet")} == {None}


# --- EPIC-KITCHENS-100 ---------------------------------------------------------------------------------------------------
EPIC = (
    "narration_id,participant_id,video_id,start_timestamp,stop_timestamp,start_frame,stop_frame,verb,verb_class,noun,noun_class"
)


@pytest.fixture
def epic(videos):
    root = videos("P01/videos/P01_01.MP4", "P02/videos/P02_03.MP4", frames=60)
    write_csv(
        root / "annotations" / "EPIC_100_train.csv",
        EPIC,
        "P01_01_0,P01,P01_01,00:00:00.14,00:00:02.37,8,202,take,0,plate,2",
        "P01_01_1,P01,P01_01,00:00:02.00,00:00:04.50,8,202,put-down,1,plate,2",
        "P01_01_2,P01,P01_01,00:00:05.50,00:00:09.00,8,202,take,0,cup,13",
        "P01_01_3,P01,P01_01,00:00:07.00,00:00:09.00,8,202,take,0,cup,13",
        "P09_01_0,P09,P09_01,00:00:00.00,00:00:02.00,8,202,take,0,cup,13",
    )
    folder = root / "annotations"
    write_csv(folder / "EPIC_100_validation.csv", EPIC, "P02_03_0,P02,P02_03,00:00:01.00,00:00:03.00,8,202,take,0,cup,13")
    write_csv(folder / "EPIC_100_retrieval_train.csv", EPIC, "x,P01,P01_01,00:00:00.00,00:00:03.00,8,202,take,0,cup,13")
    return root


def test_segments_are_clips_of_the_uncut_video_and_hold_whole_frames_only(epic, tmp_path, capsys):
    out = tmp_path / "m.parquet"
    assert index(epic, out, "--source", "epic_kitchens") == 0
    spans = [(clip.start_s, clip.stop_s, clip.frames, clip.label, clip.split) for clip in clips(out)]
    assert spans == [
        (pytest.approx(0.2), pytest.approx(2.3), 21, "0 2", "train"),
        (pytest.approx(2.0), pytest.approx(4.5), 25, "1 2", "train"),
        (pytest.approx(1.0), pytest.approx(3.0), 20, "0 13", "val"),
    ]
    assert len({clip.path for clip in clips(out)}) == 2
    message = capsys.readouterr().out
    assert "3 rejected: 1 segment too short, 1 segment past the end, 1 missing file" in message
    rejected = (tmp_path / "m.parquet.rejected.jsonl").read_text()
    assert "[5.500, 9.000) s holds 5 frames" in rejected  # the video ends at 6 s
    assert "[7.000, 9.000) s begins after the end" in rejected


def test_no_window_leaves_its_segment(epic, tmp_path):
    assert index(epic, tmp_path / "m.parquet", "--source", "epic_kitchens") == 0
    source = WindowSource(Manifest.open(tmp_path / "m.parquet"), "train", WindowConfig(frames=8, fps=5, size_px=32))
    for fraction in (0.0, 0.5, 0.999):
        times = [source.window_at(index, fraction).times_s for index in range(len(source))]
        assert all(0.14 <= time < 2.37 for time in times[0])
        assert all(2.0 <= time < 4.5 for time in times[-1])


def test_classes_are_named_where_their_lists_are_there(epic, tmp_path):
    write_csv(epic / "annotations" / "EPIC_100_verb_classes.csv", "id,key,instances", "0,take,[]", "1,put-down,[]")
    write_csv(epic / "annotations" / "EPIC_100_noun_classes.csv", "id,key,instances", "2,plate,[]", "13,cup,[]")
    assert index(epic, tmp_path / "m.parquet", "--source", "epic_kitchens") == 0
    assert [clip.label for clip in clips(tmp_path / "m.parquet")] == ["take plate", "put-down plate", "take cup"]


def test_a_timestamp_that_does_not_parse_is_named(epic, tmp_path, capsys):
    path = epic / "annotations" / "EPIC_100_train.csv"
    path.write_text(path.read_text().replace("00:00:02.00,", "2 s,", 1))
    assert index(epic, tmp_path / "m.parquet", "--source", "epic_kitchens") == 1
    assert "EPIC_100_train.csv, line 3: start_timestamp is '2 s'" in capsys.readouterr().err


# --- path and label ------------------------------------------------------------------------------------------------------
def test_a_folder_of_lists_of_path_and_label_gives_the_splits(videos, tmp_path):
    root = videos("a.mp4", "b b.mp4", "c.mp4")
    for name, line in (("train", "a.mp4 3"), ("val", "b b.mp4 0"), ("test", "c.mp4 1")):
        write_csv(root / f"{name}.csv", line)
    assert index(root, tmp_path / "m.parquet", "--source", "csv") == 0
    assert labelled(tmp_path / "m.parquet") == {"a.mp4": ("3", "train"), "b b.mp4": ("0", "val"), "c.mp4": ("1", "test")}


def test_equal_contents_in_several_official_splits_are_told(videos, tmp_path, capsys):
    root = videos("a.mp4", "b.mp4")
    (root / "copy.mp4").write_bytes((root / "a.mp4").read_bytes())
    for name, line in (("train", "a.mp4 3\nb.mp4 2"), ("val", "copy.mp4 3")):
        write_csv(root / f"{name}.csv", line)
    assert index(root, tmp_path / "m.parquet", "--source", "csv") == 0
    assert "the lists put 1 contents into several splits" in capsys.readouterr().out


def test_a_changed_list_starts_an_unfinished_index_again(videos, tmp_path, monkeypatch):
    root, real, inspected = videos("a.mp4", "b.mp4", "c.mp4"), workers.run_each, []
    write_csv(root / "train.csv", "a.mp4 0", "b.mp4 0", "c.mp4 0")

    def stopped(work, items, *args):
        for item, result in real(work, items, *args):
            inspected.append(item.label)
            if len(inspected) == 2:
                raise KeyboardInterrupt
            yield item, result

    monkeypatch.setattr(workers, "run_each", stopped)
    assert index(root, tmp_path / "m.parquet", "--source", "csv") == 130
    write_csv(root / "train.csv", "b.mp4 0", "c.mp4 0")
    write_csv(root / "val.csv", "a.mp4 0")
    assert index(root, tmp_path / "m.parquet", "--source", "csv") == 0
    assert labelled(tmp_path / "m.parquet")["a.mp4"] == ("0", "val")


@pytest.mark.parametrize(
    "url", ["https://h/a b.mp4?sig=SECRET", "s3://me:SECRET@bucket/a.mp4", "s3://b/a?X-Amz-Signature=SECRET"]
)
def test_a_url_with_a_secret_in_a_list_is_refused_by_its_line_and_written_nowhere(tmp_path, url, capsys):
    write_csv(tmp_path / "list.csv", "https://host/good.mp4 0", f"{url} 1")
    assert index(tmp_path / "list.csv", tmp_path / "m.parquet", "--source", "csv") == 1
    printed = "".join(capsys.readouterr())
    assert f"{tmp_path / 'list.csv'}, line 2: " in printed
    assert "SECRET" not in printed
    assert not list(tmp_path.glob("m.parquet*.jsonl"))
