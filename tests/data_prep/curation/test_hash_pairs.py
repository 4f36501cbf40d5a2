"""Which hashes and videos are compared: equal ones always, similar ones by shared bands, and what is skipped is counted."""

from itertools import combinations

import numpy as np
import pytest

from data_prep.curation import hash_pairs, video_pairs
from data_prep.curation.analysis import VideoAnalysis, VideoClips
from data_prep.curation.hash_pairs import HashPairs, chunks, count_bits, expand
from data_prep.curation.near_duplicates import group_duplicates, match_share
from data_prep.curation.recipe import CurationRecipe, DuplicateConfig
from data_prep.curation.report import write_page
from worldmodel.manifest import Clip


def hashes_of(count: int, bits: int, seed: int = 0) -> np.ndarray:
    """Hashes of 64 bits of which `bits` of each band vary, uint64 [count]."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 1 << bits, (count, 4), np.uint64) @ (np.uint64(1) << np.arange(0, 64, 16, np.uint64))


def shared_bands(one: int, other: int) -> tuple[int, ...]:
    return tuple(band for band in range(4) if not ((one ^ other) >> (16 * band)) & 0xFFFF)


def test_pairs_within_three_bits_are_all_found_once_and_no_others():
    values = np.unique(hashes_of(400, 3))
    expected = {(a, b) for a, b in combinations(values.tolist(), 2) if (a ^ b).bit_count() <= 3}
    pairs = HashPairs(values)
    found = [tuple(sorted(values[pair].tolist())) for part in pairs.matches(3) for pair in part]
    assert len(found) == len(set(found))
    assert set(found) == expected
    assert len(expected) > 1000
    assert pairs.skipped() == 0


@pytest.mark.parametrize("only_some_are_sought", [False, True])
def test_what_a_full_band_skips_is_counted_exactly(monkeypatch, only_some_are_sought: bool):
    monkeypatch.setattr(hash_pairs, "MAX_IN_BAND", 20)
    values = np.unique(np.concatenate([hashes_of(300, 3), hashes_of(100, 1, seed=1), hashes_of(100, 2, seed=2)]))
    sought = np.arange(len(values)) % 3 == 0 if only_some_are_sought else np.ones(len(values), bool)
    pairs = HashPairs(values, sought)
    compared = {tuple(sorted(pair)) for part in pairs.matches(64) for pair in values[part].tolist()}
    sharing = {
        tuple(sorted((int(a), int(b))))
        for (i, a), (j, b) in combinations(enumerate(values), 2)
        if shared_bands(int(a), int(b)) and (sought[i] or sought[j])
    }
    assert compared < sharing
    assert pairs.skipped() == len(sharing - compared)


def test_groups_are_those_of_comparing_all_pairs():
    rng = np.random.default_rng(0)
    videos = [hashes_of(int(rng.integers(0, 9)), 16, seed).tolist() for seed in range(60)]
    for copy in range(30):  # a part of the hashes of a video, each changed by at most 3 bits
        own = videos[copy][: int(rng.integers(1, 9))]
        videos.append([value ^ (0b111 << int(rng.integers(0, 60))) for value in own])
    config = DuplicateConfig(max_bits=3)
    expected = list(range(len(videos)))
    for one, other in combinations(range(len(videos)), 2):
        if match_share(videos[one], videos[other], 3) >= config.min_match:
            old, new = sorted((expected[one], expected[other]), reverse=True)
            expected = [new if group == old else group for group in expected]
    found = group_duplicates(videos, config)
    assert found == expected
    assert len(set(expected)) < len(videos) - 20
    assert found.note() == ""


def test_equal_videos_are_found_where_every_band_is_full(capsys):
    originals = [hashes_of(10, 4, seed).tolist() for seed in range(1000)]  # 16 values of each band, so 600 hashes share one
    copies = [list(reversed(video)) for video in originals[:200]]
    found = group_duplicates([*originals, *copies], DuplicateConfig(max_bits=0))
    assert found[1000:] == found[:200] == list(range(200))
    assert capsys.readouterr().err == ""


def test_what_was_skipped_is_printed_and_on_the_page(monkeypatch, capsys):
    monkeypatch.setattr(hash_pairs, "MAX_IN_BAND", 50)
    originals = [hashes_of(5, 3, seed).tolist() for seed in range(100)]
    found = group_duplicates([*originals, *originals], DuplicateConfig(max_bits=0))
    assert found[100:] == found[:100]
    assert found.skipped_hashes > 0
    assert f"{found.skipped_hashes:,} comparisons of hashes" in capsys.readouterr().err
    clip = Clip("id", "missing.mp4", None, 0.0, 1.0, 10.0, 10, 32, 32, 0, "h264", "train", None, None, "test", "")
    videos, analyses = (
        [VideoClips(clip.path, None, None, (clip,))] * 200,
        [VideoAnalysis(clip.path, None, None, clip_frames=[(0, 10)])] * 200,
    )
    assert found.note() in write_page(videos, analyses, found, [], CurationRecipe(), "")


def test_a_title_that_all_videos_show_is_neither_compared_nor_counted(monkeypatch):
    monkeypatch.setattr(video_pairs, "MAX_PRODUCT", 100)
    title = hashes_of(2, 16, seed=1000).tolist()
    videos = [[*title, *hashes_of(6, 16, seed).tolist()] for seed in range(500)]
    shorter = [video[1:5] for video in videos[:50]]
    found = group_duplicates([*videos, *shorter], DuplicateConfig(max_bits=3))
    assert found[500:] == list(range(50))
    assert (found.skipped_hashes, found.skipped_videos) == (0, 0)


def test_videos_that_share_most_of_their_hashes_are_compared_with_the_shortest(monkeypatch):
    monkeypatch.setattr(video_pairs, "MAX_PRODUCT", 100)
    common = hashes_of(4, 16, seed=1000).tolist()
    videos = [[*common, *hashes_of(2, 16, seed).tolist()] for seed in range(300)]
    found = group_duplicates([*videos, common], DuplicateConfig(max_bits=3))
    assert set(found) == {0}
    assert found.skipped_videos > 0


def test_memory_of_a_crowd_is_bounded(monkeypatch):
    largest, real = [], hash_pairs.expand

    def watched(counts):
        largest.append(int(counts.sum()))
        return real(counts)

    monkeypatch.setattr(hash_pairs, "PAIRS_AT_ONCE", 5000)
    monkeypatch.setattr(hash_pairs, "expand", watched)
    list(HashPairs(np.unique(hashes_of(2000, 5))).matches(3))
    assert len(largest) > 10
    assert max(largest) <= 5000


def test_chunks_hold_at_most_so_many_and_expand_numbers_the_items():
    assert list(chunks(np.array([2, 3, 0, 9, 1, 1]), 5)) == [(0, 3), (3, 4), (4, 6)]
    assert list(chunks(np.array([0, 0]), 5)) == []
    element, number = expand(np.array([2, 0, 1]))
    assert (element.tolist(), number.tolist()) == ([0, 0, 2], [0, 1, 0])


def test_bits_are_counted_alike_with_and_without_numpy_2():
    values = np.array([[0, 1, 1 << 63], [(1 << 64) - 1, 0b1011, 1 << 40]], np.uint64)
    assert count_bits(values).tolist() == hash_pairs._count_bits_in_bytes(values).tolist() == [[0, 1, 1], [64, 3, 1]]
