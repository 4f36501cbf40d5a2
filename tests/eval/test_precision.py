"""`--precision bf16`: a model returns float32, results of both precisions are kept apart, devices without bfloat16 refuse."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate import PartialState

from eval import precision
from eval.errors import EvalError
from eval.plausibility.batches import BatchedInference
from eval.plausibility.reference_videos import _key
from eval.plausibility.sliding_windows import default_plan
from eval.precision import check_precision, in_precision
from eval.result_folder import check_same_model
from eval.subject import Subject, open_subject, untrained_copy
from eval.voe.protocol import differences
from eval.voe.surprise.calibration_fitting import _inputs
from eval.voe.surprise.scoring import SurpriseScorer
from eval.voe.surprise.task import VoeTask
from worldmodel.models import build_model
from worldmodel.recipe import Recipe

CPU = torch.device("cpu")
RECIPE = """
window: {frames: 8, fps: 12, size_px: 16}
model:
  kind: causal
  encoder: {patch_px: 8, width: 16, depth: 1, heads: 2, latent_dim: 8, head_width: 16, latent_grid: 2}
  predictor: {width: 24, depth: 1, heads: 2, horizons: 4}
  rollout_steps: 0
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch) -> str:
    """A recipe, on a device that multiplies bfloat16."""
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda device: True)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return f"untrained:{tmp_path / 'recipe.yaml'}"


def task_of(subject: Subject) -> VoeTask:
    suite = SimpleNamespace(trials=[], hash="0" * 16)
    return VoeTask(subject, suite, default_plan(subject.model, 8), "window", 16, CPU, PartialState(cpu=True))


def test_all_methods_return_float32_that_is_close_to_that_of_float32_but_not_equal(recipe: str):
    exact, fast = (open_subject(recipe, CPU, name).model for name in ("fp32", "bf16"))
    frames = exact.normalise(torch.randint(0, 256, (2, 8, 16, 16, 3), dtype=torch.uint8))
    latents = exact.encode(frames)
    calls = {
        "encode": lambda model: [model.encode(frames)],
        "encode_context_and_target": lambda model: model.encode_context_and_target(frames),
        "forecast": lambda model: [model.forecast(frames[:, :4], 2)],
        "forecast_from_latents": lambda model: [model.forecast_from_latents(latents, [2, 4], 3)],
        "forecast_all": lambda model: [model.forecast_all(frames)],
        "rollout": lambda model: [model.rollout(frames[:, :4], 3)],
        "layers": lambda model: model.layers(frames).values(),
    }
    for name, call in calls.items():
        for one, other in zip(call(exact), call(fast), strict=True):
            assert one.dtype == other.dtype == torch.float32, name
            assert not torch.equal(one, other), name
            torch.testing.assert_close(one, other, rtol=0.05, atol=0.05)


def test_an_untrained_copy_has_the_precision_that_is_asked_for(recipe: str):
    subject = open_subject(recipe, CPU, "bf16")
    frames = torch.rand(1, 4, 3, 16, 16)
    fast, exact = (untrained_copy(subject.model, 1, CPU, name).encode(frames) for name in ("bf16", "fp32"))
    assert fast.dtype == torch.float32
    assert not torch.equal(fast, exact)


def test_results_of_one_precision_are_not_used_for_the_other(recipe: str):
    tasks = [task_of(open_subject(recipe, CPU, name)) for name in ("fp32", "bf16")]
    assert tasks[0].subject.hash == tasks[1].subject.hash
    assert len({task.key([]) for task in tasks}) == 2
    stored = [_inputs(task, SurpriseScorer(task.subject.model, task.plan, CPU), [], ()) for task in tasks]
    assert "precision" not in stored[0]  # as in files of earlier versions
    assert stored[1] == {**stored[0], "precision": "bf16"}
    references = [BatchedInference(t.subject.model, t.plan, CPU, t.ranks, precision=t.subject.precision) for t in tasks]
    assert len({_key(inference, "0", []) for inference in references}) == 2


def test_a_finished_evaluation_in_the_other_precision_is_named(recipe: str, tmp_path: Path):
    task = task_of(open_subject(recipe, CPU, "bf16"))
    protocol = {"model": {"name": "it", "hash": task.subject.hash}, "suite": {"hash": task.suite.hash}, "windows": {}}
    assert "the precision of the model (fp32, now bf16)" in differences(protocol, task, [])
    file = tmp_path / "probe.json"
    file.write_text('{"made": {"model": {"name": "it", "hash": "0"}}, "data": {"manifest": "a"}}')
    check_same_model(file, "0", "a", None)
    with pytest.raises(EvalError, match="in another precision, fp32"):
        check_same_model(file, "0", "a", None, "bf16")


def test_a_device_without_instructions_for_bfloat16_is_refused(monkeypatch):
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda device: False)
    check_precision("fp32", CPU)
    with pytest.raises(EvalError, match=r"--precision bf16: the device cpu has no instructions .* leave the option out"):
        check_precision("bf16", CPU)


def test_float32_leaves_a_model_as_it_is():
    model = build_model(Recipe().model, Recipe().window)
    assert in_precision(model, "fp32") is model
    assert "encode" not in vars(model)
