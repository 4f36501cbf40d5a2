"""Scores of made-up traces, worked by hand, and of scorers whose accuracy is known."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_traces import PROTOCOL, Rows, cell, couple, one_number, quadruplet, traces_of

from eval.voe.scorers import baselines_of, is_baseline, seeds_of, subjects, whitening_steps
from eval.voe.scores.psychometric import bin_means
from eval.voe.scores.score import score
from eval.voe.scores.video_scores import by_scorer
from eval.voe.surprise.traces import Block, Traces, write_traces
from eval.voe.trials import Trial


# --- films ---------------------------------------------------------------------------------------------------------------
def test_a_film_is_the_mean_over_windows_of_the_mean_over_steps(tmp_path):
    rows: Rows = [
        ("f", "distance", "free", 0.0, 0.5, (0.5, 0.6, 0.7), (1, 2, 3)),  # mean 2
        ("f", "distance", "free", 0.2, 0.5, (0.7,), (8,)),  # mean 8; the film: 5, not 14 / 4
        ("f", "distance", "free", 0.0, 1.0, (1.0,), (100,)),  # another context
    ]
    trace = by_scorer(traces_of(tmp_path, rows), ["f", "g"])["free", "distance"]
    assert trace.contexts() == [0.5, 1.0]
    np.testing.assert_equal(trace.film_mean(0.5), [5.0, np.nan])
    np.testing.assert_equal(trace.at(0.5).film_mean(), [5.0, np.nan])
    np.testing.assert_equal(trace.film_mean(), [(2 + 8 + 100) / 3, np.nan])
    np.testing.assert_equal(trace.film_max(0.5), [8.0, np.nan])
    times, course = trace.at(0.5).time_course(0)
    assert times.tolist() == [0.5, 0.6, 0.7]
    assert course.tolist() == [1, 2, 5.5]  # two windows judge 0.7 s: (3 + 8) / 2
    np.testing.assert_equal(trace.at(0.5).peaks_s(), [0.7, np.nan])


def test_rows_in_any_order_give_the_same_film(tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        (f"f{film}", scorer, "free", start, 0.5, (start + 0.5,), (rng.random(),))
        for film in range(5)
        for scorer in ("distance", "whitened")
        for start in (0.0, 0.1, 0.2)
    ]
    ids = [f"f{film}" for film in range(5)]
    (tmp_path / "b").mkdir()
    straight = by_scorer(traces_of(tmp_path, rows), ids)
    shuffled = by_scorer(traces_of(tmp_path / "b", [rows[i] for i in rng.permutation(len(rows))]), ids)
    for key, trace in straight.items():
        np.testing.assert_allclose(trace.film_mean(), shuffled[key].film_mean(), rtol=1e-12)


# --- pairs and cells -----------------------------------------------------------------------------------------------------
def test_one_quadruplet_by_hand(tmp_path):
    trials = [quadruplet("q")]
    # (a,u) (b,v) (a,v) (b,u): same context 3 > 1 right, 2 = 2 half; same outcome 2 > 1 right, 3 > 2 right
    scores = score(trials, one_number(tmp_path, trials, {"distance": lambda trial: [1, 2, 3, 2]}), PROTOCOL)
    assert cell(scores, "locked", "distance", kind="same context")["value"] == 0.75
    assert cell(scores, "locked", "distance", kind="same outcome")["value"] == 1.0
    assert cell(scores, "locked", "distance")["value"] == 0.875
    assert json.loads(json.dumps(scores)) == scores


def test_noise_of_float32_is_a_tie(tmp_path):
    trials = [quadruplet("q")]
    scores = score(trials, one_number(tmp_path, trials, {"distance": lambda t: [1, 1, 1 + 5e-7, 1 - 5e-7]}), PROTOCOL)
    assert cell(scores, "locked", "distance")["value"] == 0.5
    scores = score(trials, one_number(tmp_path, trials, {"distance": lambda t: [1, 1, 1 + 5e-6, 1 + 5e-6]}), PROTOCOL)
    assert cell(scores, "locked", "distance")["value"] == 1.0


def test_all_is_the_mean_over_properties_not_over_trials(tmp_path):
    trials = [quadruplet(f"p{i}") for i in range(3)] + [quadruplet("s", "shape")]
    right = {"distance": lambda t: [0, 0, 1, 1] if t.property == "permanence" else [1, 1, 0, 0]}
    scores = score(trials, one_number(tmp_path, trials, right), PROTOCOL)
    assert cell(scores, "locked", "distance")["value"] == 0.5
    assert cell(scores, "locked", "distance", "permanence")["value"] == 1.0
    assert cell(scores, "locked", "distance", "permanence")["n"] == 3


def test_balanced_counts_easy_and_hard_a_half_each(tmp_path):
    classes = ["easy"] * 3 + ["hard"] + ["neutral"] * 4
    trials = [quadruplet(f"p{i}", copy_class=name) for i, name in enumerate(classes)]
    trials += [quadruplet(f"s{i}", "shape", copy_class="neutral") for i in range(2)]
    right = {"distance": lambda t: [0, 0, 1, 1] if t.copy_class == "easy" else [1, 1, 0, 0]}
    scores = score(trials, one_number(tmp_path, trials, right, "free"), PROTOCOL)
    assert cell(scores, "free", "distance", "permanence", copy_class="easy")["value"] == 1.0
    assert cell(scores, "free", "distance", "permanence", copy_class="hard")["value"] == 0.0
    balanced = cell(scores, "free", "distance", "permanence", copy_class="balanced")
    assert (balanced["value"], balanced["n"]) == (0.5, 4)  # not 3 of 4
    assert cell(scores, "free", "distance", "shape", copy_class="balanced") is None
    assert any("shape" in note and "balanced" in note for note in scores["notes"])


def test_wilson_stands_beside_plain_proportions_only(tmp_path):
    trials = [couple(f"c{i}") for i in range(6)]
    scores = score(trials, one_number(tmp_path, trials, {"distance": lambda t: [2, 1]}, "free"), PROTOCOL)
    it = cell(scores, "free", "distance", kind="matched")
    assert it["wilson_low"] == pytest.approx(0.6097, abs=1e-3)  # 6 of 6
    assert it["low"] == it["high"] == 1.0
    trials = [quadruplet("q")]
    scores = score(trials, one_number(tmp_path, trials, {"distance": lambda t: [1, 2, 3, 2]}), PROTOCOL)
    assert "wilson_low" not in cell(scores, "locked", "distance")


def test_tests_against_chance_are_corrected_over_properties(tmp_path):
    trials = [quadruplet(f"{name}{i}", name) for name in ("permanence", "shape") for i in range(4)]
    right = {"distance": lambda t: [0, 0, 1, 1] if t.property == "permanence" or t.group_id == "shape0" else [1, 1, 1, 1]}
    scores = score(trials, one_number(tmp_path, trials, right), PROTOCOL)
    permanence, shape = (cell(scores, "locked", "distance", name) for name in ("permanence", "shape"))
    assert (permanence["p"], shape["p"]) == (2 / 16, 1.0)  # four groups of one sign; one group that differs
    assert (permanence["p_holm"], shape["p_holm"]) == (4 / 16, 1.0)
    assert "p_holm" not in cell(scores, "locked", "distance")


# --- headline ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("n", "has_value"), [(29, False), (30, True)])
def test_fewer_than_thirty_groups_are_no_headline(tmp_path, n, has_value):
    trials = [quadruplet(f"q{i}") for i in range(n)]
    it = score(trials, one_number(tmp_path, trials, {"distance": lambda t: [0, 0, 1, 1]}), PROTOCOL)["headline"]["distance"]
    assert it["n"] == n
    assert ("value" in it) == has_value
    if not has_value:
        assert it["range"] == [1.0, 1.0]
        assert "30" in it["why"]


def test_the_headline_is_of_spliced_occluded_test_trials_in_locked_windows(tmp_path):
    trials = [quadruplet(f"q{i}") for i in range(30)]
    others = [
        quadruplet("visible", visibility="visible"),
        quadruplet("filmed", spliced=False),
        quadruplet("val", split="val"),
        quadruplet("ood", split="ood"),
    ]
    right = {"distance": lambda t: [0, 0, 1, 1] if t.group_id.startswith("q") else [1, 1, 0, 0]}
    scores = score([*trials, *others], one_number(tmp_path, [*trials, *others], right), PROTOCOL)
    it = scores["headline"]["distance"]
    assert (it["value"], it["n"], it["windows"], it["kind"]) == (1.0, 30, "locked", "both")
    assert scores["splits"]["ood"]["locked"]["distance"]["all"]["all"]["all"]["all"]["both"]["value"] == 0.0
    assert set(scores["splits"]) == {"val", "ood"}


def test_a_benchmark_of_mere_pairs_has_its_headline_in_free_windows(tmp_path):
    trials = [couple(f"c{i}") for i in range(40)]
    scores = score(trials, one_number(tmp_path, trials, {"distance": lambda t: [2, 1]}, "free"), PROTOCOL)
    it = scores["headline"]["distance"]
    assert (it["value"], it["windows"], it["kind"]) == (1.0, "free", "matched")
    assert any("full occlusion" in note for note in scores["notes"])


def test_secret_labels_give_no_numbers(tmp_path):
    trial = replace(couple("c"), pairs=())
    scores = score([trial], one_number(tmp_path, [trial], {"distance": lambda t: [1, 2]}, "free"), PROTOCOL)
    assert scores["headline"] == {}
    assert scores["tree"] == {}


# --- who stands beside whom ----------------------------------------------------------------------------------------------
def test_names():
    there = ["latent copy", "distance", "whitened, 25 films", "whitened", "untrained 10", "untrained 2"]
    there += ["untrained 2, whitened", "diagonal", "new one"]
    assert subjects(there, "runs/it") == ["whitened", "distance", "diagonal", "new one", "whitened, 25 films"]
    assert subjects(there, "blind:pixel copy") == ["pixel copy"]
    assert seeds_of("untrained", there) == ["untrained 2", "untrained 10"]
    assert seeds_of("untrained, whitened", there) == ["untrained 2, whitened"]
    assert is_baseline("latent copy, whitened")
    assert not is_baseline("untrainedness")
    pool = ["untrained", "untrained, whitened", "latent copy", "step"]
    assert baselines_of("whitened", pool) == ["untrained, whitened", "latent copy", "step"]
    assert baselines_of("distance", pool) == ["untrained", "latent copy", "step"]


def test_whitening_goes_from_none_to_the_most():
    there = [
        "whitened",
        "whitened, per place",
        "whitened, 100 films",
        "distance",
        "whitened, 25 films",
        "diagonal",
        "latent copy",
    ]
    films = ["whitened, 25 films", "whitened, 100 films"]
    assert whitening_steps(there) == ["distance", "diagonal", *films, "whitened", "whitened, per place"]


def test_untrained_networks_are_one_baseline_with_their_range(tmp_path):
    trials = [quadruplet(f"q{i}") for i in range(4)]
    surprise = {
        "distance": lambda t: [0, 0, 1, 1],
        "untrained 0": lambda t: [0, 0, 1, 1],
        "untrained 1": lambda t: [1, 1, 0, 0],
        "untrained 2": lambda t: [1, 1, 0, 0],
        "untrained 0, whitened": lambda t: [1, 1, 1, 1],
    }
    scores = score(trials, one_number(tmp_path, trials, surprise), PROTOCOL)
    baseline = cell(scores, "locked", "distance")["baselines"]["untrained"]
    assert baseline["value"] == pytest.approx(1 / 3)
    assert baseline["seeds"] == [0.0, 1.0]
    assert baseline["p"] == 2 / 16  # the model is better by 2/3 in each of four groups
    assert set(scores["tree"]["locked"]) == {"distance", "untrained", "untrained, whitened"}
    alone = cell(scores, "locked", "untrained")
    assert alone["value"] == pytest.approx(1 / 3)
    assert (alone["low"], alone["high"], alone["networks"], alone["p"]) == (0.0, 1.0, 3, None)  # three may all be like one


def test_who_saw_free_windows_only_is_absent_from_locked_ones(tmp_path):
    trials = [quadruplet("q")]
    rows: Rows = [
        (film.film_id, scorer, windows, 0.0, 0.5, (0.5,), (1.0 + place,))
        for place, film in enumerate(trials[0].films)
        for scorer, windows in (("distance", "free"), ("distance", "locked"), ("motion energy", "free"), ("step", "free"))
    ]
    scores = score(trials, traces_of(tmp_path, rows), PROTOCOL)
    assert cell(scores, "locked", "distance")["blind"] == cell(scores, "locked", "distance")["baselines"] == {}
    assert set(cell(scores, "free", "distance")["blind"]) == {"motion energy"}
    assert set(cell(scores, "free", "distance")["baselines"]) == {"step"}


def test_a_missing_film_leaves_its_trial_out_of_that_scorer_and_is_counted(tmp_path):
    trials = [quadruplet(f"q{i}") for i in range(3)]
    rows: Rows = [
        (film.film_id, scorer, "locked", 0.0, 0.5, (0.5,), (0.0 if film.label else 1.0,))
        for trial in trials
        for film in trial.films
        for scorer in ("distance", "latent copy")
        if not (scorer == "distance" and film.film_id == "q1-bu")
    ]
    scores = score(trials, traces_of(tmp_path, rows), PROTOCOL)
    assert scores["left_out"] == {"distance": ["q1-bu"]}
    it = cell(scores, "locked", "distance")
    assert (it["value"], it["n"]) == (1.0, 2)
    assert cell(scores, "locked", "latent copy")["n"] == 3
    unread = {**PROTOCOL, "left_out": {"q2-au": "no frames"}}
    assert score(trials, traces_of(tmp_path, rows), unread)["left_out"]["latent copy"] == ["q2-au"]


def test_a_surprise_that_is_no_number_is_left_out_too(tmp_path):
    trials = [quadruplet("q"), quadruplet("r")]
    surprise = {"distance": lambda t: [0, 0, 1, np.nan if t.group_id == "q" else 1]}
    scores = score(trials, one_number(tmp_path, trials, surprise), PROTOCOL)
    assert scores["left_out"] == {"distance": ["q-bu"]}
    assert cell(scores, "locked", "distance")["n"] == 1


# --- context length ------------------------------------------------------------------------------------------------------
def contexts(folder: Path, splits: Sequence[str]) -> tuple[list[Trial], Traces]:
    """The long context is right on val, the short one on test."""
    trials = [quadruplet(f"{split}{i}", split=split) for split in splits for i in range(3)]
    rows = [
        (film.film_id, "distance", "free", 0.0, context, (1.0,), (float(film.label is (context == wrong)),))
        for trial in trials
        for film in trial.films
        for context in (0.5, 1.0)
        for wrong in ({"val": 0.5, "test": 1.0}[trial.split],)
    ]
    return trials, traces_of(folder, rows)


def test_the_context_is_chosen_on_val_and_the_best_on_test_is_labelled(tmp_path):
    scores = score(*contexts(tmp_path, ("val", "test")), PROTOCOL)
    assert scores["context_s"] == {"distance": 1.0}
    assert cell(scores, "free", "distance")["value"] == 0.0
    assert scores["contexts"]["distance"] == {"0.5": {"val": 0.0, "test": 1.0}, "1": {"val": 1.0, "test": 0.0}}
    assert scores["best_on_test"]["distance"] == {"context_s": 0.5, "value": 1.0, "label": "chosen on test: not a result"}


def test_a_given_context_is_taken(tmp_path):
    given = {**PROTOCOL, "chosen": {"context_s": 0.5, "by": "given"}}
    assert score(*contexts(tmp_path, ("val", "test")), given)["context_s"] == {"distance": 0.5}


def test_without_val_the_shortest_context_is_taken_and_said(tmp_path):
    scores = score(*contexts(tmp_path, ("test",)), PROTOCOL)
    assert scores["context_s"] == {"distance": 0.5}
    assert any("no val split" in note and "0.5 s" in note for note in scores["notes"])


# --- curves, localisation, the field's numbers ---------------------------------------------------------------------------
def test_bins_have_about_equal_n():
    bins = bin_means(np.arange(8.0), np.array([0, 0, 0, 1, 1, 1, 1, 1.0]))
    found = [(it["from"], it["to"], it["value"], it["n"]) for it in bins]
    assert found == [(0, 1, 0, 2), (2, 3, 0.5, 2), (4, 5, 1, 2), (6, 7, 1, 2)]
    assert bin_means(np.full(5, 0.3), np.ones(5)) == []


def test_accuracy_grows_with_magnitude_and_falls_with_occlusion(tmp_path):
    trials = [quadruplet(f"q{i}", magnitude=i / 10, occlusion=(5, 20 - i)) for i in range(8)]
    right = {"distance": lambda t: [0, 0, 1, 1] if t.magnitude > 0.35 else [1, 1, 0, 0]}
    scores = score(trials, one_number(tmp_path, trials, right), PROTOCOL)
    assert [it["value"] for it in scores["magnitude"]["distance"]["permanence"]] == [0, 0, 1, 1]
    hidden = scores["occlusion_s"]["distance"]["permanence"]
    assert (hidden[0]["from"], hidden[0]["to"]) == (0.8, 0.9)  # 8 and 9 frames at 10 a second
    assert [it["value"] for it in hidden] == [1, 1, 0, 0]


def test_a_peak_at_the_reveal_is_found_there(tmp_path):
    trial = quadruplet("q", reveal=20)  # 2.0 s

    def rows(lag: float, scorer: str) -> Rows:
        times = np.arange(10, 30) / 10
        peak = np.abs(times - 2.0 - lag) < 0.01
        return [(film.film_id, scorer, "free", 0.0, 1.0, times, 1.0 + 3 * peak) for film in trial.films]

    scores = score([trial], traces_of(tmp_path, [*rows(0.2, "distance"), *rows(-0.5, "pixel copy")]), PROTOCOL)
    found = scores["localisation"]["distance"]["permanence"]
    assert (found["share"], found["n"], found["delta_s"]) == (1.0, 2, 0.25)  # the two impossible films
    assert found["lag_s"] == pytest.approx(0.2)
    assert scores["localisation"]["pixel copy"]["all"]["share"] == 0.0
    assert scores["localisation"]["pixel copy"]["all"]["lag_s"] == pytest.approx(-0.5)


def test_planted_accuracy_is_found_within_its_interval(tmp_path):
    rng = np.random.default_rng(1)
    trials = [quadruplet(f"{name}{i}", name) for name in ("permanence", "shape") for i in range(200)]
    planted = {"permanence": 0.9, "shape": 0.6}
    surprise = {"distance": lambda t: [0, 0, 1, 1] if rng.random() < planted[t.property] else [1, 1, 0, 0]}
    scores = score(trials, one_number(tmp_path, trials, surprise), PROTOCOL)
    for name, truth in {**planted, "all": 0.75}.items():
        it = cell(scores, "locked", "distance", name)
        assert it["low"] <= truth <= it["high"]
        assert it["high"] - it["low"] < 0.15
        assert it["p"] < 0.05
    assert scores["headline"]["distance"]["low"] <= 0.75 <= scores["headline"]["distance"]["high"]


def test_who_sees_only_the_outcome_is_at_one_half_exactly(tmp_path):
    """In a locked window the two contexts look alike: a blind scorer's surprise is a function of the outcome alone."""
    rng = np.random.default_rng(2)
    trials = [quadruplet(f"{name}{i}", name) for name in ("permanence", "shape") for i in range(50)]

    def by_outcome(trial: Trial) -> list[float]:
        of = {"u": rng.lognormal(), "v": rng.lognormal()}
        return [of[film.outcome_id] * (1 + 1e-7 * rng.standard_normal()) for film in trial.films]  # as float32 would

    scores = score(trials, one_number(tmp_path, trials, {"distance": by_outcome, "pixel copy": by_outcome}), PROTOCOL)
    for name in ("all", "permanence", "shape"):
        for scorer in ("distance", "pixel copy"):
            for kind in ("both", "same context", "same outcome"):
                it = cell(scores, "locked", scorer, name, kind)
                assert (it["value"], it["low"], it["high"], it["p"]) == (0.5, 0.5, 0.5, 1.0)
    assert scores["headline"]["distance"]["blind"] == {"pixel copy": 0.5}
    assert scores["diagnostics"]["locked"]["distance"]["quadruplet strict"]["value"] == 0.0


def test_scores_need_no_torch():
    code = "import sys; import eval.voe.scores.score, eval.voe.scores.tables, eval.commands.compare; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_million_rows_in_a_moment(tmp_path):
    trials = [quadruplet(f"q{i}", split="val" if i % 5 == 0 else "test", level=str(i % 3)) for i in range(250)]
    ids = [film.film_id for trial in trials for film in trial.films]
    rng = np.random.default_rng(6)
    blocks = [
        Block(ids, scorer, windows, start / 10, context, start / 10 + context + np.arange(10) / 10, rng.random((len(ids), 10)))
        for scorer in ("distance", "whitened", "latent copy", "pixel copy", "untrained 0")
        for windows, contexts_s in (("locked", (1.0,)), ("free", (0.5, 1.0)))
        for context in contexts_s
        for start in range(7)
    ]
    write_traces(tmp_path / "traces.parquet", blocks)
    traces = Traces.open(tmp_path / "traces.parquet")
    assert traces.table.num_rows == 1_050_000
    began = time.process_time()
    score(trials, traces, PROTOCOL)
    assert time.process_time() - began < 15  # about 1.5 on one core
