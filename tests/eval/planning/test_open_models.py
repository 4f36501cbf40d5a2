"""Which runs and which earlier parts an evaluation of planning uses."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from eval.errors import EvalError
from eval.planning import models, set_up
from eval.planning.models import NamedModel, open_models
from tests.support.made_acting_model import SIZE_PX, checkpoint_of, made_acting, made_recipe
from tests.support.made_action_model import STATISTICS, PositionModel
from tests.support.made_pairs import PAIRS, planning
from worldmodel.planning import CEMConfig
from worldmodel.runs.run_data import RunData

CPU = torch.device("cpu")


def test_parts_of_an_evaluation_that_differs_are_not_used(monkeypatch):
    model = NamedModel("run", PositionModel(), "0" * 16, heads_hash="0" * 16)
    other = PositionModel()
    other.statistics = replace(STATISTICS, action_mean=(1.0, 0.0))
    request = SimpleNamespace(env="TwoRooms-v0", env_options={}, task=None, split="test")
    manifest = SimpleNamespace(digest=lambda: "a")

    def identity(request=request, model=model, manifest=manifest):
        return set_up.identity(request, PAIRS, planning(CEMConfig(horizon=2)), [model], manifest)

    found = [
        identity(),
        identity(model=replace(model, heads_hash="1" * 16)),
        identity(model=replace(model, model=other)),
        identity(request=SimpleNamespace(**{**vars(request), "task": "module:task"})),
        identity(manifest=SimpleNamespace(digest=lambda: "b")),
        identity(request=SimpleNamespace(**{**vars(request), "split": "val"})),
    ]
    assert identity() == found[0]
    with monkeypatch.context() as patched:
        patched.setattr(set_up, "OFFLINE_EPISODES", 7)
        found.append(identity())
    monkeypatch.setattr(set_up, "source_digest", lambda: "changed")
    assert len({*found, identity()}) == 8


def test_a_run_is_opened_with_the_hash_of_its_heads_and_the_data_where_it_lies_now(monkeypatch):
    made = made_acting()
    data = RunData(("moved/a.parquet", None), ("b.parquet: no such manifest",))
    monkeypatch.setattr(models, "load_acting_model", lambda *_: made)
    monkeypatch.setattr(models, "find_checkpoint", lambda _: checkpoint_of(made))
    monkeypatch.setattr(models, "load_decoder", lambda *_: None)
    monkeypatch.setattr(models, "find_data", lambda *_: data)
    (before,) = open_models(["run"], CPU)
    with torch.no_grad():
        next(made.steps_head.parameters()).add_(1)
    (after,) = open_models(["run"], CPU)
    assert before.hash == after.hash
    assert before.heads_hash != after.heads_hash
    assert before.data == "moved/a.parquet"
    assert (before.size_px, before.trained_steps) == (SIZE_PX, 1)


def opened_together(monkeypatch, recipes):
    """`open_models` of runs with these recipes, named run0, run1, ..."""
    made = {f"run{number}": made_acting(recipe) for number, recipe in enumerate(recipes)}
    monkeypatch.setattr(models, "load_acting_model", lambda spec, _: made[spec])
    monkeypatch.setattr(models, "find_checkpoint", lambda spec: checkpoint_of(made[spec]))
    monkeypatch.setattr(models, "load_decoder", lambda *_: None)
    monkeypatch.setattr(models, "find_data", lambda *_: RunData(("a.parquet",), ()))
    return open_models(list(made), CPU)


def test_several_models_must_be_training_seeds_of_one_recipe(monkeypatch):
    """Seed and places of files may differ; a learning rate or the statistics of actions may not."""
    recipe = made_recipe()
    other_seed = {"seed": 3, "run": "elsewhere", "data": recipe.data.model_copy(update={"manifest": "moved/a.parquet"})}
    assert len(opened_together(monkeypatch, [recipe, recipe.model_copy(update=other_seed)])) == 2
    faster = recipe.model_copy(update={"optim": recipe.optim.model_copy(update={"lr": 0.5})})
    with pytest.raises(EvalError, match=r"run1 is no other training seed of run0: optim\.lr: .* -> 0\.5; several --model are"):
        opened_together(monkeypatch, [recipe, faster])
    statistics = recipe.model.condition.statistics.model_copy(update={"action_std": (2.0, 0.6)})
    condition = recipe.model.condition.model_copy(update={"statistics": statistics})
    other_data = recipe.model_copy(update={"model": recipe.model.model_copy(update={"condition": condition})})
    with pytest.raises(EvalError, match=r"run1 is no other training seed of run0: model\.condition\.statistics\.action_std"):
        opened_together(monkeypatch, [recipe, other_data])


def test_frozen_encoders_of_two_seeds_lie_in_different_runs():
    first, second = (
        "model.frozen_encoder.source: runs/a -> runs/b",
        "model.frozen_encoder.network.size_px: 64 -> 65",
    )
    assert first.startswith(models._MAY_DIFFER)
    assert not second.startswith(models._MAY_DIFFER)


def test_a_horizon_beyond_what_a_model_was_trained_to_predict_is_told():
    it = NamedModel("run", made_acting(), "0" * 16, recipe=made_recipe())
    (note,) = models.notes_on_models([it], 40)
    assert note.startswith("--horizon 40 is more than the 1 steps that run was trained to predict")
    assert models.notes_on_models([it], 1) == []


def test_a_run_whose_actions_are_state_differences_is_refused(monkeypatch):
    recipe = made_recipe()
    condition = recipe.model.condition.model_copy(update={"actions": "state_difference"})
    made = made_acting(recipe.model_copy(update={"model": recipe.model.model_copy(update={"condition": condition})}))
    monkeypatch.setattr(models, "load_acting_model", lambda *_: made)
    with pytest.raises(EvalError, match=r"its actions are changes of the state \(x, y; .* an environment does not execute"):
        open_models(["run"], CPU)
