"""The hash of a video depends on its whole content, and neither on its path nor on its name."""

import hashlib
import os
import tarfile

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from data_prep.__main__ import main
from data_prep.content_hash import MIB, content_hash
from worldmodel.manifest import Manifest, clip_id
from worldmodel.video import read_frames


def clips(manifest):
    table = Manifest.open(manifest)
    return [table.clip(row) for row in range(len(table))]


def write_raw_video(path, hue, frames=90, quiet=36):
    """An uncompressed video, more than 1 MiB of which at the beginning and at the end is the same
    for every hue.
    """
    plane = {False: (40, 128, 128), True: (82, *hue)}
    path.parent.mkdir(parents=True)
    with open(path, "wb") as file:
        file.write(b"YUV4MPEG2 W160 H128 F25:1 Ip A1:1 C420jpeg\n")
        for number in range(frames):
            y, u, v = plane[quiet <= number < frames - quiet]
            file.write(b"FRAME\n" + bytes([y]) * (160 * 128) + bytes([u]) * (80 * 64) + bytes([v]) * (80 * 64))


def is_red(clip):
    frame = read_frames(clip.path, times_s=[1.8], member=clip.member)[0]
    return frame[..., 0].mean() > frame[..., 2].mean()


@pytest.mark.parametrize("position", [0, 3 * MIB // 2, MIB + 5, -1])
def test_every_byte_of_a_file_changes_the_hash(tmp_path, position):
    data = bytearray(os.urandom(3 * MIB))
    (tmp_path / "a.mp4").write_bytes(data)
    data[position] ^= 1
    (tmp_path / "b.mp4").write_bytes(data)
    assert content_hash(str(tmp_path / "a.mp4"), None) != content_hash(str(tmp_path / "b.mp4"), None)


def test_small_files_keep_the_hash_of_earlier_versions(tmp_path):
    data = os.urandom(MIB)
    (tmp_path / "a.mp4").write_bytes(data)
    before = hashlib.sha256(str(len(data)).encode() + data + data).hexdigest()  # size, first MiB, last MiB
    assert content_hash(str(tmp_path / "a.mp4"), None) == before


def test_a_tar_member_has_the_hash_of_the_file(tmp_path):
    (tmp_path / "a.mp4").write_bytes(os.urandom(2 * MIB + 7))
    with tarfile.open(tmp_path / "t.tar", "w") as tar:
        tar.add(tmp_path / "a.mp4", "other name.mp4")
    inside = content_hash(str(tmp_path / "t.tar"), "other name.mp4")
    assert inside == content_hash(str(tmp_path / "a.mp4"), None)


def test_every_frame_of_a_folder_changes_the_hash_and_names_do_not(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (3, 8, 8, 3), np.uint8)
    other = images.copy()
    other[1, 0, 0] ^= 1  # a frame in the middle; the PNG files may have one size

    def folder(name, frames, first):
        (tmp_path / name).mkdir()
        for number, frame in enumerate(frames):
            Image.fromarray(frame).save(tmp_path / name / f"{first + number}.png", compress_level=0)
        return content_hash(str(tmp_path / name), None)

    same, renamed, different = folder("a", images, 0), folder("b", images, 100), folder("c", other, 0)
    assert same == renamed != different
    assert folder("d", images[[0, 2, 1]], 0) != same


def test_the_boundary_between_two_frames_of_a_folder_changes_the_hash(tmp_path):
    for name, cut in (("a", 3), ("b", 5)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").write_bytes(b"12345678"[:cut])
        (tmp_path / name / "1.png").write_bytes(b"12345678"[cut:])
    assert content_hash(str(tmp_path / "a"), None) != content_hash(str(tmp_path / "b"), None)


def test_videos_with_equal_beginnings_and_ends_keep_their_own_copies_and_labels(tmp_path):
    write_raw_video(tmp_path / "videos" / "red" / "video.y4m", (90, 240))
    write_raw_video(tmp_path / "videos" / "blue" / "video.y4m", (240, 110))
    index = ["index", str(tmp_path / "videos"), "--source", "classes", "--out", str(tmp_path / "m.parquet")]
    assert main([*index, "--workers", "1"]) == 0
    assert main(["transcode", str(tmp_path / "m.parquet"), "--out", str(tmp_path / "small"), "--workers", "2"]) == 0
    for manifest in (tmp_path / "m.parquet", tmp_path / "small" / "manifest.parquet"):
        found = clips(manifest)
        assert len({clip.clip_id for clip in found}) == 4
        assert {clip.label: is_red(clip) for clip in found if clip.split == "train"} == {"red": True, "blue": False}


def test_copies_differ_although_the_manifest_has_hashes_of_the_ends_alone(tmp_path):
    """Manifests of earlier versions: two different videos may have one hash in them."""
    write_raw_video(tmp_path / "videos" / "red" / "video.y4m", (90, 240))
    write_raw_video(tmp_path / "videos" / "blue" / "video.y4m", (240, 110))
    new, old = tmp_path / "m.parquet", tmp_path / "old.parquet"
    index = ["index", str(tmp_path / "videos"), "--source", "classes", "--out", str(new), "--workers", "1"]
    assert main(index) == 0
    table = pq.read_table(new)
    weak = ["f" * 64] * len(table)
    ids = [
        clip_id(weak[0], *stretch) for stretch in zip(*(table[name].to_pylist() for name in ("start_s", "stop_s")), strict=True)
    ]
    for name, values in (("content_hash", weak), ("clip_id", ids)):
        table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), [values])
    pq.write_table(table.replace_schema_metadata({"worldmodel": '{"format": 1, "config": {}}'}), old)
    assert main(["transcode", str(old), "--out", str(tmp_path / "small"), "--workers", "1"]) == 0
    found = clips(tmp_path / "small" / "manifest.parquet")
    assert {clip.label: is_red(clip) for clip in found if clip.split == "train"} == {"red": True, "blue": False}


def test_a_copy_is_not_used_for_a_video_that_replaced_its_source(tmp_path, numbered, number_of, make_video):
    video, other = tmp_path / "videos" / "a.mp4", tmp_path / "others" / "b.mp4"
    make_video(video, numbered(30), g=6)
    make_video(other, numbered(30), g=6)  # the same content under another name
    for folder, manifest in ((video.parent, "a.parquet"), (other.parent, "b.parquet")):
        assert main(["index", str(folder), "--out", str(tmp_path / manifest), "--workers", "1"]) == 0
    make_video(video, numbered(30, first=100), g=6)  # since then the source is another one
    for manifest in ("a.parquet", "b.parquet"):
        out = str(tmp_path / "small")
        assert main(["transcode", str(tmp_path / manifest), "--out", out, "--workers", "1", "--short-side-px", "48"]) == 0
        (copy,) = {clip.path for clip in clips(tmp_path / "small" / "manifest.parquet")}
        assert number_of(read_frames(copy, times_s=[0.0])[0]) == {"a.parquet": 100, "b.parquet": 0}[manifest]


def test_two_rows_of_one_content_keep_their_labels_and_share_a_copy(tmp_path, numbered, make_video):
    make_video(tmp_path / "videos" / "cat" / "a.mp4", numbered(30))
    (tmp_path / "videos" / "dog").mkdir()
    (tmp_path / "videos" / "dog" / "b.mp4").write_bytes((tmp_path / "videos" / "cat" / "a.mp4").read_bytes())
    index = ["index", str(tmp_path / "videos"), "--source", "classes", "--out", str(tmp_path / "m.parquet")]
    assert main([*index, "--workers", "1"]) == 0
    assert main(["transcode", str(tmp_path / "m.parquet"), "--out", str(tmp_path / "small"), "--workers", "2"]) == 0
    copies = clips(tmp_path / "small" / "manifest.parquet")
    assert [(clip.label, clip.split) for clip in copies] == [(x, y) for x in ("cat", "dog") for y in ("train", "val")]
    assert len({clip.path for clip in copies}) == 1
