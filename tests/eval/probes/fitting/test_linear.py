"""Ridge and softmax probes: exact where the answer is known, at chance where there is none, cross-fitted over clips."""

import numpy as np
import pytest

from eval.errors import EvalError
from eval.probes.fitting.cross_fitting import CrossFittedProbe, group_folds
from eval.probes.fitting.linear import PENALTIES, Standardiser, fit_ridge, leave_one_group_out_error, principal_components
from eval.probes.fitting.softmax import fit_softmax
from eval.probes.metrics import r2


def rows_of_clips(rng: np.random.Generator, clips: int = 40, each: int = 6, features: int = 12):
    """Random features of time steps, and the clip that each row comes from."""
    group = np.repeat(np.arange(clips), each)
    return rng.normal(size=(len(group), features)), group


def test_one_feature_by_hand():
    # x = -1, 1 (mean 0, std 1), y = 0, 4: slope x'y / (x'x + 2 penalty) = 4 / (2 + 2) at penalty 1, offset 2
    probe = fit_ridge(np.array([[-1.0], [1.0]]), np.array([[0.0], [4.0]]), np.array([0, 1]), np.array([1.0]))
    assert probe.weights == pytest.approx(np.array([[1.0]]))
    assert probe(np.array([[3.0]])) == pytest.approx(np.array([[5.0]]))


def test_a_linear_function_of_the_features_is_predicted_exactly():
    rng = np.random.default_rng(0)
    x, group = rows_of_clips(rng)
    position = x @ rng.normal(size=(12, 2)) + (30, 20)
    predicted = CrossFittedProbe.fit(fit_ridge, x, position, group, 5)(x, group)
    assert r2(position, predicted, group).value == pytest.approx(1, abs=1e-6)


def test_shuffled_targets_cannot_be_predicted():
    rng = np.random.default_rng(1)
    x, group = rows_of_clips(rng)
    position = rng.permutation(x @ rng.normal(size=(12, 2)))
    predicted = CrossFittedProbe.fit(fit_ridge, x, position, group, 5)(x, group)
    assert r2(position, predicted, group).value <= 0


def test_a_clip_is_never_judged_by_a_probe_fitted_on_it():
    """Every clip has its own random features and number. Only a probe that saw other rows of the clip can predict it."""
    rng = np.random.default_rng(2)
    features, numbers = rng.normal(size=(30, 60)), rng.normal(size=(30, 1))
    group = np.repeat(np.arange(30), 8)
    x = features[group] + 0.01 * rng.normal(size=(240, 60))
    y = numbers[group]
    leaked = fit_ridge(x[::2], y[::2], group[::2], np.array([1e-3]))(x[1::2])
    assert r2(y[1::2], leaked, group[1::2]).value > 0.95
    assert r2(y, CrossFittedProbe.fit(fit_ridge, x, y, group, 5)(x, group), group).value <= 0.05


def test_the_fold_of_a_clip_does_not_depend_on_the_other_rows():
    group = np.array([7, 3, 7, 12])
    assert group_folds(group, 5).tolist() == [group_folds(np.array([entry]), 5)[0] for entry in group]


def test_the_closed_form_leave_one_group_out_error_equals_refitting():
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(6), (1, 4, 2, 3, 5, 2))
    x, y = rng.normal(size=(17, 4)), rng.normal(size=(17, 2))
    x, y = x - x.mean(0), y - y.mean(0)
    left, spectrum = principal_components(x)
    penalty = 2.5
    expected = 0.0
    for held in range(6):
        fitted, judged = group != held, group == held
        design = np.concatenate([x, np.ones((17, 1))], axis=1)
        penalties = np.diag([penalty] * 4 + [0.0])  # the offset has no penalty
        weights = np.linalg.solve(design[fitted].T @ design[fitted] + penalties, design[fitted].T @ y[fitted])
        expected += np.square(y[judged] - design[judged] @ weights).sum()
    found = leave_one_group_out_error(left, spectrum / (spectrum + penalty), y, left.T @ y, group)
    assert found == pytest.approx(expected / 17, rel=1e-9)


def test_more_features_than_rows_give_the_ridge_solution_too():
    rng = np.random.default_rng(4)
    x, group = rows_of_clips(rng, clips=10, each=3, features=80)
    y = rng.normal(size=(30, 2))
    probe = fit_ridge(x, y, group, np.array([0.1]))
    z = Standardiser.of(x)(x)
    expected = np.linalg.solve(z.T @ z + 30 * 0.1 * np.eye(80), z.T @ (y - y.mean(0)))
    assert probe.weights == pytest.approx(expected, abs=1e-9)


def test_noise_gets_a_strong_penalty_and_a_clear_signal_a_weak_one():
    rng = np.random.default_rng(5)
    x, group = rows_of_clips(rng, features=100)
    noise = rng.normal(size=(240, 1))
    assert fit_ridge(x, noise, group).penalty >= 1
    assert fit_ridge(x, x[:, :1], group).penalty <= 1e-3
    assert {fit_ridge(x, noise, group).penalty} <= set(PENALTIES.tolist())


def test_a_constant_feature_is_ignored():
    rng = np.random.default_rng(6)
    x, group = rows_of_clips(rng)
    still = np.concatenate([x, np.full((len(x), 1), 5.0)], axis=1)
    y = x[:, :1]
    probe = fit_ridge(still, y, group)
    moved = still.copy()
    moved[:, -1] = 1000.0
    assert probe(moved) == pytest.approx(probe(still))


def test_separate_classes_are_classified():
    rng = np.random.default_rng(7)
    group = np.repeat(np.arange(30), 5)
    kind = np.array([0, 2, 5])[np.repeat(rng.integers(0, 3, 30), 5)]
    x = rng.normal(size=(150, 6)) * 0.3
    x[:, 0] += kind
    predicted = CrossFittedProbe.fit(fit_softmax, x, kind, group, 5)(x, group)
    assert (predicted == kind).mean() > 0.97
    assert set(predicted.tolist()) <= {0, 2, 5}


def test_a_rare_class_weighs_as_much_as_a_frequent_one():
    """Two overlapping classes, 9 to 1. Without weights the border would lie far inside the rare class."""
    rng = np.random.default_rng(8)
    kind = np.repeat([0, 1], (1800, 200))
    x = rng.normal(size=(2000, 1)) + 1.0 * kind[:, None]
    probe = fit_softmax(x, kind, np.arange(2000))
    border = next(at for at in np.linspace(-3, 4, 701) if probe(np.array([[at]]))[0] == 1)
    assert border == pytest.approx(0.5, abs=0.2)


def test_too_few_clips_are_an_error():
    x = np.zeros((9, 2))
    with pytest.raises(EvalError, match="9 videos have this property, too few for 5 folds"):
        CrossFittedProbe.fit(fit_ridge, x, x, np.arange(9), 5)


def test_a_penalty_so_weak_that_a_group_determines_its_own_prediction_has_infinite_error():
    """Two groups of two equal rows are fitted exactly by mean and slope. Without one of them there is no slope."""
    left, group = np.array([[0.5], [0.5], [-0.5], [-0.5]]), np.array([0, 0, 1, 1])
    assert leave_one_group_out_error(left, np.ones(1), 2 * left, 2 * left.T @ left, group) == np.inf
    assert leave_one_group_out_error(left, np.full(1, 0.5), 2 * left, 2 * left.T @ left, group) < np.inf
