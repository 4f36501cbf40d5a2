"""Contact sheets of manifests: which clips are chosen, and what is drawn of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from data_prep.__main__ import main
from data_prep.clip_sheets import choose_rows, draw_sheet, even_times, read_row
from worldmodel.manifest import Clip, Manifest, write_manifest
from worldmodel.signals import Channel, Signals, write_signals
from worldmodel.video import write_video

FPS, HEIGHT = 10, 32


def clip_of(path: Path, number: int = 0, **changes: object) -> Clip:
    clip = Clip(f"id{number}", str(path), None, 0.0, 2.0, FPS, 20, 48, 32, 0, "h264", "train", None, None, "test", str(number))
    return replace(clip, **changes)


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    """Frame i is grey with level 10 * i."""
    path = tmp_path_factory.mktemp("videos") / "a.mp4"
    frames = np.broadcast_to((10 * np.arange(20))[:, None, None, None], (20, 32, 48, 3)).astype(np.uint8)
    write_video(path, frames, FPS, lossless=True)
    return path


def test_rows_show_all_splits_and_as_many_classes_as_fit(video, tmp_path):
    splits = ["train"] * 90 + ["val"] * 9 + ["excluded"]
    clips = [clip_of(video, n, split=split, label=f"class {n // 10}") for n, split in enumerate(splits)]
    write_manifest(tmp_path / "m.parquet", clips, command="test", config={})
    manifest = Manifest.open(tmp_path / "m.parquet")
    rows = choose_rows(manifest, 6)
    assert {splits[row] for row in rows} == {"train", "val", "excluded"}
    assert len(set(choose_rows(manifest, 9, split="train") // 10)) == 9
    assert set(choose_rows(manifest, 5, label="class 3") // 10) == {3}
    assert len(choose_rows(manifest, 5, split="test")) == 0


def test_frames_are_those_in_the_middle_of_equal_parts_of_the_segment(video):
    clip = clip_of(video, start_s=0.5, stop_s=1.5, frames=10)
    times = even_times(clip, 5)
    assert times == pytest.approx([0.6, 0.8, 1.0, 1.2, 1.4])
    row = read_row(clip, times, HEIGHT)
    assert [picture.getpixel((5, 5))[0] for picture in row.pictures] == pytest.approx([60, 80, 100, 120, 140], abs=1)


def test_a_video_that_cannot_be_read_is_told_in_its_row(tmp_path):
    row = read_row(clip_of(tmp_path / "gone.mp4"), [0.1], HEIGHT)
    assert row.pictures == ()
    assert "no such file" in row.problem
    assert draw_sheet([row], ("title", "splits")).height > 60


def test_actions_are_drawn_below_the_frames(video, tmp_path):
    times = np.arange(20) / FPS
    actions = np.stack([np.sin(times), np.cos(times)], 1)
    names, units = ("dx", "dy"), ("", "")
    signals = Signals("", times, actions, np.zeros((20, 0)), Channel(names, units), Channel((), ()))
    write_signals(tmp_path / "s.parquet", signals)
    plain = draw_sheet([read_row(clip_of(video), [0.5, 1.5], HEIGHT)], ("a", "b"))
    drawn = draw_sheet([read_row(clip_of(video, signals=str(tmp_path / "s.parquet")), [0.5, 1.5], HEIGHT)], ("a", "b"))
    assert drawn.height > plain.height
    assert (np.asarray(drawn)[..., :] == (0, 114, 178)).all(-1).any()  # the colour of the first action


def test_the_command_draws_a_curated_manifest_with_its_decisions(video, tmp_path, capsys):
    clips = [clip_of(video, 0, label="high jump", crop="0 0.25 1 0.75"), clip_of(video, 1, split="excluded")]
    added = pa.table({"decision": ["used", "black"]})
    write_manifest(tmp_path / "c.parquet", clips, command="python -m data_prep curate", config={}, added=added)
    assert main(["show", str(tmp_path / "c.parquet"), "--out", str(tmp_path / "c.png"), "--height-px", "64"]) == 0
    picture = np.asarray(Image.open(tmp_path / "c.png"))
    assert (picture == (213, 94, 0)).all(-1).any()  # the rectangle that is read, in red
    assert main(["show", str(tmp_path / "c.parquet"), "--label", "archery", "--out", str(tmp_path / "d.png")]) == 1
    assert "its classes are high jump" in capsys.readouterr().err
