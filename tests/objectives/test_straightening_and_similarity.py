"""Temporal straightening and temporal similarity against values worked by hand."""

from dataclasses import replace

import pytest
import torch

from worldmodel.objectives.objective import BatchSizes
from worldmodel.objectives.straightening import StraighteningConfig
from worldmodel.objectives.temporal_similarity import TemporalSimilarityConfig

CORNER = torch.tensor([[0.0, 0.0], [2.0, 0.0], [2.0, 3.0], [2.0, 4.0]]).view(1, 4, 1, 2)  # right, up, up


def test_curvature_worked_by_hand(of_context, loss):
    assert loss(StraighteningConfig(weight=4.0), of_context(CORNER))[1]["curvature"] == pytest.approx(4 * (1 + 0) / 2)


def test_a_straight_line_costs_nothing_and_a_reversal_costs_2(of_context, loss):
    line = torch.tensor([1.0, 2.0, 4.0, 8.0]).view(1, 4, 1, 1) * torch.tensor([3.0, -1.0])
    assert loss(StraighteningConfig(weight=1.0), of_context(line))[1]["curvature"] == pytest.approx(0.0, abs=1e-6)
    there_and_back = torch.tensor([0.0, 1.0, 0.0]).view(1, 3, 1, 1)
    assert loss(StraighteningConfig(weight=1.0), of_context(there_and_back))[1]["curvature"] == pytest.approx(2.0)


def test_latents_at_rest_have_a_finite_gradient(of_context, loss):
    still = torch.ones(2, 5, 1, 3, requires_grad=True)
    total, terms = loss(StraighteningConfig(weight=1.0), of_context(still))
    assert terms["curvature"] == pytest.approx(1.0)
    assert torch.autograd.grad(total, still)[0].isfinite().all()


def test_curvature_needs_three_latents_in_a_row(of_context, loss):
    mask = torch.ones(1, 4, 1, dtype=torch.bool)
    mask[0, 0] = False  # the corner is gone; up, up is left
    assert loss(StraighteningConfig(weight=1.0), of_context(CORNER, mask))[1]["curvature"] == pytest.approx(0.0, abs=1e-6)


def test_squared_changes_worked_by_hand(of_context, loss):
    # squares 4, 9, 1 over two features each
    assert loss(TemporalSimilarityConfig(weight=3.0), of_context(CORNER))[1]["change"] == pytest.approx(3 * (4 + 9 + 1) / 6)


def test_a_change_needs_both_latents(of_context, loss):
    mask = torch.tensor([True, True, False, True]).view(1, 4, 1)
    assert loss(TemporalSimilarityConfig(weight=1.0), of_context(CORNER, mask))[1]["change"] == pytest.approx(4 / 2)


@pytest.mark.parametrize("config", [StraighteningConfig(), TemporalSimilarityConfig()])
def test_they_are_refused_where_training_drops_tokens(config):
    sizes = BatchSizes(6, 4, 8, 8, 5, None, clips=2)
    assert config.check(sizes) == []
    assert "model.tokens_kept 0.25 drops most of them" in config.check(replace(sizes, tokens_kept=0.25))[0]
