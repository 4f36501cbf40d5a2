"""Barlow Twins against values worked by hand, and degenerate latents that it must not reward."""

import pytest
import torch

from worldmodel.objectives.barlow import VARIANCE_EPSILON, BarlowTwinsConfig

CORNERS = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)  # two features, uncorrelated


def test_exact_forecasts_with_uncorrelated_features_cost_nothing(of_rows, loss):
    _, terms = loss(BarlowTwinsConfig(), of_rows(CORNERS, CORNERS, [0, 1, 2, 3]))
    assert terms == pytest.approx({"invariance": 0.0, "redundancy": 0.0}, abs=1e-6)


def test_correlations_worked_by_hand(of_rows, loss):
    # the target's second feature is the sum of both: correlations 1, 1/sqrt 2 on the diagonal, 1/sqrt 2 and 0 off it
    target = torch.stack((CORNERS[:, 0], CORNERS.sum(1)), dim=1)
    _, terms = loss(BarlowTwinsConfig(weight=3.0, redundancy_weight=2.0), of_rows(CORNERS, target, [0, 1, 2, 3]))
    assert terms["invariance"] == pytest.approx(3 * (1 - 0.5**0.5) ** 2 / 2, rel=1e-4)
    assert terms["redundancy"] == pytest.approx(3 * 2 * 0.5 / 2, rel=1e-4)


def test_scale_and_mean_of_forecasts_and_targets_do_not_matter(of_rows, loss):
    noise = torch.randn(50, 3, dtype=torch.float64)
    predicted = noise + 0.5 * torch.randn(50, 3, dtype=torch.float64)
    _, one = loss(BarlowTwinsConfig(), of_rows(predicted, noise, [0] * 50))
    _, other = loss(BarlowTwinsConfig(), of_rows(7 * predicted + 3, 0.5 * noise - 9, [0] * 50))
    assert one == pytest.approx(other, rel=1e-3)  # but for the epsilon under the root


def test_small_variance_about_means_of_their_own_is_not_lost_in_float32(of_rows, loss):
    """Forecasts and targets need not have the mean of the encoder's latents, here 0."""
    noise = torch.randn(400, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    predicted, target = 10 + 0.01 * noise, 0.01 * noise - 10
    _, exact = loss(BarlowTwinsConfig(), of_rows(predicted.float().double(), target.float().double(), [0] * 400))
    _, found = loss(BarlowTwinsConfig(), of_rows(predicted.float(), target.float(), [0] * 400))
    assert found == pytest.approx(exact, rel=1e-3)


def test_latents_that_encode_only_their_position_pay_the_full_loss(of_rows, loss):
    token_of_row = torch.arange(4).repeat(25)
    latents = torch.randn(4, 3, dtype=torch.float64)[token_of_row]
    _, terms = loss(BarlowTwinsConfig(weight=1.0), of_rows(latents, latents, [0] * 100, token=token_of_row.tolist()))
    assert terms["invariance"] == pytest.approx(1.0)


def test_at_collapse_the_gradient_is_finite(of_rows, loss):
    latents = torch.full((8, 3), 2.0, requires_grad=True)
    total, terms = loss(BarlowTwinsConfig(weight=1.0), of_rows(latents, latents, [0] * 8))
    assert terms["invariance"] == pytest.approx(1.0)
    assert torch.autograd.grad(total, latents)[0].isfinite().all()
    assert VARIANCE_EPSILON > 0
