"""Fine-tuning: learning rates fall from layer to layer, frozen parts stay as they are, and a resume repeats both."""

import pytest
import torch
from torch import nn

from worldmodel.config import ConfigError
from worldmodel.data.window_config import WindowConfig
from worldmodel.models import build_model
from worldmodel.models.mask_predictor import MaskPredictorConfig
from worldmodel.models.masked import MaskedConfig
from worldmodel.models.video_encoder import VideoEncoderConfig
from worldmodel.training.fine_tuning import freeze, layer_scales
from worldmodel.training.optimizer import OptimConfig, build_optimizers, set_lr


def small(depth: int = 3) -> nn.Module:
    torch.manual_seed(0)
    config = MaskedConfig(
        encoder=VideoEncoderConfig(patch_px=8, width=24, depth=depth, heads=2),
        predictor=MaskPredictorConfig(width=24, depth=1, heads=2),
    )
    return build_model(config, WindowConfig(frames=4, fps=4, size_px=32))


def test_a_decay_of_a_half_gives_these_learning_rates():
    """Three blocks: the last has 1/2, the first 1/8, patches 1/16; what lies above the blocks, and the predictor, 1."""
    scales = layer_scales(small(), 0.5)
    expected = {
        "encoder.patch.weight": 1 / 16,
        "encoder.blocks.layers.0.mlp.0.weight": 1 / 8,
        "encoder.blocks.layers.2.attention.qkv.bias": 1 / 2,
        "encoder.norm.weight": 1.0,
        "predictor.blocks.layers.0.mlp.0.weight": 1.0,
        "predictor.mask_tokens": 1.0,
    }
    assert {name: scales[name] for name in expected} == expected


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_the_schedule_multiplies_the_learning_rate_of_each_layer(kind: str):
    model, config = small(), OptimConfig(kind=kind, lr=0.1, muon_lr=0.2, layer_decay=0.5)
    optimizers = build_optimizers(model, config)
    set_lr(optimizers, config, 0.1)
    rates = {id(p): group["lr"] for o in optimizers for group in o.param_groups for p in group["params"]}
    found = {name: rates[id(p)] for name, p in model.named_parameters() if p.requires_grad}
    assert len(found) == len(rates)
    assert found["encoder.patch.weight"] == pytest.approx(0.01 / 16)
    assert found["encoder.blocks.layers.0.mlp.0.weight"] == pytest.approx((0.02 if kind == "muon" else 0.01) / 8)
    assert found["predictor.head.weight"] == pytest.approx(0.01)


def test_without_decay_the_parameter_groups_are_those_of_weights_and_of_the_rest():
    (adamw,) = build_optimizers(small(), OptimConfig())
    assert [group["weight_decay"] for group in adamw.param_groups] == [0.02, 0.0]


def test_a_prefix_ends_at_a_dot_and_frozen_parts_get_no_update():
    model = small(depth=11)
    freeze(model, ("encoder.patch", "encoder.blocks.layers.1"))
    names = [name for name, p in model.named_parameters() if not p.requires_grad and not name.startswith("teacher")]
    assert {name.rpartition(".")[0].split(".attention")[0].split(".mlp")[0].split(".norm")[0] for name in names} == {
        "encoder.patch",
        "encoder.blocks.layers.1",
    }
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model(torch.randn(2, 4, 3, 32, 32), torch.arange(2), 0).predicted.square().sum().backward()
    for optimizer in build_optimizers(model, OptimConfig(weight_decay=0.5)):
        optimizer.step()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert not changed & set(names)
    assert {"encoder.blocks.layers.10.mlp.0.weight", "encoder.blocks.layers.0.mlp.0.weight"} <= changed


@pytest.mark.parametrize(
    ("prefixes", "message"),
    [
        (("encoder.block.layers.0",), "no parameter is below 'encoder.block.layers.0'; near are encoder.blocks.layers.0"),
        (("encoder.blocks.layers.3",), "near are"),  # the blocks are 0 to 2
        (("encoder", "predictor"), "no parameter of the model is left to train"),
    ],
)
def test_a_prefix_that_matches_nothing_or_everything_is_refused(prefixes: tuple[str, ...], message: str):
    with pytest.raises(ConfigError, match=message):
        freeze(small(), prefixes)
