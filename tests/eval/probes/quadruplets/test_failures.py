"""Object maps by hand, stages of contrast probes, and the first failed stage."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from eval.errors import EvalError
from eval.probes.fitting.linear import LinearProbe, Standardiser
from eval.probes.latents import ClipLatents
from eval.probes.quadruplets.contrast import (
    CONTEXTS,
    OUTCOMES,
    PREDICTED,
    REMEMBERED,
    encoded_scores,
    predicted_scores,
    step_of,
)
from eval.probes.quadruplets.failures import FAILED_STAGES, SCORED, failure_table, first_failed_stage, open_quadruplets
from eval.probes.quadruplets.object_maps import contrast, object_map, side
from eval.voe.trials import Trial, Video


def test_an_object_map_by_hand():
    segmentation = np.zeros((1, 16, 16), np.uint8)  # cells of 2 x 2 px
    segmentation[0, 0, :2] = 1  # half of the first cell
    segmentation[0, 2:4, 2:4] = 2  # the whole of another
    segmentation[0, 8:] = 255  # an occluder is no object
    found = object_map(segmentation, np.array([[1.0, 0.5, 0.0], [0.0, 0.0, 1.0]])).reshape(8, 8, 4)
    assert found[0, 0].tolist() == [0.5, 0.5, 0.25, 0.0]
    assert found[1, 1].tolist() == [1.0, 0.0, 0.0, 1.0]
    assert found.sum() == pytest.approx(1.25 + 2.0)
    with pytest.raises(EvalError, match="12 x 12 px cannot be cut"):
        object_map(np.zeros((1, 12, 12), np.uint8), np.zeros((0, 3)))


def test_the_side_of_a_prediction_by_hand():
    truth, other = np.array([4.0, 1.0]), np.array([0.0, 1.0])
    assert side(truth, truth, other) == 1
    assert side(other, truth, other) == -1
    assert side(np.array([2.0, 99.0]), truth, other) == 0  # where they do not differ, nothing counts
    assert np.isnan(side(truth, truth, truth))


def test_a_common_bias_cancels_in_a_contrast():
    truth = np.array([[4.0], [0.0]])
    assert contrast(truth - 10, truth) == 1
    assert contrast(np.array([[3.0], [3.0]]), truth) == 0
    assert contrast(truth[::-1], truth) == -1


STEPS, CONTEXT = 6, 3
MAPS = np.zeros((2, STEPS, 2))
MAPS[0, :2, 0], MAPS[0, 4:, 1] = 1.0, 1.0  # (a, u) shows an object first and last, (b, v) none; steps 2, 3 are hidden
PROBE = LinearProbe(Standardiser(np.zeros(2), np.ones(2)), np.eye(2), np.zeros(2), 0.0)


def latents_of(target: np.ndarray, ahead: np.ndarray) -> ClipLatents:
    latents = target[:, :, None].astype(np.float32)
    return ClipLatents(latents, {CONTEXT: latents[:, :CONTEXT]}, {CONTEXT: ahead[:, :, None].astype(np.float32)})


def stage_scores(target: np.ndarray, ahead: np.ndarray) -> dict[str, float]:
    both, made = np.array([0, 1]), latents_of(target, ahead)
    judged = {CONTEXT: np.arange(4, STEPS)}
    return encoded_scores("model", made, PROBE, both, MAPS, 2, 4) | predicted_scores("model", made, PROBE, both, MAPS, judged)


def test_a_perfect_model_is_right_at_every_stage():
    found = stage_scores(MAPS, MAPS[:, CONTEXT:])
    forecast = ", model: forecast"
    assert found[f"{CONTEXTS}, model"] == found[f"{OUTCOMES}, model"] == 1
    assert found[REMEMBERED + forecast] == found[PREDICTED + forecast] == 1
    # the last latent of the context is the same hidden picture in both videos
    assert found[f"{REMEMBERED}, model: copy last"] == found[f"{PREDICTED}, model: copy last"] == 0.5


def test_forecasts_with_the_right_difference_and_a_bias_are_remembered_but_not_predicted():
    found = stage_scores(MAPS, 0.3 * MAPS[:, CONTEXT:])
    assert found[f"{REMEMBERED}, model: forecast"] == 1
    assert found[f"{PREDICTED}, model: forecast"] == 0.5


def test_a_model_that_forgets_is_undecided():
    found = stage_scores(MAPS, np.repeat(MAPS[:1, CONTEXT:], 2, axis=0))
    assert found[f"{REMEMBERED}, model: forecast"] == found[f"{PREDICTED}, model: forecast"] == 0.5


def test_without_forecasts_the_stages_are_not_applicable():
    found = predicted_scores("model", latents_of(MAPS, MAPS[:, CONTEXT:]), PROBE, np.array([0, 1]), MAPS, {})
    assert np.isnan(list(found.values())).all()


@pytest.mark.parametrize(("frame", "f", "fps", "step"), [(5, 1, 12.0, 5), (5, 2, 12.0, 2), (4, 2, 12.0, 2), (5, 1, 6.0, 3)])
def test_the_first_step_that_ends_at_a_frame_or_later(frame, f, fps, step):
    class Model:
        tubelet_size = f

    Model.fps = fps
    assert step_of(frame, 12.0, Model) == step


STAGES = (f"{CONTEXTS}, model", f"{OUTCOMES}, model", f"{REMEMBERED}, model: forecast", f"{PREDICTED}, model: forecast")


@pytest.mark.parametrize(
    ("fractions", "scored", "stage"),
    [
        ((1, 1, 1, 1), 1.0, None),
        ((0, 0, 0, 0), 1.0, None),  # no pair failed
        ((0.5, 0, 0, 0), 0.5, FAILED_STAGES[0]),
        ((1, 0.5, 0, 0), 0.5, FAILED_STAGES[1]),
        ((1, 1, 0.5, 0.5), 0.5, FAILED_STAGES[2]),
        ((1, 1, 1, 0.5), 0.75, FAILED_STAGES[3]),
        ((1, 1, 1, 1), 0.75, FAILED_STAGES[4]),
        ((1, 1, 1, 1), np.nan, None),  # not scored
    ],
)
def test_the_first_failed_stage_is_reported(fractions, scored, stage):
    assert first_failed_stage({SCORED: scored, **dict(zip(STAGES, fractions, strict=True))}) == stage


def test_the_table_counts_failures_by_property():
    videos = tuple(Video(f"f{i}", "", 12.0, 24, i < 2) for i in range(4))
    trials = [Trial(f"q{i}", videos, (), "shape" if i < 2 else "size") for i in range(3)]
    scores = {
        "q0": dict(zip(STAGES, (1, 0.5, 1, 1), strict=True)),
        "q1": dict(zip(STAGES, (1, 1, 1, 1), strict=True)),
        "q2": dict(zip(STAGES, (1, 1, 0, 0), strict=True)),
    }
    found = failure_table(trials, np.array([0.5, 1.0, 0.0]), scores)["properties"]
    assert (found["all"]["n"], found["shape"]["n"], found["size"]["n"]) == (3, 2, 1)
    assert found["shape"]["stages"][f"{OUTCOMES}, model"]["value"] == 0.75
    assert found["shape"]["first_failed_stage"] == {**dict.fromkeys(FAILED_STAGES, 0), FAILED_STAGES[1]: 1}
    assert (found["all"]["failed"], found["all"]["first_failed_stage"][FAILED_STAGES[2]]) == (2, 1)


@pytest.mark.parametrize(
    ("hash_", "fps", "suite", "message"),
    [
        ("b", 12.0, "builtin", r"is of other weights \(runs/b\) than --model runs/a; evaluate this model first"),
        ("a", 15.0, "builtin", "at another frame rate than the model's 12 fps; evaluate without --fps"),
        ("a", 12.0, "grasp", "is of grasp: only videos of the built-in suite have a ground truth"),
    ],
)
def test_an_evaluation_of_another_model_rate_or_suite_is_refused(hash_, fps, suite, message, monkeypatch):
    protocol = {"model": {"hash": hash_, "spec": f"runs/{hash_}"}, "windows": {"fps": fps}, "suite": {"name": suite}}
    evaluation = SimpleNamespace(protocol=protocol, out="OUT")
    monkeypatch.setattr("eval.probes.quadruplets.failures.open_evaluation", lambda _: evaluation)
    with pytest.raises(EvalError, match=message):
        open_quadruplets(Path("OUT"), SimpleNamespace(hash="a", spec="runs/a"), SimpleNamespace(fps=12.0))
