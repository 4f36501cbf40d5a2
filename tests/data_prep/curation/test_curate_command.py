"""`python -m data_prep curate`: windows never cross a cut, nothing is deleted, near-duplicates share a split."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from data_prep.__main__ import main
from data_prep.content_hash import METHOD, content_hash
from data_prep.curation.analysis import VideoAnalysis, VideoClips
from data_prep.curation.recipe import CurationRecipe
from data_prep.curation.table import curated_clips
from data_prep.parallel import workers
from tests.support.made_scenes import scene
from worldmodel.data.window_config import WindowConfig
from worldmodel.data.windows import WindowSource
from worldmodel.manifest import Clip, Manifest, clip_id, write_manifest
from worldmodel.video import write_video

FPS = 10
CUT, BLACK = 23, (52, 62)  # of the first video, in frames


def clip_of(path: Path, frames: int, split: str) -> Clip:
    digest = content_hash(str(path), None)
    length_s = frames / FPS
    facts = (FPS, frames, 64, 64, 0, "h264")
    return Clip(clip_id(digest, 0, length_s), str(path), None, 0.0, length_s, *facts, split, None, None, "test", digest)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Path:
    """Two shots and black frames; another video; a copy of the latter, in another split; a damaged file."""
    folder = tmp_path_factory.mktemp("videos")
    second = scene(60, 2, 64)
    one = np.concatenate([scene(CUT, 1, 64), second[:29], np.zeros((10, 64, 64, 3), np.uint8), second[29:]])
    videos = {"one": (one, "train"), "two": (scene(30, 3, 64), "train"), "copy": (scene(30, 3, 64) // 2, "val")}
    clips = []
    for name, (frames, split) in videos.items():
        write_video(folder / f"{name}.mp4", frames, FPS)
        clips.append(clip_of(folder / f"{name}.mp4", len(frames), split))
    (folder / "broken.mp4").write_bytes(b"no video")
    clips.append(replace(clip_of(folder / "broken.mp4", 30, "train"), width=64))
    write_manifest(folder / "m.parquet", clips, command="test", config={"content_hash": METHOD})
    return folder / "m.parquet"


def run(manifest: Path, out: Path, *changes: str) -> int:
    return main(["curate", str(manifest), *changes, "--out", str(out), "--workers", "1"])


@pytest.fixture(scope="module")
def curated(manifest, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("curated") / "c.parquet"
    assert run(manifest, out) == 0
    return out


def rows_of(table: Path, name: str) -> list[dict]:
    return [row for row in pq.read_table(table).to_pylist() if row["path"].endswith(f"{name}.mp4")]


def test_no_window_crosses_the_cut_or_holds_black_frames(curated):
    source = WindowSource(Manifest.open(curated), "train", WindowConfig(frames=8, fps=FPS, size_px=32))
    fractions = np.linspace(0, 0.999, 40)
    forbidden = {CUT - 1: CUT}  # a window with both frames crosses the cut
    for index in range(len(source)):
        for window in source.windows_at(np.full(40, index), fractions):
            if not window.path.endswith("one.mp4"):
                continue
            frames = {int(time * FPS + 1e-6) for time in window.times_s}
            assert not any(before in frames and after in frames for before, after in forbidden.items())
            assert not frames & set(range(*BLACK))


def test_every_frame_but_those_at_bounds_is_in_a_row_and_excluded_ones_have_a_reason(curated):
    rows = rows_of(curated, "one")
    assert [row["decision"] for row in rows] == ["used", "used", "black", "used"]
    assert [row["split"] == "excluded" for row in rows] == [row["decision"] != "used" for row in rows]
    assert {row["split_before"] for row in rows} == {"train"}
    starts, stops = [row["start_s"] for row in rows], [row["stop_s"] for row in rows]
    assert starts[0] == 0
    assert all(0 <= start - stop <= 2 / FPS for stop, start in zip(stops, starts[1:], strict=False))


def test_a_clip_of_one_stretch_stays_as_it_is(manifest, curated):
    before = Manifest.open(manifest).clip(1)
    (row,) = rows_of(curated, "two")
    assert (row["clip_id"], row["start_s"], row["stop_s"], row["frames"]) == (
        *(before.clip_id, before.start_s, before.stop_s, before.frames),
    )


def test_near_duplicates_share_the_split_of_the_first(curated):
    (two,), (copy,) = rows_of(curated, "two"), rows_of(curated, "copy")
    assert copy["duplicate_group"] == two["duplicate_group"] == two["content_hash"]
    assert (two["split"], copy["split_before"], copy["split"]) == ("train", "val", "train")


def test_the_manifest_says_that_its_hashes_are_of_whole_contents_so_that_shard_compares_them(curated):
    assert Manifest.open(curated).metadata["config"]["content_hash"] == METHOD


def test_near_duplicates_take_the_split_of_a_clip_that_is_not_excluded(manifest):
    clips = [replace(Manifest.open(manifest).clip(1), split=split) for split in ("excluded", "val", "test")]
    videos = [VideoClips("a", None, None, tuple(clips[:2])), VideoClips("b", None, None, (clips[2],))]
    stretch = {"start": 0, "stop": 30, "shot": 0, "decision": "used", "motion": 1.0, "brightness": 100.0}
    span = {"begin_s": 0.0, "stop_s": 3.0, "first_frame": 0, "frames": 30}
    analyses = [VideoAnalysis(v.path, None, None, 0.0, 3.0, [stretch], [span], [(0, 30)] * len(v.clips)) for v in videos]
    rows = list(curated_clips(videos, analyses, [0, 0], CurationRecipe()))
    assert rows[-1].decision in ("used", "duplicate")
    assert rows[-1].clip.split == ("val" if rows[-1].decision == "used" else "excluded")


def test_near_duplicates_of_an_excluded_video_are_in_one_split(manifest):
    """If all clips of the first are excluded, the next one gives the split."""
    clip = Manifest.open(manifest).clip(1)
    videos = [VideoClips(s, None, None, (replace(clip, path=s, split=s),)) for s in ("excluded", "train", "val")]
    stretch = {"start": 0, "stop": 30, "shot": 0, "decision": "used", "motion": 1.0, "brightness": 100.0}
    span = {"begin_s": 0.0, "stop_s": 3.0, "first_frame": 0, "frames": 30}
    analyses = [VideoAnalysis(v.path, None, None, 0.0, 3.0, [stretch], [span], [(0, 30)]) for v in videos]
    rows = list(curated_clips(videos, analyses, [0, 0, 0], CurationRecipe()))
    assert {row.clip.split for row in rows if row.clip.split != "excluded"} == {"train"}


def test_a_clip_between_two_stretches_has_a_row(manifest):
    clip = replace(Manifest.open(manifest).clip(0), start_s=1.0, stop_s=1.05)
    stretch = {"start": 0, "stop": 12, "shot": 0, "decision": "used", "motion": 1.0, "brightness": 100.0}
    span = {"begin_s": 0.0, "stop_s": 1.0, "first_frame": 0, "frames": 12}
    analysis = VideoAnalysis("a", None, None, 0.0, 1.05, [stretch], [span], [(12, 13)])
    (row,) = curated_clips([VideoClips("a", None, None, (clip,))], [analysis], [0], CurationRecipe())
    assert (row.decision, row.clip.split) == ("short", "excluded")


def test_a_damaged_video_is_excluded_and_told(curated):
    (row,) = rows_of(curated, "broken")
    assert (row["decision"], row["split"]) == ("unreadable", "excluded")


def test_the_page_shows_examples_of_each_decision(curated):
    page = curated.with_suffix(".html").read_text()
    assert page.count("data:image/jpeg;base64,") >= 5
    for heading in ("Cuts", "Black", "Used", "Near-duplicates", "Thresholds"):
        assert f"<h2>{heading}</h2>" in page


def test_an_interrupted_run_resumes_to_the_same_table(manifest, curated, tmp_path, monkeypatch):
    real, calls = workers.run_each, []

    def stopped(work, items, *args):
        for item, result in real(work, items, *args):
            calls.append(item.path)
            if len(calls) == 3:
                raise KeyboardInterrupt
            yield item, result

    monkeypatch.setattr(workers, "run_each", stopped)
    assert run(manifest, tmp_path / "c.parquet") == 130
    assert run(manifest, tmp_path / "c.parquet") == 0
    assert len(calls) == 3 + 2  # two results were in the journal
    table, whole = pq.read_table(tmp_path / "c.parquet"), pq.read_table(curated)
    assert table.drop(["path"]).equals(whole.drop(["path"]))


def test_an_unknown_threshold_is_named(manifest, tmp_path, capsys):
    assert run(manifest, tmp_path / "c.parquet", "cuts.min_scor=3") == 1
    assert "min_score" in capsys.readouterr().err


def test_values_of_the_command_line_have_their_types(manifest, tmp_path, capsys):
    assert run(manifest, tmp_path / "c.parquet", "borders.crop=false", "transitions.max_s=0") == 0
    assert "unreadable" not in capsys.readouterr().out.replace("1 unreadable", "")
    assert run(manifest, tmp_path / "d.parquet", "borders.crop=[") == 1
    assert "borders.crop=[: invalid YAML" in capsys.readouterr().err
