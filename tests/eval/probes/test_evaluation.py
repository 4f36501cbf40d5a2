"""Encoded and predicted properties, on latents whose content is known."""

import numpy as np
import pytest
import torch

from eval.probes.aligned_truth import AlignedTruth
from eval.probes.constant_velocity import CONSTANT_VELOCITY
from eval.probes.evaluation import FROM_TRUTH, REFITTED, TRANSFERRED, ProbeTask, evaluate_encoded, evaluate_predicted
from eval.probes.latents import ClipLatents
from eval.probes.targets import PROBE_TARGETS

CPU = torch.device("cpu")
CLIPS, STEPS, CONTEXTS = 24, 12, [4, 6]


@pytest.fixture
def truth(make_truth) -> AlignedTruth:
    """Clips of one body each, which moves in a straight line from a random position at a random velocity."""
    rng = np.random.default_rng(0)
    start, step = rng.uniform(20, 44, (CLIPS, 1, 2)), rng.uniform(-1, 1, (CLIPS, 1, 2))
    centres = start + np.arange(STEPS)[:, None] * step
    truths = [make_truth(centre[:, None]) for centre in centres]
    return AlignedTruth(truths, [np.arange(STEPS)] * CLIPS, 0.1, 4)


def positions(truth: AlignedTruth) -> np.ndarray:
    return truth.body_track()[0]


def latents_of(truth: AlignedTruth, ahead: dict[int, np.ndarray] | None = None) -> ClipLatents:
    """Latents [F, S, 1, 2] that are the position of the body, in other units."""
    target = ((positions(truth) - 30) / 10)[:, :, None].astype(np.float32)
    if ahead is None:
        ahead = {context: target[:, context:] for context in CONTEXTS}
    return ClipLatents(target, {context: target[:, context - 3 : context] for context in CONTEXTS}, ahead)


def task(truth: AlignedTruth, name: str = "position") -> ProbeTask:
    return ProbeTask.create(truth, PROBE_TARGETS[name], "linear", CPU)


def test_a_property_is_read_from_latents_that_contain_it_and_not_from_noise(truth):
    noise = np.random.default_rng(1).normal(size=(CLIPS, STEPS, 1, 2)).astype(np.float32)
    sources = {"model": latents_of(truth), "untrained": ClipLatents(noise, {}, {})}
    scores, _ = evaluate_encoded(task(truth), sources)
    assert scores["model"].value == pytest.approx(1, abs=1e-6)
    assert scores["untrained"].value <= 0
    assert scores["model"].n == CLIPS


def test_velocity_is_read_from_several_time_steps(truth):
    scores, _ = evaluate_encoded(task(truth, "velocity"), {"model": latents_of(truth)})
    assert scores["model"].value == pytest.approx(1, abs=1e-6)


def test_perfect_forecasts_are_read_perfectly_and_copies_are_not(truth):
    tested = task(truth)
    sources = {"model": latents_of(truth)}
    found = evaluate_predicted(tested, sources, evaluate_encoded(tested, sources)[1], CONTEXTS, 5, refit=True)
    assert found["model: forecast"][TRANSFERRED].value == pytest.approx(1, abs=1e-6)
    assert found["model: target"][TRANSFERRED].value == pytest.approx(1, abs=1e-6)
    assert found["model: copy last"][TRANSFERRED].value < 0.9
    assert found[CONSTANT_VELOCITY][FROM_TRUTH].value == pytest.approx(1, abs=1e-9)


def test_forecasts_in_another_basis_are_read_by_the_refitted_probe_only(truth):
    """Only the refitted probe finds a future that is forecast in another basis than that of the targets."""
    tested, right = task(truth), latents_of(truth)
    turned = {context: latents @ np.array([[0.0, -1.0], [1.0, 0.0]], np.float32) for context, latents in right.forecast.items()}
    sources = {"model": latents_of(truth, turned)}
    found = evaluate_predicted(tested, sources, evaluate_encoded(tested, sources)[1], CONTEXTS, 5, refit=True)
    assert found["model: forecast"][REFITTED].value == pytest.approx(1, abs=1e-6)
    assert found["model: forecast"][TRANSFERRED].value < 0


def test_a_body_that_was_visible_too_briefly_is_not_judged(truth, make_truth):
    hidden = np.full((STEPS, 1), 50)
    hidden[:5] = 0  # first visible at step 5: in one step of a context of 6, in none of a context of 4
    truths = [make_truth(truth.clips[0].centre_px, visible_px=hidden), *truth.clips[1:]]
    tested = task(AlignedTruth(truths, truth.frames, 0.1, 4))
    assert [0 in clips for _, clips in tested.forecast_rows(CONTEXTS, 2)] == [False, False]
    assert [1 in clips for _, clips in tested.forecast_rows(CONTEXTS, 2)] == [True, True]


def test_contexts_shorter_than_what_a_probe_reads_are_not_judged(truth):
    """Context and forecast of such a model share a window: a longer forecast leaves a shorter context."""
    tested, whole = task(truth, "velocity"), latents_of(truth)
    context = {context: latents[:, -2:] if context == 6 else latents for context, latents in whole.context.items()}
    sources = {"model": ClipLatents(whole.target, context, whole.forecast)}
    probes = evaluate_encoded(tested, sources)[1]
    found = evaluate_predicted(tested, sources, probes, CONTEXTS, 2, refit=False)
    assert found["model: copy last"][TRANSFERRED].rows == CLIPS  # of one of the two context lengths
    assert evaluate_predicted(tested, sources, probes, [6], 2, refit=False) == {}


def test_horizons_beyond_a_clip_are_not_judged(truth):
    assert [context for context, _ in task(truth).forecast_rows(CONTEXTS, 7)] == [4]  # after 6 steps of 12, 6 are left
