"""The manifest returns clips unchanged and needs little memory for any number of clips."""

import dataclasses
import gc
import multiprocessing
import pickle

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from worldmodel.manifest import SCHEMA, Clip, Manifest, ManifestError, clip_id, write_manifest


def clip(number=0, **changes):
    facts = {
        "clip_id": f"{number:016x}", "path": f"/data/{number:09d}.mp4", "member": None, "start_s": 0.0, "stop_s": 10.0,
        "fps": 29.97, "frames": 300, "width": 340, "height": 256, "rotation": 0, "codec": "h264",
        "split": "val" if number % 10 == 9 else "train", "label": None, "truth": None, "source": "test",
        "content_hash": f"{number:064x}",
    }  # fmt: skip
    return Clip(**(facts | changes))


def write(path, clips):
    return write_manifest(path, clips, command="test", config={"seed": 0})


def test_clips_are_read_as_they_were_written(tmp_path):
    clips = [clip(0), clip(1, member="a/b.mp4", label="rope skipping", start_s=1.25), clip(2, split="ood", rotation=90)]
    assert write(tmp_path / "m.parquet", clips) == 3
    manifest = Manifest.open(tmp_path / "m.parquet")
    assert [manifest.clip(row) for row in range(len(manifest))] == clips
    assert manifest.metadata["command"] == "test"
    assert manifest.metadata["config"] == {"seed": 0}
    assert {"av", "pyarrow", "python"} <= set(manifest.metadata["versions"])
    assert [field.name for field in dataclasses.fields(Clip)] == SCHEMA.names


def test_paths_below_the_manifest_move_with_it(tmp_path):
    (tmp_path / "one").mkdir()
    inside, outside = str(tmp_path / "one" / "videos" / "ä b.mp4"), str(tmp_path / "two.mp4")
    write(tmp_path / "one" / "m.parquet", [clip(path=inside, truth=str(tmp_path / "one" / "t.npz")), clip(path=outside)])
    (tmp_path / "one").rename(tmp_path / "moved")
    manifest = Manifest.open(tmp_path / "moved" / "m.parquet")
    assert manifest.clip(0).path == str(tmp_path / "moved" / "videos" / "ä b.mp4")
    assert manifest.clip(0).truth == str(tmp_path / "moved" / "t.npz")
    assert manifest.clip(1).path == outside


def test_rows_and_columns_of_many_groups(tmp_path):
    write(tmp_path / "m.parquet", (clip(number) for number in range(5000)))
    manifest = Manifest.open(tmp_path / "m.parquet")
    val = manifest.rows("val")
    assert val.dtype == np.int64
    np.testing.assert_array_equal(val, np.arange(9, 5000, 10))
    assert len(manifest.rows("train")) + len(val) == len(manifest) == 5000
    assert len(manifest.rows("ood")) == 0
    assert manifest.clip(4711) == clip(4711)
    assert manifest.column("frames").tolist() == [300] * 5000
    with pytest.raises(IndexError):
        manifest.clip(5000)
    with pytest.raises(ManifestError, match="no column 'fpss'"):
        manifest.column("fpss")
    with pytest.raises(ManifestError, match="train, val, test, ood"):
        manifest.rows("validation")


def test_an_invalid_clip_leaves_no_manifest(tmp_path):
    for broken in (clip(split="validation"), clip(start_s=3.0, stop_s=3.0)):
        with pytest.raises(ManifestError, match=r"/data/000000000\.mp4"):
            write(tmp_path / "m.parquet", [clip(1), broken])
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_not_a_manifest_is_refused_with_a_reason(tmp_path):
    with pytest.raises(ManifestError, match="no such manifest; make one with `python -m data_prep index"):
        Manifest.open(tmp_path / "m.parquet")
    (tmp_path / "m.parquet").write_text("path,label\n")
    with pytest.raises(ManifestError, match="not a Parquet file"):
        Manifest.open(tmp_path / "m.parquet")
    pq.write_table(pa.table({"path": ["a.mp4"]}), tmp_path / "m.parquet")
    with pytest.raises(ManifestError, match="not a manifest: it has no column clip_id"):
        Manifest.open(tmp_path / "m.parquet")
    pq.write_table(pa.table({"quad_id": ["q"], "clip_id": ["c"]}), tmp_path / "quads.parquet")
    with pytest.raises(ManifestError, match=r"videos are in suite.parquet beside it, possible videos in calibration.parquet"):
        Manifest.open(tmp_path / "quads.parquet")


def test_clip_ids_depend_only_on_content_and_interval():
    assert clip_id("ab", 0.0, 1.0) == clip_id("ab", 0.0, 1.0)
    assert len({clip_id("ab", 0.0, 1.0), clip_id("ab", 0.0, 1.1), clip_id("ab", 0.1, 1.0), clip_id("ac", 0.0, 1.0)}) == 4


def test_a_manifest_is_pickled_as_its_path(tmp_path):
    write(tmp_path / "m.parquet", [clip(7)])
    manifest = Manifest.open(tmp_path / "m.parquet")
    assert len(pickle.dumps(manifest)) < 1000
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(manifest.clip, (0,)) == clip(7)


def test_random_clips_of_200_000_rows_cost_little_memory(tmp_path):
    write(tmp_path / "m.parquet", (clip(number) for number in range(200_000)))
    gc.collect()
    process = psutil.Process()
    before = process.memory_info().rss
    manifest = Manifest.open(tmp_path / "m.parquet")
    assert len(manifest.rows("train")) == 180_000
    for row in np.random.default_rng(0).integers(0, 200_000, 5_000):
        assert manifest.clip(int(row)).frames == 300
    grown = process.memory_info().rss - before
    assert grown < 60 << 20, f"{grown / 2**20:.0f} MiB"


@pytest.mark.parametrize(("frames", "found"), [(48, 24), (240, 24), (12, 6)])
def test_frames_at_a_rate_are_shown_within_the_clip(frames: int, found: int):
    """Two seconds of a file of 24 frames per second on average: at its average rate, faster and slower."""
    assert clip(0, start_s=3.0, stop_s=5.0, fps=24.0, frames=frames).frames_at(12.0) == found


def test_a_digest_depends_on_the_samples_and_not_on_paths(tmp_path, monkeypatch):
    clips = [clip(number) for number in range(5)]

    def digest(*some):
        write(tmp_path / "m.parquet", some)
        return Manifest.open(tmp_path / "m.parquet").digest()

    first = digest(*clips)
    assert digest(*(clip(number, path=f"/moved/{number}.mp4", source="other", label="a") for number in range(5))) == first
    changes = {"clip_id": "0" * 16, "split": "val", "start_s": 0.5, "stop_s": 0.9, "fps": 12.0, "content_hash": "f" * 64}
    others = [digest(*clips[:-1], clip(4, **{field: value})) for field, value in changes.items()]
    others += [digest(*reversed(clips)), digest(*clips[:-1]), digest(*clips[:-1], clip(4, first_frame=7))]
    shown = int(clips[4].start_s * clips[4].fps + 1e-6)
    assert digest(*clips[:-1], clip(4, first_frame=shown)) == first  # which the digest of earlier versions says too
    assert len({first, *others}) == 1 + len(others)
    monkeypatch.setattr("worldmodel.manifest.write.ROWS_PER_GROUP", 2)
    assert digest(*clips) == first
