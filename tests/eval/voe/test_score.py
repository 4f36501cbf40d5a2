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

from eval.voe.scorers import Fit, ScorerId, baselines_of, evaluated_scorers, seeds_of, whitening_steps
from eval.voe.scores.psychometric import bin_means
from eval.voe.scores.score import score
from eval.voe.scores.video_scores import traces_by_scorer
from eval.voe.surprise.traces import TraceBlock, Traces, write_traces
from eval.voe.trials import Trial


# --- videos ---------------------------------------------------------------------------------------------------------------
def test_a_video_is_the_mean_over_windows_of_the_mean_over_steps(tmp_path):
    rows: Rows = [
        ("f", "latent distance", "sliding", 0.0, 0.5, (0.5, 0.6, 0.7), (1, 2, 3)),  # mean 2
        ("f", "latent distance", "sliding", 0.2, 0.5, (0.7,), (8,)),  # mean 8; the video: 5, not 14 / 4
        ("f", "latent distance", "sliding", 0.0, 1.0, (1.0,), (100,)),  # another context
    ]
    trace = traces_by_scorer(traces_of(tmp_path, rows), ["f", "g"])["sliding", ScorerId()]
    assert trace.contexts() == [0.5, 1.0]
    np.testing.assert_equal(trace.video_mean(0.5), [5.0, np.nan])
    np.testing.assert_equal(trace.at(0.5).video_mean(), [5.0, np.nan])
    np.testing.assert_equal(trace.video_mean(), [(2 + 8 + 100) / 3, np.nan])
    np.testing.assert_equal(trace.video_max(0.5), [8.0, np.nan])
    times, course = trace.at(0.5).time_course(0)
    assert times.tolist() == [0.5, 0.6, 0.7]
    assert course.tolist() == [1, 2, 5.5]  # two windows cover 0.7 s: (3 + 8) / 2
    np.testing.assert_equal(trace.at(0.5).peaks_s(), [0.7, np.nan])


def test_rows_in_any_order_give_the_same_video(tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        (f"f{video}", scorer, "sliding", start, 0.5, (start + 0.5,), (rng.random(),))
        for video in range(5)
        for scorer in ("latent distance", "whitened")
        for start in (0.0, 0.1, 0.2)
    ]
    ids = [f"f{video}" for video in range(5)]
    (tmp_path / "b").mkdir()
    straight = traces_by_scorer(traces_of(tmp_path, rows), ids)
    shuffled = traces_by_scorer(traces_of(tmp_path / "b", [rows[i] for i in rng.permutation(len(rows))]), ids)
    for key, trace in straight.items():
        np.testing.assert_allclose(trace.video_mean(), shuffled[key].video_mean(), rtol=1e-12)


# --- pairs and cells -----------------------------------------------------------------------------------------------------
def test_one_quadruplet_by_hand(tmp_path):
    trials = [quadruplet("q")]
    # (a,u) (b,v) (a,v) (b,u): same context 3 > 1 right, 2 = 2 half; same outcome 2 > 1 right, 3 > 2 right
    scores = score(trials, one_number(tmp_path, trials, {"latent distance": lambda trial: [1, 2, 3, 2]}), PROTOCOL)
    assert cell(scores, "locked", "latent distance", kind="same context")["value"] == 0.75
    assert cell(scores, "locked", "latent distance", kind="same outcome")["value"] == 1.0
    assert cell(scores, "locked", "latent distance")["value"] == 0.875
    assert json.loads(json.dumps(scores)) == scores


def test_noise_of_float32_is_a_tie(tmp_path):
    trials = [quadruplet("q")]
    scores = score(trials, one_number(tmp_path, trials, {"latent distance": lambda t: [1, 1, 1 + 5e-7, 1 - 5e-7]}), PROTOCOL)
    assert cell(scores, "locked", "latent distance")["value"] == 0.5
    scores = score(trials, one_number(tmp_path, trials, {"latent distance": lambda t: [1, 1, 1 + 5e-6, 1 + 5e-6]}), PROTOCOL)
    assert cell(scores, "locked", "latent distance")["value"] == 1.0


