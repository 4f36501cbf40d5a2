"""Which latents and forecasts get which verdict, and what is advised."""

from dataclasses import replace
from math import isnan

import pytest
import torch
from einops import repeat
from made_latents import CONFIG, ar1, copies, health_of, metrics_of, noise, optimal, perfect

from worldmodel.health.verdicts import verdict_of


def test_healthy():
    found = health_of(latents := ar1(), optimal(latents))
    assert found.verdict == "healthy"
    assert found.metrics.effective_rank > 7.9


def test_no_verdict_while_warming_up():
    latents = torch.zeros(4, 12, 1, 8)
    assert health_of(latents, copies(latents), step=49).verdict == "warming_up"
    assert health_of(latents, copies(latents), step=50).verdict == "complete_collapse"


@pytest.mark.parametrize(("size", "spread"), [(0.0, 0.0), (0.0, 0.03), (1.0, 0.03), (40.0, 1.0)])
@pytest.mark.parametrize("features", [32, 256])
def test_complete_collapse_to_a_constant_or_to_nothing(size, spread, features):
    """Also where the remainder has full rank and is forecast perfectly: all metrics but the std look excellent."""
    latents = size * noise(1, 1, 1, features).sign() + spread * noise(16, 8, 1, features, seed=1)
    found = health_of(latents, perfect(latents))
    assert found.verdict == "complete_collapse"
    assert "higher std_weight" in found.advice


@pytest.mark.parametrize("features", [32, 1024])
def test_dimensional_collapse(features):
    factors = ar1(tokens=1, features=4, windows=16)
    latents = factors @ noise(4, features, seed=5) + 1e-3 * noise(16, 12, 1, features, seed=6)
    assert health_of(latents, optimal(latents)).verdict == "dimensional_collapse"


@pytest.mark.parametrize("features", [32, 1024])
def test_a_steep_spectrum_is_not_collapse(features):
    """Variances that fall as 1/i^2, as those of natural representations do."""
    latents = ar1(windows=200, tokens=1, features=features) / torch.arange(1, features + 1) * features**0.5
    assert health_of(latents, optimal(latents)).verdict == "healthy"


def test_few_rows_do_not_make_a_collapse():
    """Two windows of eight latents have rank 15 at most, whatever D is."""
    latents = ar1(windows=2, steps=8, tokens=1, features=256)
    assert health_of(latents, perfect(latents)).verdict == "healthy"


def test_position_only():
    """Full rank and variance about the common mean, while every frame has the same latents except for a little noise."""
    latents = noise(64, 16) + 0.05 * noise(32, 12, 64, 16, seed=1)
    found = health_of(latents, copies(latents))
    assert found.verdict == "position_only"
    assert found.metrics.effective_rank_with_position > 14
    assert found.metrics.position_fraction > 0.99


def test_position_that_collapsed_too_is_complete_collapse():
    latents = 1 + 0.01 * noise(64, 16) + 1e-5 * noise(32, 12, 64, 16, seed=1)
    assert health_of(latents, copies(latents)).verdict == "complete_collapse"


def test_predictor_copies():
    found = health_of(latents := ar1(), copies(latents) + 0.02 * noise(400, 12, 3, 2, 8))
    assert found.verdict == "predictor_copies"
    assert "stay near the last latent" in found.advice


def test_forecasts_worse_than_copying_are_distinguished_from_copies():
    found = health_of(latents := ar1(), copies(latents) + noise(400, 12, 3, 2, 8))
    assert found.verdict == "predictor_copies"
    assert "overfits" in found.advice


def test_latents_that_are_constant_within_a_clip():
    """Copying is perfect, whatever the predictor does, so the skill against it is undefined."""
    latents = repeat(noise(64, 2, 8), "b n d -> b t n d", t=12)
    found = health_of(latents, copies(latents))
    assert all(isnan(skill) for skill in found.metrics.skill)
    assert found.verdict == "predictor_copies"
    assert "hardly change within a window" in found.advice


def test_unpredictable():
    """White noise forecast by its mean has half the error of copying, and no skill against the mean."""
    latents = ar1(rho=0.0)
    found = health_of(latents, torch.zeros(400, 12, 3, 2, 8))
    assert found.metrics.skill_copy == pytest.approx([0.5] * 3, abs=0.01)
    assert found.verdict == "unpredictable"


@pytest.mark.parametrize(
    ("copy", "mean", "verdict"),
    [
        ((0.32, 0.46, 0.47), (0.14, 0.00, -0.01), "unpredictable"),
        ((-0.01, 0.31, 0.41), (0.91, 0.50, 0.39), "healthy"),
        ((-0.41, -1.59, -1.09), (0.98, 0.86, 0.77), "predictor_copies"),
    ],
)
def test_verdicts_of_three_models_trained_on_real_video(copy, mean, verdict):
    """Skills at 0.1, 0.5 and 1 s with three regularisers: unpredictable features, good ones, overfitting."""
    healthy = metrics_of(latents := ar1(), optimal(latents))
    assert verdict_of(replace(healthy, skill_copy=copy, skill_mean=mean), CONFIG) == verdict


def test_harmonics_of_one_scalar_look_healthy():
    """A known failure of the health check: the latents encode one number only."""
    angle = torch.rand(200, 1, generator=torch.Generator().manual_seed(0)) * 6.28 + 0.3 * torch.arange(12)
    harmonics = torch.stack([wave(k * angle) for k in range(1, 5) for wave in (torch.sin, torch.cos)], dim=-1)[:, :, None]
    found = health_of(harmonics, perfect(harmonics))
    assert found.verdict == "healthy"
    assert found.metrics.effective_rank > 7.9
    assert found.metrics.corr_offdiag < 0.01
