"""VISReg's terms against values worked by hand, and what it does at collapse."""

import pytest
import torch

from worldmodel.objectives.sigreg import SIGRegConfig
from worldmodel.objectives.visreg import VARIANCE_EPSILON, VISRegConfig, normal_quantiles, sliced_distance_to_normal

ONES = {"scale_weight": 1.0, "shape_weight": 1.0, "center_weight": 1.0}


def test_two_points_worked_by_hand(of_context, loss):
    # -1 and 3 of one feature: mean 1, standard deviation 2; standardised -1 and 1, beside quantiles -.4307 and .4307 of N(0, 1)
    _, terms = loss(VISRegConfig(**ONES), of_context(torch.tensor([-1.0, 3.0], dtype=torch.float64).view(2, 1, 1, 1)))
    assert terms == pytest.approx({"scale": 1.0, "shape": (1 - 0.430727) ** 2, "center": 1.0}, rel=1e-5)


def test_three_normal_quantiles_equal_those_of_a_table():
    assert normal_quantiles(3, torch.zeros(1)).tolist() == pytest.approx([-0.674490, 0.0, 0.674490], abs=1e-6)


def test_wasserstein_distance_of_a_shifted_sample_is_the_shift_squared():
    samples = normal_quantiles(9, torch.zeros(1, dtype=torch.float64))[:, None] + 0.7
    assert sliced_distance_to_normal(samples.flip(0), torch.ones(1, 1, dtype=torch.float64)).item() == pytest.approx(0.49)


def test_the_scale_of_latents_does_not_change_the_shape_term(of_context, loss):
    latents = torch.rand(30, 2, 1, 4, dtype=torch.float64)
    shapes = [loss(VISRegConfig(**ONES), of_context(scale * latents))[1]["shape"] for scale in (1, 5)]
    assert shapes[0] == pytest.approx(shapes[1], rel=1e-5)


def test_the_shape_term_has_no_gradient_through_the_standard_deviation(of_context, loss):
    """Standard deviations carry no gradient there (eq. 2), so the gradient along the latents is not that of the value."""
    latents = torch.rand(30, 2, 1, 4, dtype=torch.float64).requires_grad_()
    config = VISRegConfig(scale_weight=0.0, center_weight=0.0, shape_weight=1.0)
    (slope,) = torch.autograd.grad(loss(config, of_context(latents))[0], latents)
    centred = latents - latents.mean((0, 1))
    assert abs((slope * centred).sum()) > 1e-3  # although a larger scale does not change the value


def pull_outwards(config, std: float, of_context, loss) -> float:
    """Change of the latents' standard deviation by one gradient step."""
    direction = torch.randn(64, 4, 1, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    latents = (std * direction).requires_grad_()
    (slope,) = torch.autograd.grad(loss(config, of_context(latents))[0], latents)
    return -(slope * direction).sum().item()


def test_near_collapse_the_gradient_of_the_scale_term_is_largest_and_that_of_sigreg_vanishes(of_context, loss):
    """Wu et al. 2026, fig. 2."""
    scale, sigreg = VISRegConfig(scale_weight=1.0, shape_weight=0.0, center_weight=0.0), SIGRegConfig(weight=1.0)
    pull = {(c.kind, std): pull_outwards(c, std, of_context, loss) for c in (scale, sigreg) for std in (0.5, 0.01)}
    assert pull["visreg", 0.01] > pull["visreg", 0.5] > 0
    assert 0 < pull["sigreg", 0.01] < 0.1 * pull["sigreg", 0.5]


def test_near_collapse_with_few_samples_the_shape_term_wins_and_pulls_inwards(of_context, loss):
    """A failure of the published loss: few sorted samples never equal the quantiles; the error times 1 / std pulls inwards."""
    assert pull_outwards(VISRegConfig(**ONES), 0.5, of_context, loss) > 0
    assert pull_outwards(VISRegConfig(**ONES), 0.01, of_context, loss) < 0


def test_at_collapse_the_gradient_is_finite(of_context, loss):
    latents = torch.full((8, 3, 2, 5), 2.0, requires_grad=True)
    total, terms = loss(VISRegConfig(**ONES), of_context(latents))
    assert torch.autograd.grad(total, latents)[0].isfinite().all()
    assert terms["scale"] == pytest.approx((1 - VARIANCE_EPSILON**0.5) ** 2, rel=1e-5)


def test_latents_that_encode_only_their_position_count_as_collapsed(of_context, loss):
    constant = torch.randn(16, 8)
    assert loss(VISRegConfig(**ONES), of_context(constant.expand(8, 6, 16, 8)))[1]["scale"] == pytest.approx(1.0, abs=1e-3)
