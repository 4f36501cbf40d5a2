"""One naming pattern of a folder's images is the video; the other images are reported."""

import json
import random

import numpy as np
import pytest
from PIL import Image

from data_prep.__main__ import main
from worldmodel.manifest import Manifest
from worldmodel.video import VideoError, inspect_video, read_frames
from worldmodel.video.frame_folder.patterns import NoSequence, choose_sequence, patterns_of


def series(pattern, count=12, first=0):
    return [pattern.format(number) for number in range(first, first + count)]


def found(names):
    """Number of pictures by pattern. The order on disk must not matter."""
    shuffled = random.Random(0).sample(names, len(names))
    return {pattern.name: len(pattern.images) for pattern in patterns_of(shuffled)}


@pytest.mark.parametrize(
    ("names", "patterns"),
    [
        (series("frame{}.jpg", 100, 1), {"frame*.jpg": 100}),
        (series("{:04d}.jpg") + series("{:04d}.png"), {"*.jpg": 12, "*.png": 12}),
        (series("left_{:03d}.png") + series("right_{:03d}.png", 9), {"left_*.png": 12, "right_*.png": 9}),
        (series("cam0_{:03d}.png") + series("cam1_{:03d}.png"), {"cam0_*.png": 12, "cam1_*.png": 12}),
        (series("{:03d}_cam0.png") + series("{:03d}_cam1.png"), {"*_cam0.png": 12, "*_cam1.png": 12}),
        ([*series("scene_{:03d}.png"), "thumb.jpg"], {"scene_*.png": 12, "thumb.jpg": 1}),
        (series("seq2_v1_{}.PNG"), {"seq2_v1_*.png": 12}),
        (["a_1.jpg", "a_2.jpeg", "a_3.JPG"], {"a_*.jpg": 3}),
        ([f"{n:03d}_t{n / 25:.2f}.png" for n in range(60)], {"*_t*.*.png": 60}),  # two numbers that rise together
        ([f"1305031102.{n}.png" for n in (175304, 211214, 175304 + 9)] + ["1305031103.175304.png"], {"*.png": 4}),  # TUM
        ([f"{n / 25:.2f}.png" for n in range(60)], {"*.png": 60}),  # seconds
        ([f"cam 12-{m:02d}-{s:02d}.jpg" for m in range(2) for s in range(0, 60, 10)], {"cam *.jpg": 12}),  # a time of day
        ([f"part1_{n:02d}.png" for n in range(6)] + [f"part2_{n:02d}.png" for n in range(6, 12)], {"part*_*.png": 12}),
        (
            [f"s{a}_c{b}_{n:02d}.png" for a in range(2) for b in range(2) for n in range(9)],
            {"s0_c0_*.png": 9, "s0_c1_*.png": 9, "s1_c0_*.png": 9, "s1_c1_*.png": 9},
        ),
    ],
)
def test_images_follow_one_pattern_if_only_the_frame_number_differs(names, patterns):
    assert found(names) == patterns


@pytest.mark.parametrize(
    ("names", "video"),
    [
        (series("{:04d}.jpg") + series("{:04d}.png"), series("{:04d}.jpg")),  # masks are PNG
        (series("{:04d}.jpg") + series("{:04d}.png", 11), series("{:04d}.jpg")),
        (series("{:04d}.jpg", 11) + series("{:04d}.png"), series("{:04d}.jpg", 11)),
        (series("{:04d}.png", 12) + series("{:04d}.jpg", 3), series("{:04d}.png")),  # the largest
        (series("{}.png", 12) + series("{}_mask.png", 12), series("{}.png")),
        (series("rgb_{:02d}.png") + series("depth_{:02d}.png") + series("seg_{:02d}.png"), series("rgb_{:02d}.png")),
        (series("{}_img.png", 6) + [f"{n}_instanceIds_{k}.png" for n in range(6) for k in range(9)], series("{}_img.png", 6)),
        (series("depth_{:02d}.png"), series("depth_{:02d}.png")),  # a depth video is the video if there is no other
        ([*series("f{}.png"), "cover.png", "thumb.jpg", "thumb_2.jpg"], series("f{}.png")),
        (series("f{}.png") + series("thumb_{}.jpg", 40), series("f{}.png")),
        (["only.png"], ["only.png"]),
    ],
)
def test_the_pattern_of_the_video_is_chosen(names, video):
    frames = choose_sequence(random.Random(0).sample(names, len(names)))
    assert list(frames.names) == video
    others = [name for pattern in frames.others for name in pattern.images]
    assert sorted([*frames.names, *others]) == sorted(names)
    assert bool(frames.left_out) == (len(names) > len(video))


