"""Copies of another size, brightness and length are found, other videos are not."""

import numpy as np
from PIL import Image

from data_prep.curation.near_duplicates import frame_hash, group_duplicates, match_share
from data_prep.curation.recipe import DuplicateConfig
from tests.support.made_scenes import scene


def grey(frames: np.ndarray) -> np.ndarray:
    return frames.mean(-1).astype(np.uint8)


def hashes(frames: np.ndarray) -> list[int]:
    return [frame_hash(picture) for picture in grey(frames)]


def test_a_hash_survives_size_and_brightness():
    picture = grey(scene(1, seed=3, size_px=64))[0]
    larger = np.asarray(Image.fromarray(picture).resize((150, 100), Image.Resampling.BICUBIC))
    darker = (larger * 0.6).astype(np.uint8)
    assert (frame_hash(picture) ^ frame_hash(darker)).bit_count() <= 6


def test_a_shorter_and_darker_copy_joins_the_group_of_the_first():
    videos = [scene(12, seed=seed, size_px=64) for seed in (1, 2, 3)]
    copy = (videos[1][4:10] * 0.8).astype(np.uint8)
    found = group_duplicates([hashes(video) for video in [*videos, copy]], DuplicateConfig())
    assert found == [0, 1, 2, 1]


def test_near_duplicates_of_near_duplicates_are_one_group():
    a, b, c = [1, 2, 3, 4], [3, 4, 1 << 40, 1 << 41], [1 << 40, 1 << 41, 1 << 60, 1 << 61]
    config = DuplicateConfig(max_bits=0)
    assert match_share(a, c, 0) == 0
    assert group_duplicates([a, b, c], config) == [0, 0, 0]


def test_videos_without_hashes_are_no_duplicates():
    assert group_duplicates([[], [], [5]], DuplicateConfig()) == [0, 1, 2]


def test_copies_in_a_band_of_many_videos_are_found():
    assert set(group_duplicates([[7]] * 2000, DuplicateConfig())) == {0}
