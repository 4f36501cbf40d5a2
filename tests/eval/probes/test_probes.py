"""Ridge and softmax probes: exact where the answer is known, nothing where there is none, never fitted on what they read."""

import numpy as np
import pytest

from eval.errors import EvalError
from eval.probes.linear import PENALTIES, Folded, Standard, fit_ridge, fit_softmax, left_out_error, principal_rows, scene_folds
from eval.probes.metrics import r2


def films(rng: np.random.Generator, scenes: int = 40, each: int = 6, features: int = 12):
    """Features of moments of films, and which film each is of."""
    scene = np.repeat(np.arange(scenes), each)
    return rng.normal(size=(len(scene), features)), scene


def test_one_feature_by_hand():
    # x = -1, 1 (mean 0, std 1), y = 0, 4: slope x'y / (x'x + 2 penalty) = 4 / (2 + 2) at penalty 1, offset 2
    probe = fit_ridge(np.array([[-1.0], [1.0]]), np.array([[0.0], [4.0]]), np.array([0, 1]), np.array([1.0]))
    assert probe.weights == pytest.approx(np.array([[1.0]]))
    assert probe(np.array([[3.0]])) == pytest.approx(np.array([[5.0]]))


def test_latents_that_are_the_position_are_read_exactly():
    rng = np.random.default_rng(0)
    x, scene = films(rng)
    position = x @ rng.normal(size=(12, 2)) + (30, 20)
    reading = Folded.fit(fit_ridge, x, position, scene, 5)(x, scene)
    assert r2(position, reading, scene).value == pytest.approx(1, abs=1e-6)


def test_shuffled_targets_cannot_be_read():
    rng = np.random.default_rng(1)
    x, scene = films(rng)
    position = rng.permutation(x @ rng.normal(size=(12, 2)))
    reading = Folded.fit(fit_ridge, x, position, scene, 5)(x, scene)
    assert r2(position, reading, scene).value <= 0


def test_a_film_never_helps_to_read_itself():
    """Every film has a mark and a number of its own. Who has seen other moments of the film can read it, nobody else can."""
    rng = np.random.default_rng(2)
    marks, numbers = rng.normal(size=(30, 60)), rng.normal(size=(30, 1))
    scene = np.repeat(np.arange(30), 8)
    x = marks[scene] + 0.01 * rng.normal(size=(240, 60))
    y = numbers[scene]
    leaked = fit_ridge(x[::2], y[::2], scene[::2], np.array([1e-3]))(x[1::2])
    assert r2(y[1::2], leaked, scene[1::2]).value > 0.95
    assert r2(y, Folded.fit(fit_ridge, x, y, scene, 5)(x, scene), scene).value <= 0.05


def test_the_fold_of_a_film_does_not_depend_on_the_rows_beside_it():
    scene = np.array([7, 3, 7, 12])
    assert scene_folds(scene, 5).tolist() == [scene_folds(np.array([it]), 5)[0] for it in scene]


def test_films_left_out_in_closed_form_are_as_if_fitted_without_them():
    rng = np.random.default_rng(3)
    scene = np.repeat(np.arange(6), (1, 4, 2, 3, 5, 2))
    x, y = rng.normal(size=(17, 4)), rng.normal(size=(17, 2))
    x, y = x - x.mean(0), y - y.mean(0)
    left, spectrum = principal_rows(x)
    penalty = 2.5
    expected = 0.0
    for held in range(6):
        fitted, judged = scene != held, scene == held
        design = np.concatenate([x, np.ones((17, 1))], axis=1)
        penalties = np.diag([penalty] * 4 + [0.0])  # the offset is not shrunk
        weights = np.linalg.solve(design[fitted].T @ design[fitted] + penalties, design[fitted].T @ y[fitted])
        expected += np.square(y[judged] - design[judged] @ weights).sum()
    found = left_out_error(left, spectrum / (spectrum + penalty), y, left.T @ y, scene)
    assert found == pytest.approx(expected / 17, rel=1e-9)


def test_more_features_than_rows_are_solved_the_other_way_round_to_the_same_weights():
    rng = np.random.default_rng(4)
    x, scene = films(rng, scenes=10, each=3, features=80)
    y = rng.normal(size=(30, 2))
    probe = fit_ridge(x, y, scene, np.array([0.1]))
    z = Standard.of(x)(x)
    expected = np.linalg.solve(z.T @ z + 30 * 0.1 * np.eye(80), z.T @ (y - y.mean(0)))
    assert probe.weights == pytest.approx(expected, abs=1e-9)


def test_noise_is_shrunk_and_a_clear_signal_is_not():
    rng = np.random.default_rng(5)
    x, scene = films(rng, features=100)
    noise = rng.normal(size=(240, 1))
    assert fit_ridge(x, noise, scene).penalty >= 1
    assert fit_ridge(x, x[:, :1], scene).penalty <= 1e-3
    assert {fit_ridge(x, noise, scene).penalty} <= set(PENALTIES.tolist())


def test_a_feature_that_never_varies_says_nothing():
    rng = np.random.default_rng(6)
    x, scene = films(rng)
    still = np.concatenate([x, np.full((len(x), 1), 5.0)], axis=1)
    y = x[:, :1]
    probe = fit_ridge(still, y, scene)
    moved = still.copy()
    moved[:, -1] = 1000.0
    assert probe(moved) == pytest.approx(probe(still))


def test_classes_that_lie_apart_are_told_apart():
    rng = np.random.default_rng(7)
    scene = np.repeat(np.arange(30), 5)
    kind = np.array([0, 2, 5])[np.repeat(rng.integers(0, 3, 30), 5)]
    x = rng.normal(size=(150, 6)) * 0.3
    x[:, 0] += kind
    reading = Folded.fit(fit_softmax, x, kind, scene, 5)(x, scene)
    assert (reading == kind).mean() > 0.97
    assert set(reading.tolist()) <= {0, 2, 5}


def test_a_rare_class_weighs_as_much_as_a_frequent_one():
    """Two overlapping heaps, 9 to 1: unweighted, the border would lie far inside the small one; weighted, in the middle."""
    rng = np.random.default_rng(8)
    kind = np.repeat([0, 1], (1800, 200))
    x = rng.normal(size=(2000, 1)) + 1.0 * kind[:, None]
    probe = fit_softmax(x, kind, np.arange(2000))
    border = next(at for at in np.linspace(-3, 4, 701) if probe(np.array([[at]]))[0] == 1)
    assert border == pytest.approx(0.5, abs=0.2)


def test_too_few_films_are_said():
    x = np.zeros((9, 2))
    with pytest.raises(EvalError, match="9 films have it, too few for 5 folds"):
        Folded.fit(fit_ridge, x, x, np.arange(9), 5)


def test_a_penalty_so_weak_that_a_scene_decides_its_own_reading_is_not_chosen():
    """Two scenes of two equal rows each, fitted exactly by mean and slope: leave one out, and there is no slope."""
    left, scene = np.array([[0.5], [0.5], [-0.5], [-0.5]]), np.array([0, 0, 1, 1])
    assert left_out_error(left, np.ones(1), 2 * left, 2 * left.T @ left, scene) == np.inf
    assert left_out_error(left, np.full(1, 0.5), 2 * left, 2 * left.T @ left, scene) < np.inf