def test_all_is_the_mean_over_properties_not_over_trials(tmp_path):
    trials = [quadruplet(f"p{i}") for i in range(3)] + [quadruplet("s", "shape")]
    right = {"latent distance": lambda t: [0, 0, 1, 1] if t.property == "permanence" else [1, 1, 0, 0]}
    scores = score(trials, one_number(tmp_path, trials, right), PROTOCOL)
    assert cell(scores, "locked", "latent distance")["value"] == 0.5
    assert cell(scores, "locked", "latent distance", "permanence")["value"] == 1.0
    assert cell(scores, "locked", "latent distance", "permanence")["n"] == 3


def test_balanced_weighs_easy_and_hard_equally(tmp_path):
    classes = ["easy"] * 3 + ["hard"] + ["neutral"] * 4
    trials = [quadruplet(f"p{i}", copy_class=name) for i, name in enumerate(classes)]
    trials += [quadruplet(f"s{i}", "shape", copy_class="neutral") for i in range(2)]
    right = {"latent distance": lambda t: [0, 0, 1, 1] if t.copy_class == "easy" else [1, 1, 0, 0]}
    scores = score(trials, one_number(tmp_path, trials, right, "sliding"), PROTOCOL)
    assert cell(scores, "sliding", "latent distance", "permanence", copy_class="easy")["value"] == 1.0
    assert cell(scores, "sliding", "latent distance", "permanence", copy_class="hard")["value"] == 0.0
    balanced = cell(scores, "sliding", "latent distance", "permanence", copy_class="balanced")
    assert (balanced["value"], balanced["n"]) == (0.5, 4)  # not 3 of 4
    assert cell(scores, "sliding", "latent distance", "shape", copy_class="balanced") is None
    assert any("shape" in note and "balanced" in note for note in scores["notes"])


def test_only_plain_proportions_have_a_wilson_interval(tmp_path):
    trials = [couple(f"c{i}") for i in range(6)]
    scores = score(trials, one_number(tmp_path, trials, {"latent distance": lambda t: [2, 1]}, "sliding"), PROTOCOL)
    entry = cell(scores, "sliding", "latent distance", kind="matched")
    assert entry["wilson_low"] == pytest.approx(0.6097, abs=1e-3)  # 6 of 6
    assert entry["low"] == entry["high"] == 1.0
    trials = [quadruplet("q")]
    scores = score(trials, one_number(tmp_path, trials, {"latent distance": lambda t: [1, 2, 3, 2]}), PROTOCOL)
    assert "wilson_low" not in cell(scores, "locked", "latent distance")


def test_tests_against_chance_are_corrected_over_properties(tmp_path):
    trials = [quadruplet(f"{name}{i}", name) for name in ("permanence", "shape") for i in range(4)]
    right = {
        "latent distance": lambda t: [0, 0, 1, 1] if t.property == "permanence" or t.group_id == "shape0" else [1, 1, 1, 1]
    }
    scores = score(trials, one_number(tmp_path, trials, right), PROTOCOL)
    permanence, shape = (cell(scores, "locked", "latent distance", name) for name in ("permanence", "shape"))
    assert (permanence["p"], shape["p"]) == (2 / 16, 1.0)  # four groups of one sign; one group that differs
    assert (permanence["p_holm"], shape["p_holm"]) == (4 / 16, 1.0)
    assert "p_holm" not in cell(scores, "locked", "latent distance")


# --- headline ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("n", "has_value"), [(29, False), (30, True)])
def test_fewer_than_thirty_trials_are_no_headline(tmp_path, n, has_value):
    trials = [quadruplet(f"q{i}") for i in range(n)]
    entry = score(trials, one_number(tmp_path, trials, {"latent distance": lambda t: [0, 0, 1, 1]}), PROTOCOL)["headline"][
        "latent distance"
    ]
    assert entry["n"] == n
    assert ("value" in entry) == has_value
    if not has_value:
        assert entry["range"] == [1.0, 1.0]
        assert "30" in entry["reason"]


def test_the_headline_is_of_spliced_occluded_test_trials_in_locked_windows(tmp_path):
    trials = [quadruplet(f"q{i}") for i in range(30)]
    others = [
        quadruplet("visible", visibility="visible"),
        quadruplet("recorded", spliced=False),
        quadruplet("val", split="val"),
        quadruplet("ood", split="ood"),
    ]
    right = {"latent distance": lambda t: [0, 0, 1, 1] if t.group_id.startswith("q") else [1, 1, 0, 0]}
    scores = score([*trials, *others], one_number(tmp_path, [*trials, *others], right), PROTOCOL)
    entry = scores["headline"]["latent distance"]
    assert (entry["value"], entry["n"], entry["windows"], entry["kind"]) == (1.0, 30, "locked", "both")
    assert scores["splits"]["ood"]["locked"]["latent distance"]["all"]["all"]["all"]["all"]["both"]["value"] == 0.0
    assert set(scores["splits"]) == {"val", "ood"}


