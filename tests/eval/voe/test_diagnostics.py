"""Scores that mislead when they are read alone, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from made_traces import PROTOCOL, cell, couple, one_number, quadruplet, traces_of

from eval.voe.pairs import strictly_ordered
from eval.voe.scores.diagnostics import auroc, best_threshold, levels, threshold_accuracy
from eval.voe.scores.score import score


def test_in_the_published_number_a_tie_is_wrong(tmp_path):
    trials = [couple("a"), couple("b"), couple("c"), couple("d")]
    surprise = {"a": [2, 1], "b": [1, 1], "c": [2, 1], "d": [1, 2]}
    scores = score(
        trials, one_number(tmp_path, trials, {"latent distance": lambda t: surprise[t.group_id]}, "sliding"), PROTOCOL
    )
    assert cell(scores, "sliding", "latent distance", kind="matched")["value"] == 2.5 / 4
    assert scores["published"]["latent distance"]["all"]["value"] == 2 / 4


def test_auroc_by_hand():
    surprise, impossible = np.array([1.0, 2.0, 2.0, 3.0]), np.array([False, False, True, True])
    assert auroc(surprise, impossible) == 3.5 / 4  # 2 > 1, 2 = 2, 3 > 1, 3 > 2
    assert auroc(surprise * (1 + 1e-8 * np.arange(4)), impossible) == 3.5 / 4  # noise ties
    assert levels(np.array([5.0, 1.0, 5.0 + 1e-7])).tolist() == [1, 0, 1]


def test_a_threshold_comes_from_other_videos():
    assert best_threshold(np.array([1.0, 2.0, 4.0, 5.0]), np.array([False, False, True, True])) == 3.0
    surprise = np.tile([1.0, 9.0], 10)
    impossible, group = np.tile([False, True], 10), np.repeat(np.arange(10), 2)
    assert threshold_accuracy(surprise, impossible, group).mean() == 1.0
    # each group's own scale, impossible above possible in all: pairs are right, thresholds are not
    drifting = surprise + 20.0 * np.arange(10).repeat(2)
    assert threshold_accuracy(drifting, impossible, group).mean() < 0.7
    rng = np.random.default_rng(0)
    noise = threshold_accuracy(rng.random(4000), rng.permutation(np.arange(4000) % 2 == 0), np.arange(4000) // 4)
    assert noise.mean() == pytest.approx(0.5, abs=0.03)


def test_a_strict_quadruplet_needs_all_four_pairs():
    possible, impossible = np.array([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0]]), np.array([[3.0, 4.0], [1.5, 4.0], [2.0, 4.0]])
    assert strictly_ordered(possible, impossible).tolist() == [1, 0, 0]


# --- claims --------------------------------------------------------------------------------------------------------------


def test_a_weak_memory_shows_in_quadruplet_sums_but_not_in_pairs(tmp_path):
    """The outcome alone adds 10 or 0 to the surprise, an impossible video adds 1: one of every two pairs is right."""
    trials = [quadruplet(f"{name}{i}", name) for name in ("shape", "colour") for i in range(4)]
    known = {"shape": [10, 0, 1, 11], "colour": [10, 0, 0, 10]}  # (a, u), (b, v), (a, v), (b, u)
    scores = score(trials, one_number(tmp_path, trials, {"latent distance": lambda t: known[t.property]}), PROTOCOL)
    sums = {what: entry["value"] for what, entry in scores["diagnostics"]["locked"]["latent distance"].items() if "sum" in what}
    assert (sums["quadruplet sum, shape"], sums["quadruplet sum, colour"], sums["quadruplet sum"]) == (1.0, 0.5, 0.75)
    assert cell(scores, "locked", "latent distance", "shape", "same context")["value"] == 0.5


def test_a_sum_of_maxima_favours_the_impossible_and_a_mean_does_not(tmp_path):
    """The known failure. A possible video's halves go together (slow, slow; fast, fast), an impossible one's are mixed.
    Both impossible videos have a fast half: the sum of their maxima is higher although the scorer knows nothing."""
    rng = np.random.default_rng(4)
    trials = [quadruplet(f"q{i}") for i in range(400)]
    rows = []
    for trial in trials:
        pace = dict(zip("ab", np.exp(rng.normal(size=2)), strict=True))
        half = {**pace, **{o: pace[c] * np.exp(0.3 * rng.normal()) for c, o in (("a", "u"), ("b", "v"))}}
        for video in trial.videos:
            rows.append((video.video_id, "latent distance", "sliding", 0.0, 0.5, (0.5,), (half[video.context_id],)))
            rows.append((video.video_id, "latent distance", "sliding", 1.0, 0.5, (1.5,), (half[video.outcome_id],)))
    scores = score(trials, traces_of(tmp_path, rows), {**PROTOCOL, "chosen": {"context_s": 0.5}})
    found = scores["diagnostics"]["sliding"]["latent distance"]
    assert found["quadruplet sum of max"]["value"] > 0.8
    assert found["quadruplet sum"]["value"] == 0.5  # the same halves on both sides: a tie in every quadruplet
    assert cell(scores, "sliding", "latent distance")["value"] == pytest.approx(0.5, abs=1e-9)
