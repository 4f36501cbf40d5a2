"""VICReg's terms against values worked by hand, and degenerate latents that they must not reward."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from worldmodel.models.latents import Latents
from worldmodel.objectives.objective import BatchSizes
from worldmodel.objectives.statistics import global_centers
from worldmodel.objectives.vicreg import (
    STD_EPSILON,
    VICReg,
    VICRegConfig,
    mean_squared_offdiagonal,
    pooled_covariance,
    std_shortfall,
)


def as_latents(context: Tensor) -> Latents:
    """Latents with the fields that VICReg uses: [B, T, N, D]."""
    empty = torch.zeros(0, dtype=torch.int64)
    none = torch.zeros(0, context.shape[-1])
    return Latents(
        context, torch.ones(context.shape[:3], dtype=torch.bool), none, none, empty, empty, empty, empty, empty.bool()
    )


def terms_of(context: Tensor, **config: float) -> dict[str, Tensor]:
    vicreg, latents = VICReg(VICRegConfig(**config)), as_latents(context)
    sums = vicreg.sums(latents, global_centers(latents))
    return vicreg.value(sums)


def test_collapsed_latents_pay_the_full_margin():
    terms = terms_of(torch.full((4, 3, 2, 5), 7.0), std_weight=1.0)
    assert terms["std"].item() == pytest.approx(1.0 - math.sqrt(STD_EPSILON))
    assert terms["cov"].item() == 0.0


def test_two_points_worked_by_hand():
    # rows (0, 0) and (0.6, 0.2): means (.3, .1), unbiased variances .18 and .02, covariance .06
    terms = terms_of(torch.tensor([[0.0, 0.0], [0.6, 0.2]]).view(2, 1, 1, 2), std_weight=1.0, cov_weight=1.0)
    expected = ((1 - math.sqrt(0.18 + STD_EPSILON)) + (1 - math.sqrt(0.02 + STD_EPSILON))) / 2
    assert terms["std"].item() == pytest.approx(expected, rel=1e-6)
    assert terms["cov"].item() == pytest.approx(0.06**2, rel=1e-6)  # both off-diagonal entries, divided by D(D-1) = 2


def test_latents_that_encode_only_their_position_count_as_collapsed():
    constant = 3 * torch.randn(16, 8)
    assert terms_of(constant.expand(8, 6, 16, 8), std_weight=1.0)["std"].item() == pytest.approx(0.99, abs=1e-4)


def test_a_static_background_does_not_satisfy_the_variance_within_a_clip():
    still = torch.randn(64, 1, 1, 8).expand(64, 6, 1, 8)
    terms = terms_of(2 * still, std_weight=1.0, temporal_std_weight=1.0)
    assert terms["std"].item() < 0.01
    assert terms["temporal_std"].item() == pytest.approx(0.99, abs=1e-4)


def test_variance_within_a_clip_can_be_asked_of_some_features_alone():
    generator = torch.Generator().manual_seed(0)
    still = torch.randn(64, 1, 1, 6, generator=generator).expand(64, 6, 1, 6)
    moving = torch.randn(64, 6, 1, 2, generator=generator)
    latents = 2 * torch.cat([moving, still], dim=-1)
    both = {"std_weight": 1.0, "temporal_std_weight": 1.0}
    assert terms_of(latents, **both, temporal_features=2)["temporal_std"].item() == 0.0
    half_still = terms_of(latents, **both, temporal_features=4)["temporal_std"].item()
    assert half_still == pytest.approx((1 - math.sqrt(STD_EPSILON)) / 2, abs=1e-4)
    problems = VICRegConfig(temporal_features=9).check(BatchSizes(4, 1, 8, 8, 3, 1, clips=4))
    assert [problem.split()[0] for problem in problems] == [".temporal_features", ".temporal_features"]


def test_small_variance_beside_a_large_mean_is_not_lost_in_float32():
    rows = 1 + 1e-3 * torch.randn(4096, 1, 1, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    vicreg, latents = VICReg(VICRegConfig()), as_latents(rows.float())
    found = pooled_covariance(vicreg.sums(latents, global_centers(latents))).diagonal()
    torch.testing.assert_close(found.double(), rows.float().double().flatten(0, 2).var(0), rtol=1e-4, atol=0)


def test_covariance_equals_torch_cov_whatever_the_reference():
    rows = torch.randn(50, 1, 1, 4, dtype=torch.float64) + 2
    latents = as_latents(rows)
    centers = replace(global_centers(latents), context=torch.randn(1, 4, dtype=torch.float64))
    sums = VICReg(VICRegConfig()).sums(latents, centers)
    torch.testing.assert_close(pooled_covariance(sums), rows.flatten(0, 2).T.cov())


def test_masked_latents_do_not_count():
    context = torch.randn(6, 4, 2, 3, dtype=torch.float64)
    visible = torch.rand(6, 4, 2) < 0.6
    latents = as_latents(context)
    masked = replace(latents, context=context.masked_fill(~visible[..., None], 1e3), context_mask=visible)
    vicreg = VICReg(VICRegConfig(temporal_std_weight=1.0))
    sums = vicreg.sums(masked, global_centers(masked))
    rows = [context[:, :, n][visible[:, :, n]] for n in range(2)]
    gram = sum((r - r.mean(0)).T @ (r - r.mean(0)) for r in rows)
    torch.testing.assert_close(pooled_covariance(sums), gram / (visible.sum() - 2))


def test_gradient_equals_that_of_the_plain_formula(loss):
    """The gradient through statistics equals that of the loss computed directly."""
    context = (0.5 * torch.randn(12, 5, 1, 6, dtype=torch.float64)).requires_grad_()
    found_loss, _ = loss(VICRegConfig(std_weight=3.0, cov_weight=2.0), as_latents(context))
    (found,) = torch.autograd.grad(found_loss, context)

    covariance = context.flatten(0, 2).T.cov()
    plain = 3.0 * std_shortfall(covariance.diagonal(), 1.0) + 2.0 * mean_squared_offdiagonal(covariance)
    (expected,) = torch.autograd.grad(plain, context)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found_loss, plain)
