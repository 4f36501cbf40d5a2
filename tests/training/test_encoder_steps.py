"""After `optim.encoder_steps` training steps the encoder stays as it is, and the predictor goes on."""

import copy
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from pydantic import ValidationError

from worldmodel.data.loader import Batch
from worldmodel.recipe import Recipe
from worldmodel.train import step
from worldmodel.training.optimizer import build_optimizers
from worldmodel.training.setup import TrainingSetup, build_learner

STEPS, KEPT_FROM = 4, 2


def trained(kind: str, encoder_steps: int | None) -> list[dict[str, torch.Tensor]]:
    """The weights after each step."""
    window = {"frames": 16, "size_px": 32}
    optim = {"kind": kind, "warmup_steps": 0, "weight_decay": 0.1, "encoder_steps": encoder_steps}
    recipe = Recipe.model_validate({"optim": optim, "window": window, "model": {"kind": "causal"}})
    torch.manual_seed(0)
    learner = build_learner(recipe)
    setup = TrainingSetup(recipe, Accelerator(cpu=True), None, learner, build_optimizers(learner, recipe.optim))
    source, found = torch.Generator().manual_seed(1), []
    for index in range(STEPS):
        frames = torch.randint(0, 256, (4, 16, 32, 32, 3), dtype=torch.uint8, generator=source)
        step(setup, index, [Batch(frames, None, torch.arange(4), step_seed=index)])
        found.append(copy.deepcopy(learner.model.state_dict()))
    return found


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    """Parts of the model in which a weight differs."""
    return {name.split(".")[0] for name, weight in before.items() if not torch.equal(weight, after[name])}


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_the_encoder_stays_bit_for_bit(kind: str):
    found, without = trained(kind, KEPT_FROM), trained(kind, None)
    assert changed(found[KEPT_FROM - 1], without[KEPT_FROM - 1]) == set()
    for before, after in zip(found[KEPT_FROM - 1 :], found[KEPT_FROM:], strict=False):
        assert changed(before, after) == {"predictor"}
    assert "encoder" in changed(without[-2], without[-1])


def test_a_run_that_is_killed_and_resumed_on_two_ranks_has_the_losses_of_one_process(trainer, read_rows, tmp_path: Path):
    more = ["optim.encoder_steps=9", "train.max_steps=12"]
    assert trainer(tmp_path / "one", *more).returncode == 0
    trainer.killed(tmp_path / "two", *more, after=8, ranks=2)
    assert trainer(tmp_path / "two", *more, ranks=2).returncode == 0
    rows = [read_rows(tmp_path / name) for name in ("one", "two")]
    assert [row["loss"] for row in rows[1]] == pytest.approx([row["loss"] for row in rows[0]], rel=1e-4)


def test_a_frozen_encoder_is_refused():
    frozen = {"source": "runs/other"}
    recipe = {
        "optim": {"encoder_steps": 5},
        "model": {"kind": "causal", "frozen_encoder": frozen},
        "objectives": {"forecast": {"kind": "forecast"}},
    }
    with pytest.raises(ValidationError, match=r"optim\.encoder_steps: model\.frozen_encoder is never trained"):
        Recipe.model_validate(recipe)
