"""What the learner computes in float32 under mixed precision, and gradient accumulation."""

import pytest
import torch
from accelerate import Accelerator

from worldmodel.data.loader import Batch
from worldmodel.objectives import OBJECTIVES
from worldmodel.recipe import Recipe
from worldmodel.train import step
from worldmodel.training.optimizer import build_optimizers
from worldmodel.training.setup import TrainingSetup, build_learner


def test_pixels_and_statistics_are_float32_under_bf16(monkeypatch):
    torch.manual_seed(0)
    objectives = {config.model_fields["kind"].default: config() for config in OBJECTIVES}
    augmentation = {"crop_area_min": 0.5, "brightness": 0.2, "saturation": 0.2}
    recipe = Recipe.model_validate({"augment": augmentation, "objectives": objectives})
    learner = build_learner(recipe)
    frames = torch.randint(0, 256, (4, 24, 72, 72, 3), dtype=torch.uint8)
    batch = Batch(frames, torch.rand(4, 10), torch.arange(4), step_seed=6)
    received = []
    inner = learner.model.forward
    monkeypatch.setattr(learner.model, "forward", lambda pixels, *rest: (received.append(pixels), inner(pixels, *rest))[1])
    learner(batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = learner(batch)
        found = learner.statistics(batch).by_objective.values()
    assert torch.equal(received[0], received[1])  # a crop whose corners are rounded to bf16 is another crop
    dtypes = {value.dtype for part in found for value in (part.sums | part.rows).values()}
    assert dtypes == {torch.float32, torch.int64}  # indices of clips, time steps and tokens
    assert loss.total.dtype == torch.float32


@pytest.mark.parametrize("exact", [True, False])
def test_accumulation_has_the_loss_of_the_whole_batch_unless_exact_accumulation_is_off(exact: bool):
    """Without it, the forecast loss (a mean over rows) is unchanged. Statistics of few windows change."""
    losses, norms = [], []
    for micro_batches in (1, 4):
        train = {"grad_accum_steps": micro_batches, "exact_accumulation": exact}
        recipe = Recipe.model_validate({"train": train, "optim": {"clip_norm": None}, "window": {"frames": 16, "size_px": 32}})
        torch.manual_seed(0)
        learner = build_learner(recipe)
        source = torch.Generator().manual_seed(1)
        frames = torch.randint(0, 256, (8, 16, 32, 32, 3), dtype=torch.uint8, generator=source)
        batches = [Batch(frames[rows], None, rows, step_seed=3) for rows in torch.arange(8).chunk(micro_batches)]
        setup = TrainingSetup(recipe, Accelerator(cpu=True), None, learner, build_optimizers(learner, recipe.optim))
        loss, norm = step(setup, 0, batches)
        losses.append({name: value.item() for name, value in loss.terms.items()})
        norms.append(norm.item())
    assert losses[1]["forecast/direct"] == pytest.approx(losses[0]["forecast/direct"], rel=1e-5)
    assert (losses[1]["spread/cov"] == pytest.approx(losses[0]["spread/cov"], rel=1e-5)) == exact
    assert (norms[1] == pytest.approx(norms[0], rel=1e-4)) == exact