def test_what_went_in_and_how_it_moved_are_means_of_their_own(tmp_path):
    right = {"permanence": 1.0, "colour": 0.0, "direction": 1.0, "spin": 1.0, "gravity": 0.0}
    trials = [quadruplet(f"{name}{i}", name) for name in right for i in range(15)]
    traces = one_number(
        tmp_path,
        trials,
        {
            "latent distance": lambda t: [0, 0, 1, 1] if right[t.property] else [1, 1, 0, 0],
            "shuffled context": lambda t: [1, 1, 1, 1],
        },
    )
    found = score(trials, traces, PROTOCOL)["questions"]["latent distance"]
    assert {question: (it["value"], it["n"], it["properties"]) for question, it in found.items()} == {
        "what went in": (0.5, 30, ["permanence", "colour"]),
        "how it moved": (1.0, 30, ["direction", "spin"]),
    }
    assert found["how it moved"]["baselines"] == {"shuffled context": 0.5}
    few = [trial for trial in trials if not trial.group_id.endswith("0")]
    assert score(few, one_number(tmp_path, few, {"latent distance": lambda t: [0, 0, 1, 1]}), PROTOCOL)["questions"] == {}


def test_a_benchmark_of_pairs_has_its_headline_in_sliding_windows(tmp_path):
    trials = [couple(f"c{i}") for i in range(40)]
    scores = score(trials, one_number(tmp_path, trials, {"latent distance": lambda t: [2, 1]}, "sliding"), PROTOCOL)
    entry = scores["headline"]["latent distance"]
    assert (entry["value"], entry["windows"], entry["kind"]) == (1.0, "sliding", "matched")
    assert any("full occlusion" in note for note in scores["notes"])


def test_secret_labels_give_no_numbers(tmp_path):
    trial = replace(couple("c"), pairs=())
    scores = score([trial], one_number(tmp_path, [trial], {"latent distance": lambda t: [1, 2]}, "sliding"), PROTOCOL)
    assert scores["headline"] == {}
    assert scores["tree"] == {}


# --- names of scorers and their baselines ----------------------------------------------------------
def parse(*names: str) -> list[ScorerId]:
    return list(map(ScorerId.parse, names))


