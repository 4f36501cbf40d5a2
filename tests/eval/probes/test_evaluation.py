"""Encoded and predicted, on latents whose content is known."""

import numpy as np
import pytest
import torch

from eval.probes.evaluation import CONSTANT_VELOCITY, Cohort, Question, encoded, extrapolate, last_place, predicted
from eval.probes.recordings import Recording
from eval.probes.targets import PROPERTIES

CPU = torch.device("cpu")
FILMS, STEPS, CUTS = 24, 12, [4, 6]


@pytest.fixture
def cohort(make_truth) -> Cohort:
    """Films of one body each that flies straight, each from its own place at its own speed."""
    rng = np.random.default_rng(0)
    start, step = rng.uniform(20, 44, (FILMS, 1, 2)), rng.uniform(-1, 1, (FILMS, 1, 2))
    centres = start + np.arange(STEPS)[:, None] * step
    truths = [make_truth(centre[:, None]) for centre in centres]
    return Cohort(truths, [np.arange(STEPS)] * FILMS, 0.1, 4)


def places(cohort: Cohort) -> np.ndarray:
    return cohort.body_track()[0]


def recording(cohort: Cohort, ahead: dict[int, np.ndarray] | None = None) -> Recording:
    """Latents [F, S, 1, 2] that are the place of the body, in other units."""
    target = ((places(cohort) - 30) / 10)[:, :, None].astype(np.float32)
    if ahead is None:
        ahead = {cut: target[:, cut:] for cut in CUTS}
    return Recording(target, {cut: target[:, cut - 3 : cut] for cut in CUTS}, ahead)


def question(cohort: Cohort, name: str = "position") -> Question:
    return Question.of(cohort, PROPERTIES[name], "linear", CPU)


def test_what_is_in_the_latents_is_read_and_what_is_not_is_not(cohort):
    noise = np.random.default_rng(1).normal(size=(FILMS, STEPS, 1, 2)).astype(np.float32)
    sources = {"model": recording(cohort), "untrained": Recording(noise, {}, {})}
    scores, _ = encoded(question(cohort), sources)
    assert scores["model"].value == pytest.approx(1, abs=1e-6)
    assert scores["untrained"].value <= 0
    assert scores["model"].n == FILMS


def test_velocity_is_read_off_several_moments(cohort):
    scores, _ = encoded(question(cohort, "velocity"), {"model": recording(cohort)})
    assert scores["model"].value == pytest.approx(1, abs=1e-6)


def test_perfect_forecasts_are_read_perfectly_and_copies_are_not(cohort):
    asked = question(cohort)
    sources = {"model": recording(cohort)}
    found = predicted(asked, sources, encoded(asked, sources)[1], CUTS, 5, fitted=True)
    assert found["model: forecast"]["read"].value == pytest.approx(1, abs=1e-6)
    assert found["model: what came"]["read"].value == pytest.approx(1, abs=1e-6)
    assert found["model: copy"]["read"].value < 0.9
    assert found[CONSTANT_VELOCITY]["truth"].value == pytest.approx(1, abs=1e-9)


def test_forecasts_in_another_basis_are_predicted_but_not_read_by_the_probe_of_targets(cohort):
    """Read and fitted tell apart a future that is there from one that is there in the form of what came."""
    asked, right = question(cohort), recording(cohort)
    turned = {cut: latents @ np.array([[0.0, -1.0], [1.0, 0.0]], np.float32) for cut, latents in right.ahead.items()}
    sources = {"model": recording(cohort, turned)}
    found = predicted(asked, sources, encoded(asked, sources)[1], CUTS, 5, fitted=True)
    assert found["model: forecast"]["fitted"].value == pytest.approx(1, abs=1e-6)
    assert found["model: forecast"]["read"].value < 0


def test_a_body_that_was_not_seen_for_long_is_not_asked_about(cohort, make_truth):
    hidden = np.full((STEPS, 1), 50)
    hidden[:5] = 0  # first seen at step 5: in one step of a context of 6, in none of one of 4
    truths = [make_truth(cohort.truths[0].centre_px, visible_px=hidden), *cohort.truths[1:]]
    asked = question(Cohort(truths, cohort.shown, 0.1, 4))
    assert [0 in films for _, films in asked.rows_ahead(CUTS, 2)] == [False, False]
    assert [1 in films for _, films in asked.rows_ahead(CUTS, 2)] == [True, True]


def test_contexts_shorter_than_what_a_probe_reads_are_not_asked(cohort):
    """As where a model's window is shared by context and forecast: the more is forecast, the less was seen."""
    asked, whole = question(cohort, "velocity"), recording(cohort)
    seen = {cut: latents[:, -2:] if cut == 6 else latents for cut, latents in whole.seen.items()}
    sources = {"model": Recording(whole.target, seen, whole.ahead)}
    probes = encoded(asked, sources)[1]
    found = predicted(asked, sources, probes, CUTS, 2, fitted=False)
    assert found["model: copy"]["read"].rows == FILMS  # of one of the two cuts
    assert predicted(asked, sources, probes, [6], 2, fitted=False) == {}


def test_horizons_beyond_a_film_are_not_asked(cohort):
    assert [cut for cut, _ in question(cohort).rows_ahead(CUTS, 7)] == [4]  # after 6 steps of 12, 6 are left


def test_straight_on_by_hand():
    centre = np.array([[[0.0, 0.0], [2.0, 1.0], [9.0, 9.0]]])
    sight = np.array([[True, True, False]])  # last seen at step 1, going (2, 1) a step; the context has three steps
    place, pace = extrapolate(centre, sight, 2)
    assert place.tolist() == [[8.0, 4.0]]  # step 4: three steps on
    assert pace.tolist() == [[2.0, 1.0]]
    assert last_place(centre, sight).tolist() == [[2.0, 1.0]]


def test_a_gap_between_the_last_two_looks_is_time_too():
    centre = np.array([[[0.0, 0.0], [5.0, 5.0], [4.0, 0.0]]])
    assert extrapolate(centre, np.array([[True, False, True]]), 1)[0].tolist() == [[6.0, 0.0]]