@pytest.mark.parametrize(
    ("names", "reason", "message"),
    [
        (
            series("left_{:03d}.png") + series("right_{:03d}.png"),
            "several videos in one folder",
            r"left_\*\.png \(12\), right_\*",
        ),
        (series("a{}.jpg", 10) + series("b{}.jpg", 9), "several videos in one folder", "folder of its own"),
        (["cat.jpg", "dog.jpg"], "no sequence of frames", "not numbered like frames"),
        ([f"photo {word}.jpg" for word in "abcdefg"], "no sequence of frames", "and 4 more"),
    ],
)
def test_ambiguous_folders_are_refused_with_advice(names, reason, message):
    with pytest.raises(NoSequence, match=message) as error:
        choose_sequence(names)
    assert error.value.reason == reason


@pytest.fixture
def clip(tmp_path):
    """24 orange JPEG frames with their black and white masks, a cover, and beside it a folder of two cameras."""
    for number in range(24):
        for folder in ("all/clip", "all/stereo"):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (200, 120, 40)).save(tmp_path / "all/clip" / f"{number:04d}.jpg")
        Image.new("L", (32, 32), 255 * (number % 2)).save(tmp_path / "all/clip" / f"{number:04d}.png")
        for side in ("left", "right"):
            Image.new("RGB", (32, 32)).save(tmp_path / "all/stereo" / f"{side}_{number:02d}.png")
    Image.new("RGB", (32, 32)).save(tmp_path / "all/clip/cover.png")
    return tmp_path / "all/clip"


def test_frames_are_not_mixed_with_their_masks(clip):
    assert (inspect_video(clip).frames, inspect_video(clip).codec) == (24, "jpg")
    assert abs(read_frames(clip, indices=range(24)).mean((0, 1, 2)) - (200, 120, 40)).max() < 3
    with pytest.raises(VideoError, match="asked for frame 24, the video has 24 frames"):
        read_frames(clip, indices=[24])


def test_a_folder_of_two_cameras_is_refused_by_name(clip):
    for read in (inspect_video, lambda folder: read_frames(folder, indices=[0])):
        with pytest.raises(
            VideoError, match=r"stereo: it holds 2 sequences of frames \(left_\*\.png \(24\), right_\*"
        ) as error:
            read(clip.parent / "stereo")
        assert error.value.reason == "several videos in one folder"


def test_index_and_inspect_report_what_they_left_out(clip, tmp_path, capsys):
    out = tmp_path / "m.parquet"
    assert main(["index", str(clip.parent), "--out", str(out), "--workers", "1"]) == 0
    message = capsys.readouterr().out
    assert "clip: 25 other pictures are left out: *.png (24), cover.png" in message
    assert "1 rejected: 1 several videos in one folder" in message
    rejected = json.loads((tmp_path / "m.parquet.rejected.jsonl").read_text())
    assert "put each into a folder of its own" in rejected["detail"]
    assert sum(Manifest.open(out).column("frames")) == 24
    assert main(["inspect", str(clip)]) == 0
    assert "25 other pictures are left out: *.png (24), cover.png" in capsys.readouterr().out


def test_a_folder_of_frames_only_leaves_nothing_out(tmp_path, capsys):
    for number in range(12):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{number}.png")
    assert main(["inspect", str(tmp_path)]) == 0
    assert "left out" not in capsys.readouterr().out
    np.testing.assert_array_equal(read_frames(tmp_path, indices=[0, 11]), 0)
