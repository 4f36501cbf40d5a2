"""Random numbers of planners."""

import pytest
import torch

from worldmodel.planning.noise import coloured_noise, generators_of, white_noise


@pytest.mark.parametrize("horizon", [1, 2, 5, 8])
@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_every_step_has_mean_0_and_variance_1(horizon: int, exponent: float):
    noise = coloured_noise(generators_of([0]), 20_000, horizon, 1, exponent)[0, :, :, 0]
    assert noise.shape == (20_000, horizon)
    assert float(noise.mean(0).abs().max()) < 0.05
    assert float((noise.std(0) - 1).abs().max()) < 0.03


def test_the_power_falls_with_frequency():
    """Between frequencies 1 and 4 of 16 steps: by 4^2 = 16 for exponent 2, not at all for exponent 0."""
    for exponent, ratio in ((0.0, 1.0), (1.0, 4.0), (2.0, 16.0)):
        noise = coloured_noise(generators_of([0]), 20_000, 16, 1, exponent)[0, :, :, 0]
        power = torch.fft.rfft(noise).abs().square().mean(0)
        assert float(power[1] / power[4]) == pytest.approx(ratio, rel=0.05)


def test_dimensions_are_independent():
    noise = coloured_noise(generators_of([0]), 5_000, 8, 2, 2.0)[0]
    correlation = (noise[..., 0] * noise[..., 1]).mean()
    assert abs(float(correlation)) < 0.03


def test_numbers_of_an_environment_depend_on_its_generator_alone():
    together = coloured_noise(generators_of([7, 8]), 3, 6, 2, 2.0)
    assert torch.equal(coloured_noise(generators_of([8]), 3, 6, 2, 2.0)[0], together[1])
    assert torch.equal(white_noise(generators_of([8]), 3, 6, 2)[0], white_noise(generators_of([7, 8]), 3, 6, 2)[1])
