"""Schedules are pure functions of the training step; only matrices have weight decay."""

import pytest
import torch
from torch import nn

from worldmodel.models.blocks.block_causal import CausalBlocks
from worldmodel.models.blocks.layers import Blocks
from worldmodel.models.blocks.lora import LoraConfig, add_adapters
from worldmodel.training import orthogonalise
from worldmodel.training.optimizer import OptimConfig, build_optimizers, lr_ratio_at, set_lr


def test_the_warm_up_is_linear_and_ends_at_the_full_rate():
    config = OptimConfig(lr=1.0, warmup_steps=4)
    assert [lr_ratio_at(u, config, 100) for u in range(5)] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])


@pytest.mark.parametrize(("schedule", "middle", "end"), [("cosine", 0.55, 0.1), ("linear", 0.55, 0.1), ("constant", 1.0, 1.0)])
def test_the_last_step_has_min_lr_ratio(schedule: str, middle: float, end: float):
    config = OptimConfig(lr=1.0, warmup_steps=0, schedule=schedule, min_lr_ratio=0.1)
    assert lr_ratio_at(50, config, 101) == pytest.approx(middle)
    assert lr_ratio_at(100, config, 101) == pytest.approx(end)


def test_biases_norms_and_positions_have_no_weight_decay_and_every_trained_parameter_is_in_a_group():
    module = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2).requires_grad_(False))
    module.position = nn.Parameter(torch.zeros(5, 4))
    (optimizer,) = build_optimizers(module, OptimConfig(weight_decay=0.1))
    decayed, free = optimizer.param_groups
    assert [p.shape for p in decayed["params"]] == [(4, 3)]
    assert decayed["weight_decay"] == 0.1
    assert free["weight_decay"] == 0.0
    assert len(free["params"]) == 4


def test_adapters_have_weight_decay_and_the_weights_below_them_are_in_no_group():
    layer = nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5))
    wrapped = nn.ModuleDict({"encoder": layer})
    add_adapters(wrapped, LoraConfig(rank=2, targets=("0",)))
    layer[1].requires_grad_(True)
    (optimizer,) = build_optimizers(wrapped, OptimConfig(weight_decay=0.1))
    names = {id(parameter): name for name, parameter in wrapped.named_parameters()}
    groups = optimizer.param_groups
    found = {group["weight_decay"]: {names[id(p)].rpartition(".")[2] for p in group["params"]} for group in groups}
    assert found == {0.1: {"up", "down"}, 0.0: {"weight", "bias"}}
    assert sum(len(group["params"]) for group in groups) == 4  # not the weight and bias of the linear layer


def test_muon_optimises_hidden_matrices_and_adamw_the_input_and_output_layers():
    head = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 3))
    module = nn.ModuleDict({"embed": nn.Linear(5, 8), "blocks": Blocks(1, 8, 2), "head": head})
    adamw, muon = build_optimizers(module, OptimConfig(kind="muon"))
    mine = {id(p) for p in muon.param_groups[0]["params"]}
    names = {name for name, p in module.named_parameters() if id(p) in mine}
    block = "blocks.layers.0."
    assert names == {
        *(block + part for part in ("attention.qkv.weight", "attention.out.weight", "mlp.0.weight", "mlp.2.weight")),
        "head.0.weight",
    }
    rest = sum(len(group["params"]) for group in adamw.param_groups)
    assert rest + len(mine) == len(list(module.parameters()))


def test_adamw_optimises_the_recurrences():
    blocks = CausalBlocks(2, 8, 2)
    expected = {id(p) for p in build_optimizers(blocks, OptimConfig(kind="muon"))[1].param_groups[0]["params"]}
    blocks.add_recurrences(2)
    muon = build_optimizers(blocks, OptimConfig(kind="muon"))[1]
    assert {id(p) for p in muon.param_groups[0]["params"]} == expected


def test_every_optimizer_follows_the_schedule_at_its_own_scale():
    config = OptimConfig(kind="muon", lr=1e-3, muon_lr=0.02)
    optimizers = build_optimizers(Blocks(1, 8, 2), config)
    set_lr(optimizers, config, 0.5)
    assert [optimizer.param_groups[0]["lr"] for optimizer in optimizers] == pytest.approx([5e-4, 0.01])


@pytest.mark.parametrize("shape", [(12, 5), (5, 12), (8, 8)])
def test_muon_multiplies_in_float32_where_bfloat16_is_emulated(shape: tuple[int, int], monkeypatch):
    """Emulated products are many times slower. The direction is the same up to the rounding of bfloat16 (2^-8)."""
    group = {"ns_coefficients": (3.4445, -4.775, 2.0315), "ns_steps": 5, "eps": 1e-7}
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    before, found = matrix.clone(), {}
    for fast in (True, False):
        monkeypatch.setattr(orthogonalise, "multiplies_bfloat16", lambda _, fast=fast: fast)
        found[fast] = orthogonalise.orthogonalise(matrix, group)
    assert (found[True].dtype, found[False].dtype) == (torch.bfloat16, torch.float32)
    assert found[False].shape == shape
    assert torch.equal(matrix, before)  # the gradient and the momentum are not changed
    torch.testing.assert_close(found[True].float(), found[False], atol=0.04, rtol=0)


def test_a_step_of_muon_is_orthogonal_whatever_the_scale_of_the_gradient():
    block = Blocks(1, 16, 2)
    config = OptimConfig(kind="muon", muon_lr=1.0, weight_decay=0)
    weight = block.layers[0].attention.out.weight
    for scale in (1e-3, 1e3):
        _, muon = build_optimizers(block, config)
        before = weight.detach().clone()
        weight.grad = scale * torch.randn(16, 16, generator=torch.Generator().manual_seed(0))
        muon.step()
        # five steps of Newton and Schulz leave singular values about 1 (Jordan 2024: within 0.7 and 1.2), bf16 a little more
        sizes = torch.linalg.svdvals(before - weight.detach())
        assert 0.5 < sizes.median() < 1.3
        assert sizes.max() < 1.5
