"""`python -m data_prep transcode`: small copies that show the same at the same time."""

import os
from dataclasses import replace

import av
import numpy as np
import pytest
from PIL import Image

from data_prep.__main__ import main
from worldmodel.manifest import Clip, Manifest, write_manifest
from worldmodel.video import inspect_video, read_frames


def clips(out):
    manifest = Manifest.open(out)
    return [manifest.clip(row) for row in range(len(manifest))]


@pytest.fixture
def indexed(tmp_path, numbered, make_video):
    """A manifest of two videos, one at a variable rate; both split in time."""
    make_video(tmp_path / "videos" / "steady.mp4", numbered(60, 96, 128), fps=30, g=250)
    ticks = np.cumsum(np.random.default_rng(0).integers(1, 5, 60)).tolist()
    make_video(tmp_path / "videos" / "varied.mkv", numbered(60, 96, 128), ticks=ticks, clock_hz=50)
    assert main(["index", str(tmp_path / "videos"), "--out", str(tmp_path / "m.parquet"), "--workers", "1"]) == 0
    return tmp_path / "m.parquet"


def transcode(manifest, out, *options):
    return main(["transcode", str(manifest), "--out", str(out), "--workers", "1", *options])


def test_copies_show_the_same_frame_at_the_same_time(tmp_path, indexed, number_of):
    assert transcode(indexed, tmp_path / "small", "--short-side-px", "48") == 0
    for ours, source in zip(clips(tmp_path / "small" / "manifest.parquet"), clips(indexed), strict=True):
        assert (ours.split, ours.label, ours.source, ours.start_s) == (
            source.split,
            source.label,
            source.source,
            source.start_s,
        )
        assert (ours.width, ours.height, ours.codec) == (64, 48, "h264")
        assert ours.stop_s == pytest.approx(source.stop_s, abs=0.1)
        times_s = np.linspace(source.start_s, min(ours.stop_s, source.stop_s) - 1e-3, 13)
        copied, truth = (read_frames(clip.path, times_s=times_s) for clip in (ours, source))
        assert [number_of(frame) for frame in copied] == [number_of(frame) for frame in truth]


def test_a_rate_bound_drops_frames_and_moves_none(tmp_path, indexed, number_of):
    assert transcode(indexed, tmp_path / "small", "--short-side-px", "48", "--fps", "10") == 0
    steady = clips(tmp_path / "small" / "manifest.parquet")[0]
    assert inspect_video(steady.path).frames == 20
    frames = read_frames(steady.path, times_s=np.arange(20) / 10)
    assert [number_of(frame) for frame in frames] == list(range(0, 60, 3))


def test_clips_of_copies_have_the_frames_of_their_source(tmp_path, indexed):
    """Each frame of the file is in the same split, although Matroska rounds times to milliseconds."""
    assert transcode(indexed, tmp_path / "small") == 0
    found = [(clip.split, clip.first_frame, clip.frames) for clip in clips(tmp_path / "small" / "manifest.parquet")]
    assert (
        found
        == [(clip.split, clip.first_frame, clip.frames) for clip in clips(indexed)]
        == 2 * [("train", 0, 48), ("val", 48, 12)]
    )


def test_a_folder_of_frames_is_played_at_the_rate_of_its_clip(tmp_path, numbered, number_of):
    folder = tmp_path / "frames"
    folder.mkdir()
    for number, frame in enumerate(numbered(60, 48, 64)):
        Image.fromarray(frame).save(folder / f"{number:03d}.png")
    clip = Clip("0", str(folder), None, 1.0, 2.0, 30.0, 30, 64, 48, 0, "png", "train", None, None, "test", "0")
    write_manifest(tmp_path / "m.parquet", [clip], command="test", config={})
    assert transcode(tmp_path / "m.parquet", tmp_path / "small") == 0
    (copy,) = clips(tmp_path / "small" / "manifest.parquet")
    assert (copy.start_s, copy.stop_s, copy.first_frame, copy.frames) == (1.0, 2.0, 30, 30)
    assert number_of(read_frames(copy.path, times_s=[copy.start_s])[0]) == 30


def test_ground_truth_counts_frames_so_a_copy_at_another_rate_has_none(tmp_path, indexed):
    manifest = Manifest.open(indexed)
    some = [replace(manifest.clip(0), truth=str(tmp_path / "truth.npz"))]
    write_manifest(tmp_path / "t.parquet", some, command="test", config={})
    for name, options, kept in (
        ("same", ("--short-side-px", "96"), True),
        ("slow", ("--fps", "10"), False),
        ("small", ("--short-side-px", "48"), False),
    ):
        assert transcode(tmp_path / "t.parquet", tmp_path / name, *options) == 0
        assert (clips(tmp_path / name / "manifest.parquet")[0].truth is not None) == kept


