"""Low-rank adapters: they start as nothing, alone are trained, act wherever the weight is read, and merge bit for bit."""

from pathlib import Path

import pytest
import torch
from torch import nn

from worldmodel.checkpoint import find_checkpoint, gather_tensors, restore_checkpoint, save_checkpoint
from worldmodel.config import ConfigError, parse_config
from worldmodel.data.augmentation.augment import UNIFORMS_PER_SAMPLE
from worldmodel.data.loader import Batch
from worldmodel.models import build_model
from worldmodel.models.blocks.lora import LoraConfig, add_adapters, merge_adapters, with_adapters
from worldmodel.recipe import Recipe
from worldmodel.training.optimizer import build_optimizers
from worldmodel.training.setup import build_learner

MASKED = {
    "kind": "masked",
    "encoder": {"patch_px": 8, "tubelet_size": 2, "width": 24, "depth": 2, "heads": 2},
    "predictor": {"width": 24, "depth": 2, "heads": 2},
    "masks": [{"blocks": 1, "area": 0.3}],
}
CAUSAL = {
    "kind": "causal",
    "encoder": {"patch_px": 8, "width": 16, "depth": 1, "heads": 2, "latent_dim": 8, "latent_grid": 4, "head_width": 16},
    "predictor": {"width": 16, "depth": 2, "heads": 2, "horizons": 2},
    "rollout_steps": 2,
    "rollout_context": 1,
}


def recipe(model: dict, **lora: object) -> Recipe:
    distance = "l1" if model["kind"] == "masked" else "l2"
    return Recipe.model_validate(
        {
            "init_from": "runs/other",
            "window": {"frames": 8, "fps": 4, "size_px": 32},
            "augment": {"crop_area_min": 1, "crop_aspect_max": 1, "hflip_prob": 0},
            "model": {**model, "lora": {"rank": 2, "alpha": 6, **lora}},
            "objectives": {"forecast": {"kind": "forecast", "distance": distance}},
            "decoder": {"max_steps": 0},
        }
    )


