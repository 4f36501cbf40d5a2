"""How often a training step would wait for a GPU: copies are counted on the device "meta", reads on the CPU."""

import pytest
import torch
from accelerate import Accelerator
from sync_counter import count_synchronisations

from worldmodel.data.loader import Batch
from worldmodel.data.token_masks.stacked import draw_batch
from worldmodel.health.moments import NotFiniteError
from worldmodel.objectives import OBJECTIVES
from worldmodel.process import devices
from worldmodel.recipe import Recipe
from worldmodel.train import step
from worldmodel.training.learner import Loss
from worldmodel.training.optimizer import build_optimizers, clip_gradients
from worldmodel.training.pending_steps import PendingSteps
from worldmodel.training.setup import TrainingSetup, build_learner

AUGMENT = {"crop_area_min": 0.5, "brightness": 0.2, "contrast": 0.1, "saturation": 0.2, "hue": 0.1, "blur_px": 0.7}
CAUSAL = {
    "kind": "causal",
    "encoder": {"patch_px": 8, "width": 16, "depth": 1, "heads": 2, "latent_dim": 8, "head_width": 16, "latent_grid": 2},
    "predictor": {"width": 16, "depth": 1, "heads": 2, "horizons": 3},
    "target": {"kind": "ema"},
    "rollout_steps": 2,
}
MASKED = {
    "kind": "masked",
    "encoder": {"patch_px": 8, "width": 24, "depth": 1, "heads": 2},
    "predictor": {"width": 24, "depth": 1, "heads": 2},
    "masks": [{"blocks": 2, "area": 0.15}, {"blocks": 1, "area": 0.5}],
}
OBJECTIVE_CONFIGS = {config.model_fields["kind"].default: config for config in OBJECTIVES}
READS = {"info_nce": 1, "visreg": 1}  # the number of negatives, and of visible tokens, depends on the data


STATISTICS = {"actions_per_step": 1, "action_mean": [0.0, 0.0], "action_std": [1.0, 1.0]}
ACTING = CAUSAL | {"condition": {"statistics": STATISTICS}}


def recipe_of(model: dict, *objectives: str) -> Recipe:
    distance = "l1" if model is MASKED else "l2"
    chosen = {"forecast": {"kind": "forecast", "distance": distance}, **{name: {"kind": name} for name in objectives}}
    return Recipe.model_validate(
        {
            "window": {"frames": 8, "size_px": 32},
            "augment": AUGMENT | ({"hflip_prob": 0} if "condition" in model else {}),
            "model": model,
            "objectives": chosen,
        }
    )


def batch_of(recipe: Recipe) -> Batch:
    frames = torch.randint(0, 256, (4, recipe.window.frames, 36, 36, 3), dtype=torch.uint8)
    ids, model, masks = torch.arange(4), recipe.model, None
    if model.kind == "masked":  # drawn by the reader, as in training
        rule = model.mask_rule(recipe.window.frames // model.encoder.tubelet_size, model.token_grid(recipe.window))
        masks = draw_batch(rule, ids.tolist(), 5)
    actions = None if getattr(model, "condition", None) is None else torch.rand(4, recipe.window.frames - 1, 2)
    return Batch(frames, torch.rand(4, 10), ids, step_seed=5, masks=masks, actions=actions)


@pytest.mark.parametrize("model", [CAUSAL, ACTING, MASKED], ids=["causal", "with actions", "masked"])
def test_a_step_copies_nothing_to_the_device_that_it_waits_for(model: dict, monkeypatch):
    monkeypatch.setattr(devices, "ASYNCHRONOUS", {"cuda", "meta"})
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *_: False)  # an error for "meta"
    sums = [name for name in OBJECTIVE_CONFIGS if name not in ("forecast", *READS)]
    recipe = recipe_of(model, *sums)
    learner = build_learner(recipe).to("meta")
    batch = batch_of(recipe)

    def run() -> None:
        learner(batch.to(torch.device("meta"))).total.backward()
        for clip_norm in (1.0, None):
            clip_gradients(learner, clip_norm)
        learner.model.update_teacher(0.5)

    run()  # tables that are kept for later steps are copied once
    with count_synchronisations() as found:
        run()
    assert not +found


@pytest.mark.parametrize("model", [CAUSAL, MASKED], ids=["causal", "masked"])
@pytest.mark.parametrize("objective", [name for name in OBJECTIVE_CONFIGS if name != "forecast"])
def test_a_step_reads_nothing_from_the_device_but_for_objectives_that_say_so(model: dict, objective: str):
    recipe = recipe_of(model, objective)
    learner = build_learner(recipe)
    setup = TrainingSetup(recipe, Accelerator(cpu=True), None, learner, build_optimizers(learner, recipe.optim))
    batches = [batch_of(recipe)]
    pending = PendingSteps(str, deferred=True)
    step(setup, 0, batches)
    with count_synchronisations() as found:
        for index in (1, 2):
            pending.add(index, *step(setup, index, batches))
            setup.model.update_teacher(0.5)
    assert found.total() == 2 * READS.get(objective, 0), found


def losses(count: int, bad: int | None = None) -> list[tuple[int, Loss, torch.Tensor]]:
    totals = [float("nan") if number == bad else float(number) for number in range(1, count + 1)]
    return [(n, Loss(torch.tensor(x), {"a/b": torch.tensor(x)}), torch.tensor(1.0)) for n, x in enumerate(totals, start=1)]


def test_twenty_steps_are_read_at_once_after_the_next_one_was_started():
    rows = []
    pending = PendingSteps(str, deferred=True)
    for number, loss, norm in losses(40):
        with count_synchronisations() as found:
            pending.add(number, loss, norm, rows.append if number % 20 == 0 else None)
        assert found.total() == (1 if number == 21 else 0)
        assert [row.done for row in rows] == ([20] if number >= 21 else [])
    pending.read()
    assert [(row.done, row.loss, row.terms) for row in rows] == [(20, 20.0, {"a/b": 20.0}), (40, 40.0, {"a/b": 40.0})]


@pytest.mark.parametrize("deferred", [True, False])
def test_a_step_that_is_not_finite_is_named_before_any_checkpoint_whenever_it_is_read(deferred: bool):
    pending = PendingSteps(lambda values: f"step {values.done}: loss {values.loss}", deferred)
    seen = 0

    def train() -> None:
        nonlocal seen
        for number, loss, norm in losses(12, bad=7):
            pending.add(number, loss, norm)
            seen = number
        pending.read()  # as before a checkpoint

    with pytest.raises(NotFiniteError, match="step 7: loss nan"):
        train()
    assert seen == (12 if deferred else 6)
