"""Schedules are pure functions of the update; decay falls on matrices alone."""

import pytest
import torch
from torch import nn

from worldmodel.optim import OptimConfig, build_optimizer, lr_at


def test_warm_up_is_linear_and_leaves_at_the_full_rate():
    config = OptimConfig(lr=1.0, warmup_updates=4)
    assert [lr_at(u, config, 100) for u in range(5)] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])


@pytest.mark.parametrize(("schedule", "middle", "end"), [("cosine", 0.55, 0.1), ("linear", 0.55, 0.1), ("constant", 1.0, 1.0)])
def test_the_last_update_has_the_final_share(schedule: str, middle: float, end: float):
    config = OptimConfig(lr=1.0, warmup_updates=0, schedule=schedule, final_share=0.1)
    assert lr_at(50, config, 101) == pytest.approx(middle)
    assert lr_at(100, config, 101) == pytest.approx(end)


def test_biases_norms_and_positions_are_not_decayed_and_all_that_is_trained_is_there():
    module = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2).requires_grad_(False))
    module.position = nn.Parameter(torch.zeros(5, 4))
    optimizer = build_optimizer(module, OptimConfig(weight_decay=0.1))
    decayed, free = optimizer.param_groups
    assert [p.shape for p in decayed["params"]] == [(4, 3)]
    assert decayed["weight_decay"] == 0.1
    assert free["weight_decay"] == 0.0
    assert len(free["params"]) == 4
