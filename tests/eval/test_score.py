"""What a score means: values worked by hand, and scorers that know nothing."""

import numpy as np
import pytest

from eval.benchmarks.builtin import PAIRS
from eval.intervals import bootstrap_mean, holm, sign_flip_p, wilson
from eval.pairs import compare
from eval.score import auroc, score
from eval.scorers import baselines_of, subjects
from eval.traces import Block, Traces, write_traces
from eval.trials import Film, Trial

PLACES = (("a", "u", True), ("b", "v", True), ("a", "v", False), ("b", "u", False))
PROTOCOL = {"windows": {"contexts_s": [0.5]}, "chosen": {"context_s": None}, "model": {"spec": "run"}}


def trial(number: int, split: str = "test", copy_class: str = "neutral") -> Trial:
    films = tuple(Film(f"{split}{number}{c}{o}", "none.mp4", 12.0, 24, label, c, o) for c, o, label in PLACES)
    return Trial(
        f"{split}{number}",
        films,
        PAIRS,
        "permanence",
        split,
        "occluded",
        "1",
        copy_class,
        1.0,
        True,
        (12, 15),
        13,
        (10, 14),
        13,
        14,
    )


def scored(tmp_path, trials: list[Trial], surprise: dict[tuple[str, str], np.ndarray]) -> dict:
    """`surprise` by (windows, scorer): [trials, 4], given as the first of two steps, the second being the same."""
    blocks = [
        Block([film.film_id], scorer, windows, 0.0, 0.5, np.array([1.0, 1.25]), np.full((1, 2), values[index, place]))
        for (windows, scorer), values in surprise.items()
        for index, it in enumerate(trials)
        for place, film in enumerate(it.films)
    ]
    write_traces(tmp_path / "traces.parquet", blocks)
    return score(trials, Traces.open(tmp_path / "traces.parquet"), PROTOCOL)


def test_two_kinds_of_pair_by_hand(tmp_path):
    # one trial; possible (a,u) 1, (b,v) 4; impossible (a,v) 3, (b,u) 2
    found = scored(tmp_path, [trial(0)], {("locked", "distance"): np.array([[1.0, 4.0, 3.0, 2.0]])})
    cell = found["tree"]["locked"]["distance"]["permanence"]["occluded"]["all"]["all"]
    assert cell["same context"]["value"] == 0.5  # (a,u) 1 < (a,v) 3 right; (b,v) 4 > (b,u) 2 wrong
    assert cell["same outcome"]["value"] == 0.5  # (a,u) 1 < (b,u) 2 right; (b,v) 4 > (a,v) 3 wrong
    assert found["headline"]["distance"]["why"] == "fewer than 30 groups"


def test_a_scorer_of_outcomes_alone_is_at_one_half_exactly(tmp_path):
    dice = np.random.default_rng(0)
    outcome = dice.random((40, 2))  # of u and of v: whatever memory would add is not there
    blind = np.stack([outcome[:, 0], outcome[:, 1], outcome[:, 1], outcome[:, 0]], axis=1)
    found = scored(tmp_path, [trial(i) for i in range(40)], {("locked", "distance"): blind})
    assert found["headline"]["distance"]["value"] == 0.5
    cell = found["tree"]["locked"]["distance"]["all"]["occluded"]["all"]["all"]
    assert cell["same context"]["value"] == cell["same outcome"]["value"] == 0.5


def test_a_planted_accuracy_lies_in_its_interval_and_the_sum_of_maxima_flatters_nobody_knows_why(tmp_path):
    dice = np.random.default_rng(1)
    noise = dice.random((300, 4))
    knows = np.where(dice.random((300, 1)) < 0.6, np.array([[0.0, 0.0, 1.0, 1.0]]), np.array([[1.0, 1.0, 0.0, 0.0]]))
    surprise = {("locked", "whitened"): knows + 0.01 * noise, ("locked", "distance"): noise}
    found = scored(tmp_path, [trial(i) for i in range(300)], surprise)
    planted = found["headline"]["whitened"]
    assert planted["low"] < 0.6 < planted["high"]
    assert planted["p"] < 0.01
    blind = found["headline"]["distance"]
    assert blind["low"] < 0.5 < blind["high"]


