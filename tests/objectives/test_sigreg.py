"""SIGReg against values worked by hand, and the conversion of published weights."""

import math

import pytest
import torch
from scipy.integrate import quad

from worldmodel.objectives import sigreg
from worldmodel.objectives.random_directions import random_directions
from worldmodel.objectives.sigreg import PUBLISHED, SIGRegConfig, converted_weight, distance_to_normal


def test_collapse_to_zero_costs_the_integral_worked_by_hand(of_context, loss):
    # phi = 1: integral over [-3, 3] of (1 - e^(-t^2/2))^2 e^(-t^2/2)
    expected, _ = quad(lambda t: (1 - math.exp(-(t**2) / 2)) ** 2 * math.exp(-(t**2) / 2), -3, 3)
    _, terms = loss(SIGRegConfig(weight=2.0), of_context(torch.zeros(8, 3, 2, 5, dtype=torch.float64)))
    assert terms["normality"] == pytest.approx(2 * expected, rel=1e-3)


def test_two_samples_on_a_line_worked_by_hand(of_context, loss):
    """Samples -1 and 1 of one feature: the only direction is the line itself, phi = cos t."""
    expected, _ = quad(lambda t: (math.cos(t) - math.exp(-(t**2) / 2)) ** 2 * math.exp(-(t**2) / 2), -3, 3)
    samples = torch.tensor([-1.0, 1.0], dtype=torch.float64).view(2, 1, 1, 1)
    found = loss(SIGRegConfig(weight=1.0), of_context(samples))[1]["normality"]
    assert found == pytest.approx(expected, rel=3e-3)  # 17 knots


def test_normal_samples_cost_only_their_sampling_error(of_context, loss):
    """E |phi_N - phi|^2 = (1 - phi^2) / N: here at each of 300 spatial tokens, from 20 samples."""
    samples = torch.randn(20, 1, 300, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected, _ = quad(lambda t: (1 - math.exp(-(t**2))) * math.exp(-(t**2) / 2), -3, 3)
    found = loss(SIGRegConfig(weight=20.0), of_context(samples))[1]["normality"]
    assert found == pytest.approx(expected, rel=0.05)
    assert loss(SIGRegConfig(weight=20.0), of_context(2 * samples))[1]["normality"] > 2 * expected


def test_latents_that_encode_only_their_position_are_not_normal(of_context, loss):
    constant = torch.randn(64, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    everywhere = loss(SIGRegConfig(weight=1.0), of_context(constant.expand(8, 6, 64, 8)))[1]["normality"]
    assert everywhere > 0.2  # as samples of one token, these 64 rows cost 0.02


def test_per_timestep_detects_latents_that_encode_only_the_time(of_context, loss):
    time = torch.randn(1, 64, 1, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64).expand(8, 64, 1, 4)
    together = loss(SIGRegConfig(weight=1.0), of_context(time))[1]["normality"]
    apart = loss(SIGRegConfig(weight=1.0, per_timestep=True), of_context(time))[1]["normality"]
    assert apart > 10 * together


def test_the_value_does_not_grow_with_the_number_of_samples(of_context, loss):
    few = 3 * torch.randn(16, 1, 1, 4, dtype=torch.float64)
    many = few.repeat(4, 1, 1, 1)
    assert loss(SIGRegConfig(), of_context(few))[1] == pytest.approx(loss(SIGRegConfig(), of_context(many))[1], rel=1e-10)


def test_directions_are_unit_vectors_that_depend_on_the_step_seed_only():
    like = torch.zeros(1, 6)
    torch.manual_seed(0)
    drawn = random_directions(7, 20, like)
    torch.manual_seed(1)
    assert torch.equal(drawn, random_directions(7, 20, like))
    assert not torch.equal(drawn, random_directions(8, 20, like))
    torch.testing.assert_close(drawn.norm(dim=0), torch.ones(20))
    random_directions(2**63 - 1, 2, like)  # the largest seed


def test_converted_weights_are_published_ones_times_samples_over_the_weight_of_the_error():
    assert converted_weight("lejepa") == pytest.approx(0.02 * 256 / 0.98)
    assert converted_weight("lejepa", 0.05, samples=100) == pytest.approx(5 / 0.95)
    assert converted_weight("lewm") == pytest.approx(0.09 * 128)
    assert converted_weight("eb_jepa") == converted_weight("eb_jepa", samples=999) == 10.0
    assert converted_weight("levjepa") == pytest.approx(0.02 * 1536)
    for publication in PUBLISHED:  # its docstring has the same table
        line = next(line for line in converted_weight.__doc__.splitlines() if line.startswith(f"    | {publication}"))
        assert float(line.split("|")[4]) == pytest.approx(converted_weight(publication), abs=0.05)


def test_a_published_loss_equals_ours_with_the_converted_weight():
    """LeJEPA's (1 - lambda) error + lambda N statistic, divided by (1 - lambda), is error + ours * statistic."""
    samples = torch.randn(256, dtype=torch.float64) * 1.5
    knots = torch.linspace(0, 3, 17, dtype=torch.float64)
    angles = knots * samples[:, None]
    statistic = distance_to_normal(angles.cos().mean(0), angles.sin().mean(0), knots).item()
    error = 0.3
    published = (1 - 0.02) * error + 0.02 * 256 * statistic
    assert published / (1 - 0.02) == pytest.approx(error + converted_weight("lejepa") * statistic)


def test_ten_knots_of_eb_jepa_give_the_integral_that_seventeen_do():
    """Therefore its weight needs no factor for the number of knots."""
    samples = torch.randn(64, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.5 + 0.3
    coarse, fine = torch.linspace(-3, 3, 10, dtype=torch.float64), torch.linspace(0, 3, sigreg.KNOTS, dtype=torch.float64)
    waves = lambda knots: ((knots * samples[:, None]).cos().mean(0), (knots * samples[:, None]).sin().mean(0))  # noqa: E731
    cos, sin = waves(coarse)
    normal = (-coarse.square() / 2).exp()
    theirs = torch.trapezoid(((cos - normal).square() + sin.square()) * normal, coarse)
    assert theirs.item() == pytest.approx(distance_to_normal(*waves(fine), fine).item(), rel=0.02)