NAMES = [
    "latent distance",
    "whitened",
    "adjusted",
    "diagonal",
    "whitened, 25 videos",
    "whitened, per token",
    "latent copy",
    "latent copy, whitened",
    "masked context, adjusted",
    "untrained",
    "untrained, whitened",
    "untrained 3",
    "untrained 12, adjusted",
    "pixel copy",
    "step length",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_scorer_is_parsed_from_the_name_that_it_is_written_as(name):
    assert str(ScorerId.parse(name)) == name


def test_a_name_is_parsed_into_forecaster_distance_seed_and_fit():
    assert ScorerId.parse("untrained 12, adjusted") == ScorerId("untrained", "adjusted", 12)
    assert ScorerId.parse("whitened, 25 videos") == ScorerId("model", "whitened", fit=Fit(videos=25))
    assert ScorerId.parse("latent distance") == ScorerId("model", "raw")


@pytest.mark.parametrize("name", ["", "untrained x", "untrainedness", "whitened, 25", "latent copy, raw", "a, b", "whitened, "])
def test_a_name_of_no_scorer_is_refused(name):
    with pytest.raises(ValueError, match=r"no (scorer|fit)"):
        ScorerId.parse(name)


def test_scorers_are_ordered_and_baselines_have_the_distance_of_the_scorer():
    there = parse("latent copy", "latent distance", "whitened, 25 videos", "whitened", "untrained 10", "untrained 2")
    there += parse("untrained 2, whitened", "diagonal", "whitened, per token")
    own = ["whitened", "latent distance", "diagonal", "whitened, 25 videos", "whitened, per token"]
    assert evaluated_scorers(there, "runs/it") == parse(*own)
    assert evaluated_scorers(there, "baseline:pixel copy") == parse("pixel copy")
    assert seeds_of(ScorerId("untrained"), there) == parse("untrained 2", "untrained 10")
    assert seeds_of(ScorerId("untrained", "whitened"), there) == parse("untrained 2, whitened")
    assert ScorerId.parse("latent copy, whitened").is_baseline
    assert ScorerId.parse("latent copy, whitened").forecaster_name == "latent copy"
    pool = parse("untrained", "untrained, whitened", "latent copy", "step length")
    assert baselines_of(ScorerId(distance="whitened"), pool) == parse("untrained, whitened", "latent copy", "step length")
    assert baselines_of(ScorerId(), pool) == parse("untrained", "latent copy", "step length")


def test_whitening_goes_from_none_to_the_most():
    names = ["whitened", "whitened, per token", "whitened, 100 videos", "latent distance", "whitened, 25 videos", "diagonal"]
    fewer = ["whitened, 25 videos", "whitened, 100 videos"]
    expected = parse("latent distance", "diagonal", *fewer, "whitened", "whitened, per token")
    assert whitening_steps(parse(*names, "latent copy")) == expected


def test_untrained_networks_are_one_baseline_with_their_range(tmp_path):
    trials = [quadruplet(f"q{i}") for i in range(4)]
    surprise = {
        "latent distance": lambda t: [0, 0, 1, 1],
        "untrained 0": lambda t: [0, 0, 1, 1],
        "untrained 1": lambda t: [1, 1, 0, 0],
        "untrained 2": lambda t: [1, 1, 0, 0],
        "untrained 0, whitened": lambda t: [1, 1, 1, 1],
    }
    scores = score(trials, one_number(tmp_path, trials, surprise), PROTOCOL)
    baseline = cell(scores, "locked", "latent distance")["baselines"]["untrained"]
    assert baseline["value"] == pytest.approx(1 / 3)
    assert baseline["seeds"] == [0.0, 1.0]
    assert baseline["p"] == 2 / 16  # the model is better by 2/3 in each of four groups
    assert set(scores["tree"]["locked"]) == {"latent distance", "untrained", "untrained, whitened"}
    alone = cell(scores, "locked", "untrained")
    assert alone["value"] == pytest.approx(1 / 3)
    assert (alone["low"], alone["high"], alone["networks"], alone["p"]) == (0.0, 1.0, 3, None)  # three may all be like one


def test_a_scorer_of_sliding_windows_is_absent_from_locked_ones(tmp_path):
    trials = [quadruplet("q")]
    rows: Rows = [
        (video.video_id, scorer, windows, 0.0, 0.5, (0.5,), (1.0 + index,))
        for index, video in enumerate(trials[0].videos)
        for scorer, windows in (
            ("latent distance", "sliding"),
            ("latent distance", "locked"),
            ("motion energy", "sliding"),
            ("step length", "sliding"),
        )
    ]
    scores = score(trials, traces_of(tmp_path, rows), PROTOCOL)
    assert (
        cell(scores, "locked", "latent distance")["pixel_baselines"]
        == cell(scores, "locked", "latent distance")["baselines"]
        == {}
    )
    assert set(cell(scores, "sliding", "latent distance")["pixel_baselines"]) == {"motion energy"}
    assert set(cell(scores, "sliding", "latent distance")["baselines"]) == {"step length"}


def test_a_missing_video_leaves_its_trial_out_of_that_scorer_and_is_counted(tmp_path):
    trials = [quadruplet(f"q{i}") for i in range(3)]
    rows: Rows = [
        (video.video_id, scorer, "locked", 0.0, 0.5, (0.5,), (0.0 if video.label else 1.0,))
        for trial in trials
        for video in trial.videos
        for scorer in ("latent distance", "latent copy")
        if not (scorer == "latent distance" and video.video_id == "q1-bu")
    ]
    scores = score(trials, traces_of(tmp_path, rows), PROTOCOL)
    assert scores["left_out"] == {"latent distance": ["q1-bu"]}
    entry = cell(scores, "locked", "latent distance")
    assert (entry["value"], entry["n"]) == (1.0, 2)
    assert cell(scores, "locked", "latent copy")["n"] == 3
    unread = {**PROTOCOL, "left_out": {"q2-au": "no frames"}}
    assert score(trials, traces_of(tmp_path, rows), unread)["left_out"]["latent copy"] == ["q2-au"]


def test_a_surprise_that_is_not_finite_is_left_out_too(tmp_path):
    trials = [quadruplet("q"), quadruplet("r")]
    surprise = {"latent distance": lambda t: [0, 0, 1, np.nan if t.group_id == "q" else 1]}
    scores = score(trials, one_number(tmp_path, trials, surprise), PROTOCOL)
    assert scores["left_out"] == {"latent distance": ["q-bu"]}
    assert cell(scores, "locked", "latent distance")["n"] == 1


# --- context length ------------------------------------------------------------------------------------------------------
def contexts(folder: Path, splits: Sequence[str]) -> tuple[list[Trial], Traces]:
    """The long context is right on val, the short one on test."""
    trials = [quadruplet(f"{split}{i}", split=split) for split in splits for i in range(3)]
    rows = [
        (video.video_id, "latent distance", "sliding", 0.0, context, (1.0,), (float(video.label is (context == wrong)),))
        for trial in trials
        for video in trial.videos
        for context in (0.5, 1.0)
        for wrong in ({"val": 0.5, "test": 1.0}[trial.split],)
    ]
    return trials, traces_of(folder, rows)


def test_the_context_is_chosen_on_val_and_the_best_on_test_is_labelled(tmp_path):
    scores = score(*contexts(tmp_path, ("val", "test")), PROTOCOL)
    assert scores["context_s"] == {"latent distance": 1.0}
    assert cell(scores, "sliding", "latent distance")["value"] == 0.0
    assert scores["contexts"]["latent distance"] == {"0.5": {"val": 0.0, "test": 1.0}, "1": {"val": 1.0, "test": 0.0}}
    assert scores["best_on_test"]["latent distance"] == {
        "context_s": 0.5,
        "value": 1.0,
        "label": "chosen on test: not a result",
    }


def test_a_given_context_is_used(tmp_path):
    given = {**PROTOCOL, "chosen": {"context_s": 0.5, "by": "given"}}
    assert score(*contexts(tmp_path, ("val", "test")), given)["context_s"] == {"latent distance": 0.5}


def test_without_val_the_shortest_context_is_used_and_noted(tmp_path):
    scores = score(*contexts(tmp_path, ("test",)), PROTOCOL)
    assert scores["context_s"] == {"latent distance": 0.5}
    assert any("no val split" in note and "0.5 s" in note for note in scores["notes"])


# --- curves and localisation ---------------------------------------------------------------------------
def test_bins_have_about_equal_n():
    bins = bin_means(np.arange(8.0), np.array([0, 0, 0, 1, 1, 1, 1, 1.0]))
    found = [(entry["from"], entry["to"], entry["value"], entry["n"]) for entry in bins]
    assert found == [(0, 1, 0, 2), (2, 3, 0.5, 2), (4, 5, 1, 2), (6, 7, 1, 2)]
    assert bin_means(np.full(5, 0.3), np.ones(5)) == []
    of_each = bin_means(np.array([0.5, 2.0, 1.0, 1.0, 2.0, 0.5, 2.0]), np.array([1, 0, 1, 0, 0, 1, 0.0]))
    assert [(entry["from"], entry["to"], entry["value"], entry["n"]) for entry in of_each] == [
        (0.5, 0.5, 1, 2),
        (1, 1, 0.5, 2),
        (2, 2, 0, 3),
    ]


def test_accuracy_grows_with_magnitude_and_falls_with_occlusion(tmp_path):
    trials = [quadruplet(f"q{i}", magnitude=i / 10, occluded_frames=(5, 20 - i)) for i in range(8)]
    right = {"latent distance": lambda t: [0, 0, 1, 1] if t.magnitude > 0.35 else [1, 1, 0, 0]}
    scores = score(trials, one_number(tmp_path, trials, right), PROTOCOL)
    assert [entry["value"] for entry in scores["magnitude"]["latent distance"]["permanence"]] == [0, 0, 1, 1]
    hidden = scores["occlusion_s"]["latent distance"]["permanence"]
    assert (hidden[0]["from"], hidden[0]["to"]) == (0.8, 0.9)  # 8 and 9 frames at 10 a second
    assert [entry["value"] for entry in hidden] == [1, 1, 0, 0]


def test_a_peak_at_the_reveal_is_found_there(tmp_path):
    trial = quadruplet("q", reveal_frame=20)  # 2.0 s

    def rows(lag: float, scorer: str) -> Rows:
        times = np.arange(10, 30) / 10
        peak = np.abs(times - 2.0 - lag) < 0.01
        return [(video.video_id, scorer, "sliding", 0.0, 1.0, times, 1.0 + 3 * peak) for video in trial.videos]

    scores = score([trial], traces_of(tmp_path, [*rows(0.2, "latent distance"), *rows(-0.5, "pixel copy")]), PROTOCOL)
    found = scores["localisation"]["latent distance"]["permanence"]
    assert (found["fraction"], found["n"], found["delta_s"]) == (1.0, 2, 0.25)  # the two impossible videos
    assert found["lag_s"] == pytest.approx(0.2)
    assert scores["localisation"]["pixel copy"]["all"]["fraction"] == 0.0
    assert scores["localisation"]["pixel copy"]["all"]["lag_s"] == pytest.approx(-0.5)


def test_planted_accuracy_is_found_within_its_interval(tmp_path):
    rng = np.random.default_rng(1)
    trials = [quadruplet(f"{name}{i}", name) for name in ("permanence", "shape") for i in range(200)]
    planted = {"permanence": 0.9, "shape": 0.6}
    surprise = {"latent distance": lambda t: [0, 0, 1, 1] if rng.random() < planted[t.property] else [1, 1, 0, 0]}
    scores = score(trials, one_number(tmp_path, trials, surprise), PROTOCOL)
    for name, truth in {**planted, "all": 0.75}.items():
        entry = cell(scores, "locked", "latent distance", name)
        assert entry["low"] <= truth <= entry["high"]
        assert entry["high"] - entry["low"] < 0.15
        assert entry["p"] < 0.05
    assert scores["headline"]["latent distance"]["low"] <= 0.75 <= scores["headline"]["latent distance"]["high"]


def test_a_scorer_that_sees_only_the_outcome_is_at_one_half_exactly(tmp_path):
    """In a locked window both contexts end alike: without memory, surprise is a function of the outcome alone."""
    rng = np.random.default_rng(2)
    trials = [quadruplet(f"{name}{i}", name) for name in ("permanence", "shape") for i in range(50)]

    def by_outcome(trial: Trial) -> list[float]:
        of = {"u": rng.lognormal(), "v": rng.lognormal()}
        return [of[video.outcome_id] * (1 + 1e-7 * rng.standard_normal()) for video in trial.videos]  # as float32 would

    scores = score(trials, one_number(tmp_path, trials, {"latent distance": by_outcome, "pixel copy": by_outcome}), PROTOCOL)
    for name in ("all", "permanence", "shape"):
        for scorer in ("latent distance", "pixel copy"):
            for kind in ("both", "same context", "same outcome"):
                entry = cell(scores, "locked", scorer, name, kind)
                assert (entry["value"], entry["low"], entry["high"], entry["p"]) == (0.5, 0.5, 0.5, 1.0)
    assert scores["headline"]["latent distance"]["pixel_baselines"] == {"pixel copy": 0.5}
    assert scores["diagnostics"]["locked"]["latent distance"]["quadruplet strict"]["value"] == 0.0


def test_scores_need_no_torch():
    modules = "eval.voe.scores.score, eval.voe.scores.tables, eval.commands.compare"
    code = f"import sys; import {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_million_rows_take_seconds(tmp_path):
    trials = [quadruplet(f"q{i}", split="val" if i % 5 == 0 else "test", level=str(i % 3)) for i in range(250)]
    ids = [video.video_id for trial in trials for video in trial.videos]
    rng = np.random.default_rng(6)
    blocks = [
        TraceBlock(
            ids,
            ScorerId.parse(scorer),
            windows,
            start / 10,
            context,
            start / 10 + context + np.arange(10) / 10,
            rng.random((len(ids), 10)),
        )
        for scorer in ("latent distance", "whitened", "latent copy", "pixel copy", "untrained 0")
        for windows, contexts_s in (("locked", (1.0,)), ("sliding", (0.5, 1.0)))
        for context in contexts_s
        for start in range(7)
    ]
    write_traces(tmp_path / "traces.parquet", blocks)
    traces = Traces.open(tmp_path / "traces.parquet")
    assert traces.table.num_rows == 1_050_000
    began = time.process_time()
    score(trials, traces, PROTOCOL)
    assert time.process_time() - began < 15  # about 1.5 on one core
