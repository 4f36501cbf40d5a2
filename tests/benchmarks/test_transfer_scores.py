"""Scores of models in several worlds, worked by hand, and the looks of training videos."""

from pathlib import Path

import numpy as np

from benchmarks.transfer_scores import Scores, cell, difference, tables
from benchmarks.transfer_training import Looks, mix, paint

RIGHT, HALF = [0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.1, 0.1]  # (a, u), (b, v) possible; (a, v), (b, u) impossible


def test_pairs_and_sums_of_two_quadruplets() -> None:
    """In the second one, outcome v surprises by 1 more than u whatever the context was: three pairs of four are right."""
    scores = Scores.of_surprise(np.array([RIGHT, HALF]))
    assert scores.pairs.tolist() == [1.0, 0.75]
    assert cell(scores) == "87.5 [75.0, 100.0] (100)"


def test_differences_are_paired() -> None:
    """Both models vary by 50 points between quadruplets, but one is 25 points better on each of them."""
    ours, theirs = np.array([1.0, 0.5] * 20), np.array([0.75, 0.25] * 20)
    assert difference([ours], [theirs]) == "+25.0 [+25.0, +25.0]"


def test_the_table_has_a_mean_for_each_world() -> None:
    of_world = {"permanence": Scores.of_surprise(np.array([RIGHT])), "colour": Scores.of_surprise(np.array([HALF]))}
    text = tables({"plain": {"flat": of_world}, "painted": {"flat": of_world}})
    assert "**87.5** [87.5, 87.5]" in text
    assert "+0.0 [+0.0, +0.0]" in text


def _painted(tmp_path: Path, looks: Looks) -> tuple[np.ndarray, np.ndarray]:
    """Two videos before painting, and after the plain ones were restored if they were kept."""
    rng = np.random.default_rng(0)
    segmentation = np.zeros((2, 8, 8), np.uint8)
    segmentation[:, 2:5, 2:5] = 1
    np.savez(tmp_path / "truth.npz", segmentation=segmentation)
    videos = rng.integers(0, 255, (2, 2, 8, 8, 3), dtype=np.uint8)
    before = videos.copy()
    plain = paint(videos, [str(tmp_path / "truth.npz")] * 2, looks, rng)
    assert (videos != before).any()
    if plain is not None:
        plain.restore(videos)
    return before, videos


def test_plain_videos_come_back_where_painting_ends_early(tmp_path: Path) -> None:
    before, after = _painted(tmp_path, Looks(share=1.0, until=0.7))
    assert np.array_equal(before, after)


def test_half_of_the_videos_stay_plain(tmp_path: Path) -> None:
    before, after = _painted(tmp_path, Looks(share=0.5))
    assert sorted(np.array_equal(a, b) for a, b in zip(before, after, strict=True)) == [False, True]


def test_the_share_of_a_blend() -> None:
    plain, painted = np.full((1, 2, 2, 3), 100, np.uint8), np.full((1, 2, 2, 3), 200, np.uint8)
    assert np.array_equal(mix(plain, painted, 0.0), plain)
    assert np.array_equal(mix(plain, painted, 1.0), painted)
    assert (mix(plain, painted, 0.25) == 125).all()