def test_the_context_is_chosen_on_val_and_the_best_on_test_is_labelled(tmp_path):
    trials = [trial(i) for i in range(30)] + [trial(i, "val") for i in range(4)]
    right, wrong = np.array([0.0, 0.0, 1.0, 1.0]), np.array([1.0, 1.0, 0.0, 0.0])
    blocks = []
    for context, on_test, on_val in ((0.25, right, wrong), (0.5, wrong, right)):
        for it in trials:
            values = on_test if it.split == "test" else on_val
            blocks += [
                Block([film.film_id], "distance", "free", 0.0, context, np.array([1.0]), values[place : place + 1, None])
                for place, film in enumerate(it.films)
            ]
    write_traces(tmp_path / "traces.parquet", blocks)
    found = score(trials, Traces.open(tmp_path / "traces.parquet"), PROTOCOL)
    assert found["context_s"]["distance"] == 0.5
    assert found["tree"]["free"]["distance"]["all"]["all"]["all"]["all"]["both"]["value"] == 0.0
    assert found["best_on_test"]["distance"]["context_s"] == 0.25
    assert "not a result" in found["best_on_test"]["distance"]["label"]


def test_a_missing_film_leaves_its_trial_out_and_is_named(tmp_path):
    trials = [trial(0), trial(1)]
    values = np.array([[0.0, 0.0, 1.0, 1.0]] * 2)
    blocks = [
        Block([film.film_id], "distance", "free", 0.0, 0.5, np.array([1.0]), values[0, place : place + 1, None])
        for it in trials
        for place, film in enumerate(it.films)
        if film.film_id != "test1au"
    ]
    write_traces(tmp_path / "traces.parquet", blocks)
    found = score(trials, Traces.open(tmp_path / "traces.parquet"), PROTOCOL)
    assert found["left_out"] == {"distance": ["test1au"]}
    assert found["tree"]["free"]["distance"]["all"]["all"]["all"]["all"]["both"]["n"] == 1


def test_ties_are_one_half_within_the_noise_of_float32():
    got = compare(np.array([1.0, 1.0, 1.0, 1.0]), np.array([1 + 1e-8, 2.0, 0.5, np.nan]))
    np.testing.assert_array_equal(got, [0.5, 1.0, 0.0, np.nan])


def test_intervals_by_hand():
    assert bootstrap_mean([np.ones(40)]) == (1.0, 1.0, 1.0)
    # differences 1, 1, 1, 1: of 16 sign patterns two are as far from 0
    assert sign_flip_p([np.ones(4)]) == 2 / 16
    # 1, 1, 1, -1: sum 2; patterns with |sum| >= 2 are all but the 6 that sum to 0
    assert sign_flip_p([np.array([1.0, 1.0, 1.0, -1.0])]) == 10 / 16
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06})
    low, high = wilson(6, 6)
    assert (round(low, 2), high) == (0.61, 1.0)


def test_auroc_by_hand():
    # of 4 comparisons: 3>1, 3>2, 2>1, and 2=2 counts half
    assert auroc(np.array([3.0, 2.0]), np.array([1.0, 2.0])) == 3.5 / 4


def test_whitened_stands_beside_whitened():
    there = ["distance", "whitened", "latent copy", "latent copy, whitened", "untrained", "untrained, whitened", "step"]
    assert subjects(there, "run") == ["whitened", "distance"]
    assert baselines_of("whitened", there) == ["untrained, whitened", "latent copy, whitened", "step"]
    assert baselines_of("distance", there) == ["untrained", "latent copy", "step"]
    assert subjects(["pixel copy"], "blind:pixel copy") == ["pixel copy"]
