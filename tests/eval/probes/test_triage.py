"""Object maps by hand, which side a reading lies on, and who is to blame."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from eval.errors import EvalError
from eval.probes.contrast import CONTEXTS, OUTCOMES, PREDICTED, REMEMBERED, encoded, predicted, step_of
from eval.probes.linear import LinearProbe, Standard
from eval.probes.object_maps import contrast, object_map, side
from eval.probes.recordings import Recording
from eval.probes.triage import BLAME, SCORED, blame, open_quadruplets, table
from eval.voe.trials import Film, Trial


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


def test_sides_by_hand():
    truth, other = np.array([4.0, 1.0]), np.array([0.0, 1.0])
    assert side(truth, truth, other) == 1
    assert side(other, truth, other) == -1
    assert side(np.array([2.0, 99.0]), truth, other) == 0  # where they do not differ, nothing counts
    assert np.isnan(side(truth, truth, truth))


def test_a_common_leaning_cancels_in_a_contrast():
    truth = np.array([[4.0], [0.0]])
    assert contrast(truth - 10, truth) == 1
    assert contrast(np.array([[3.0], [3.0]]), truth) == 0
    assert contrast(truth[::-1], truth) == -1


STEPS, CUT = 6, 3
MAPS = np.zeros((2, STEPS, 2))
MAPS[0, :2, 0], MAPS[0, 4:, 1] = 1.0, 1.0  # film (a, u) shows something first and last, film (b, v) nothing; 2 and 3 are hidden
READS = LinearProbe(Standard(np.zeros(2), np.ones(2)), np.eye(2), np.zeros(2), 0.0)


def recording(target: np.ndarray, ahead: np.ndarray) -> Recording:
    latents = target[:, :, None].astype(np.float32)
    return Recording(latents, {CUT: latents[:, :CUT]}, {CUT: ahead[:, :, None].astype(np.float32)})


def ask(target: np.ndarray, ahead: np.ndarray) -> dict[str, float]:
    both, made = np.array([0, 1]), recording(target, ahead)
    asked = {CUT: np.arange(4, STEPS)}
    return encoded("model", made, READS, both, MAPS, 2, 4) | predicted("model", made, READS, both, MAPS, asked)


def test_a_model_that_knows_everything_is_right_at_every_stage():
    found = ask(MAPS, MAPS[:, CUT:])
    forecast = ", model: forecast"
    assert found[f"{CONTEXTS}, model"] == found[f"{OUTCOMES}, model"] == 1
    assert found[REMEMBERED + forecast] == found[PREDICTED + forecast] == 1
    # the last latent seen is the same hidden picture in both films
    assert found[f"{REMEMBERED}, model: copy"] == found[f"{PREDICTED}, model: copy"] == 0.5


def test_forecasts_that_differ_rightly_but_lean_to_nothing_are_remembered_and_not_predicted():
    found = ask(MAPS, 0.3 * MAPS[:, CUT:])
    assert found[f"{REMEMBERED}, model: forecast"] == 1
    assert found[f"{PREDICTED}, model: forecast"] == 0.5


def test_a_model_that_forgets_is_undecided():
    found = ask(MAPS, np.repeat(MAPS[:1, CUT:], 2, axis=0))
    assert found[f"{REMEMBERED}, model: forecast"] == found[f"{PREDICTED}, model: forecast"] == 0.5


def test_nothing_to_forecast_is_not_asked():
    found = predicted("model", recording(MAPS, MAPS[:, CUT:]), READS, np.array([0, 1]), MAPS, {})
    assert np.isnan(list(found.values())).all()


@pytest.mark.parametrize(("frame", "f", "fps", "step"), [(5, 1, 12.0, 5), (5, 2, 12.0, 2), (4, 2, 12.0, 2), (5, 1, 6.0, 3)])
def test_the_step_that_ends_at_a_frame_or_after(frame, f, fps, step):
    class Model:
        tubelet_size = f

    Model.fps = fps
    assert step_of(frame, 12.0, Model) == step


STAGES = (f"{CONTEXTS}, model", f"{OUTCOMES}, model", f"{REMEMBERED}, model: forecast", f"{PREDICTED}, model: forecast")


@pytest.mark.parametrize(
    ("shares", "scored", "why"),
    [
        ((1, 1, 1, 1), 1.0, None),
        ((0, 0, 0, 0), 1.0, None),  # right for whatever reason
        ((0.5, 0, 0, 0), 0.5, BLAME[0]),
        ((1, 0.5, 0, 0), 0.5, BLAME[1]),
        ((1, 1, 0.5, 0.5), 0.5, BLAME[2]),
        ((1, 1, 1, 0.5), 0.75, BLAME[3]),
        ((1, 1, 1, 1), 0.75, BLAME[4]),
        ((1, 1, 1, 1), np.nan, None),  # nobody judged it
    ],
)
def test_the_first_stage_that_fails_is_to_blame(shares, scored, why):
    assert blame({SCORED: scored, **dict(zip(STAGES, shares, strict=True))}) == why


def test_the_table_counts_failures_by_property():
    films = tuple(Film(f"f{i}", "", 12.0, 24, i < 2) for i in range(4))
    trials = [Trial(f"q{i}", films, (), "shape" if i < 2 else "size") for i in range(3)]
    answers = {
        "q0": dict(zip(STAGES, (1, 0.5, 1, 1), strict=True)),
        "q1": dict(zip(STAGES, (1, 1, 1, 1), strict=True)),
        "q2": dict(zip(STAGES, (1, 1, 0, 0), strict=True)),
    }
    found = table(trials, np.array([0.5, 1.0, 0.0]), answers)["properties"]
    assert (found["all"]["n"], found["shape"]["n"], found["size"]["n"]) == (3, 2, 1)
    assert found["shape"]["stages"][f"{OUTCOMES}, model"]["value"] == 0.75
    assert found["shape"]["blame"] == {**dict.fromkeys(BLAME, 0), BLAME[1]: 1}
    assert (found["all"]["failed"], found["all"]["blame"][BLAME[2]]) == (2, 1)


@pytest.mark.parametrize(
    ("hash_", "fps", "suite", "said"),
    [
        ("b", 12.0, "builtin", r"is of other weights \(runs/b\) than --model runs/a; evaluate this model first"),
        ("a", 15.0, "builtin", "at another rate than the model's 12 fps; evaluate without --fps"),
        ("a", 12.0, "grasp", "is of grasp: only films of the built-in suite have a truth"),
    ],
)
def test_an_evaluation_of_something_else_is_refused(hash_, fps, suite, said, monkeypatch):
    protocol = {"model": {"hash": hash_, "spec": f"runs/{hash_}"}, "windows": {"fps": fps}, "suite": {"name": suite}}
    evaluation = SimpleNamespace(protocol=protocol, out="OUT")
    monkeypatch.setattr("eval.probes.triage.open_evaluation", lambda _: evaluation)
    with pytest.raises(EvalError, match=said):
        open_quadruplets(Path("OUT"), SimpleNamespace(hash="a", spec="runs/a"), SimpleNamespace(fps=12.0))