def batch(step: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(step)
    frames = torch.randint(0, 256, (2, 8, 32, 32, 3), dtype=torch.uint8, generator=generator)
    return Batch(frames, torch.rand(2, UNIFORMS_PER_SAMPLE, generator=generator), torch.arange(2))


def step(learner, optimizers, number: int) -> None:
    learner(batch(number)).total.backward()
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()


def with_random_adapters(given: Recipe):
    torch.manual_seed(0)
    model = build_model(given.model, given.window).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.endswith(".up"):
                value += 0.1 * torch.randn_like(value)
    return model


def test_an_adapted_weight_is_the_weight_plus_the_scaled_product():
    layer = nn.Linear(2, 3)
    model = nn.Module()
    model.encoder = nn.ModuleDict({"out": layer})
    before = layer.weight.clone()
    add_adapters(model, LoraConfig(rank=1, alpha=2.0, targets=("out",)))
    assert torch.equal(layer.weight, before)
    adapter = layer.parametrizations.weight[0]
    with torch.no_grad():
        adapter.up.copy_(torch.tensor([[1.0], [0.0], [-1.0]]))
        adapter.down.copy_(torch.tensor([[3.0, 5.0]]))
    torch.testing.assert_close(layer.weight - before, torch.tensor([[6.0, 10.0], [0.0, 0.0], [-6.0, -10.0]]))


@pytest.mark.parametrize("model", [MASKED, CAUSAL])
def test_only_adapters_are_trained_and_the_model_starts_as_the_one_without(model: dict):
    given = recipe(model)
    torch.manual_seed(1)
    learner = build_learner(given)
    plain = build_model(given.model.model_copy(update={"lora": None}), given.window)
    own = {k: v for k, v in learner.model.state_dict().items() if k in plain.state_dict()}
    own |= {k.replace(".parametrizations.weight.original", ".weight"): v for k, v in learner.model.state_dict().items()}
    plain.load_state_dict({name: own[name] for name in plain.state_dict()})
    frames = torch.randn(2, 8, 3, 32, 32)
    assert torch.equal(learner.model.forecast(frames[:, :4], 2), plain.forecast(frames[:, :4], 2))
    trained = [name for name, value in learner.named_parameters() if value.requires_grad]
    assert {name.rpartition(".")[2] for name in trained} == {"up", "down"}
    if given.model.kind == "causal":  # an untrained predictor ends in zeros, and would pass no gradient
        torch.nn.init.normal_(learner.model.predictor.head[-1].weight)
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    optimizers = build_optimizers(learner, given.optim)
    for number in range(2):
        step(learner, optimizers, number)
    changed = {name for name, value in learner.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == set(trained)


@pytest.mark.parametrize("model", [MASKED, CAUSAL])
def test_adapters_act_wherever_the_weight_is_read_and_merge_bit_for_bit(model: dict):
    """The last block computes queries of some tokens only, from a part of its weight: a layer around it would be bypassed."""
    adapted = with_random_adapters(recipe(model))
    frames = torch.randn(2, 8, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    forward = lambda: adapted(frames, torch.arange(2), 3).predicted  # noqa: E731
    expected, forecast = forward(), adapted.forecast(frames[:, :4], 2)
    merge_adapters(adapted)
    assert not [name for name in adapted.state_dict() if "parametrizations" in name]
    assert torch.equal(forward(), expected)
    assert torch.equal(adapted.forecast(frames[:, :4], 2), forecast)


def test_the_teacher_follows_the_adapted_weights():
    given = recipe({**MASKED, "target": {"kind": "ema", "momentum": 0.75, "momentum_end": 0.75}})
    model = with_random_adapters(given)
    before = model.teacher.blocks.layers[0].attention.qkv.weight.clone()
    model.update_teacher(0.5)
    after = model.teacher.blocks.layers[0].attention.qkv.weight
    adapted = model.encoder.blocks.layers[0].attention.qkv.weight
    assert not torch.equal(adapted, before)
    torch.testing.assert_close(after, 0.75 * before + 0.25 * adapted)


def test_a_resumed_training_equals_an_uninterrupted_one(tmp_path: Path):
    given = recipe(MASKED)

    def started():
        torch.manual_seed(2)
        learner = build_learner(given)
        return learner, build_optimizers(learner, given.optim)

    learner, optimizers = started()
    step(learner, optimizers, 0)
    save_checkpoint(tmp_path, gather_tensors(learner, optimizers), {"step": 1, "recipe": given.model_dump(mode="json")})
    step(learner, optimizers, 1)
    torch.manual_seed(9)
    resumed, others = started()
    restore_checkpoint(resumed, others, find_checkpoint(tmp_path))
    step(resumed, others, 1)
    for (name, one), two in zip(learner.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(one, two), name


def test_weights_without_adapters_keep_those_of_the_model():
    adapted = with_random_adapters(recipe(MASKED))
    plain = build_model(recipe(MASKED).model.model_copy(update={"lora": None}), recipe(MASKED).window)
    loaded = with_adapters(plain.state_dict(), adapted.state_dict())
    adapted.load_state_dict(loaded)  # strict
    first = adapted.encoder.blocks.layers[0].attention.qkv.parametrizations.weight
    assert torch.equal(first.original, plain.encoder.blocks.layers[0].attention.qkv.weight)
    assert with_adapters(adapted.state_dict(), adapted.state_dict()).keys() == adapted.state_dict().keys()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"init_from": None}, "model.lora adapts weights that were trained before; set init_from"),
        ({"train": {"parallel": "fsdp2"}}, "train.parallel fsdp2 cannot gather adapted weights; use parallel ddp"),
        ({"optim": {"kind": "muon"}}, "adapters of model.lora need adamw"),
        ({"optim": {"frozen": ["encoder"]}}, "only adapters are trained"),
    ],
)
def test_what_adapters_cannot_be_combined_with_is_refused_in_words(changes: dict, message: str):
    with pytest.raises(ConfigError, match=message):
        parse_config(Recipe, {**recipe(MASKED).model_dump(mode="json"), **changes}, "x.yaml")


def test_a_target_that_no_layer_has_is_refused_with_near_names():
    with pytest.raises(ConfigError, match=r"no linear layer ends with 'attention\.qvk'; near are attention\.qkv"):
        build_learner(recipe(MASKED, targets=["attention.qvk"]))