def test_copies_decode_from_a_near_keyframe_and_hold_no_b_frames(tmp_path, indexed):
    assert transcode(indexed, tmp_path / "small", "--gop", "6") == 0
    with av.open(clips(tmp_path / "small" / "manifest.parquet")[0].path) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    keys = [index for index, packet in enumerate(packets) if packet.is_keyframe]
    assert max(np.diff([*keys, len(packets)])) <= 6
    assert all(packet.pts == packet.dts for packet in packets)


def test_a_finished_copy_is_not_made_again_and_other_copies_are_not_mixed_in(tmp_path, indexed, capsys):
    out = tmp_path / "small"
    assert transcode(indexed, out) == 0
    copies = {path: os.stat(path).st_mtime_ns for path in out.rglob("*.mp4")}
    (out / "manifest.parquet").unlink()
    next(iter(copies)).unlink()  # as if the run had been killed here
    assert transcode(indexed, out) == 0
    again = {path: os.stat(path).st_mtime_ns for path in out.rglob("*.mp4")}
    assert len(again) == len(copies) == 2
    assert sum(again[path] == time for path, time in copies.items()) == 1
    assert transcode(indexed, out, "--gop", "3") == 1
    assert "choose another --out" in capsys.readouterr().err


def test_small_videos_are_not_enlarged_and_missing_ones_are_listed(tmp_path, indexed, capsys):
    (tmp_path / "videos" / "varied.mkv").unlink()
    assert transcode(indexed, tmp_path / "small", "--short-side-px", "500") == 0
    small = clips(tmp_path / "small" / "manifest.parquet")
    assert {(clip.width, clip.height) for clip in small} == {(128, 96)}
    assert "missing file" in (tmp_path / "small" / "manifest.parquet.rejected.jsonl").read_text()
    (tmp_path / "videos" / "steady.mp4").unlink()
    assert transcode(indexed, tmp_path / "none") == 1
    assert "no video of" in capsys.readouterr().err
    assert not (tmp_path / "none" / "manifest.parquet").exists()
    assert transcode(tmp_path / "gone.parquet", tmp_path / "x") == 1


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.mp4")}


def test_copies_are_the_same_to_the_byte_whenever_and_wherever_they_are_made(tmp_path, make_video):
    """Other processes, numbers of workers and file names. The scenes change, because x264 looks ahead
    for changes.
    """
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        scenes = [np.kron(rng.integers(0, 256, (12, 20, 3)), np.ones((12, 12, 1))) for _ in range(4)]
        video = np.concatenate([[np.roll(scene, (step, 2 * step), (0, 1)) for step in range(15)] for scene in scenes])
        make_video(
            tmp_path / "videos" / f"{name}.mp4", (video + rng.integers(0, 20, video.shape)).clip(0, 255).astype(np.uint8)
        )
    made = []
    for number, workers in enumerate((1, 2, 3)):
        (tmp_path / "videos").rename(tmp_path / f"videos{number}")
        manifest, out = tmp_path / f"{number}.parquet", tmp_path / f"small{number}"
        assert main(["index", str(tmp_path / f"videos{number}"), "--out", str(manifest), "--workers", "1"]) == 0
        assert main(["transcode", str(manifest), "--out", str(out), "--workers", str(workers)]) == 0
        made.append(contents(out))
        (tmp_path / f"videos{number}").rename(tmp_path / "videos")
    assert len(made[0]) == 3
    assert made[0] == made[1] == made[2]


def test_a_copy_that_was_changed_or_swapped_is_made_again(tmp_path, indexed):
    out = tmp_path / "small"
    assert transcode(indexed, out) == 0
    manifest, before = (out / "manifest.parquet").read_bytes(), contents(out)
    one, other = sorted(out.rglob("*.mp4"))
    for damage in ("swapped", "a flipped bit", "no note", "cut short"):
        if damage == "swapped":
            one.rename(out / "x")
            other.rename(one)
            (out / "x").rename(other)
        elif damage == "a flipped bit":
            content = bytearray(one.read_bytes())
            content[len(content) // 2] ^= 1
            one.write_bytes(content)
        elif damage == "no note":
            one.with_suffix(".json").unlink()
        else:
            os.truncate(one, 500)
        assert transcode(indexed, out) == 0
        assert contents(out) == before, damage
        assert (out / "manifest.parquet").read_bytes() == manifest, damage


def test_copies_of_an_earlier_version_are_refused(tmp_path, indexed, capsys):
    assert transcode(indexed, tmp_path / "small") == 0
    note = tmp_path / "small" / "transcode.json"
    note.write_text(note.read_text().replace('"version": 3', '"version": 2'))
    assert transcode(indexed, tmp_path / "small") == 1
    assert "holds copies of version 2, but this version of the project makes version 3" in capsys.readouterr().err
