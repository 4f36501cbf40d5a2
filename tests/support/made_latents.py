"""Latents and forecasts with known statistics, for tests of the health checks."""

import torch
from einops import repeat
from torch import Tensor

from worldmodel.health.metrics import HealthMetrics, compute_metrics
from worldmodel.health.moments import compute_moments
from worldmodel.health.verdicts import HealthCheck, HealthConfig, diagnose

CONFIG = HealthConfig()
RHO = 0.9


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def ar1(windows: int = 400, steps: int = 12, tokens: int = 2, features: int = 8, rho: float = RHO) -> Tensor:
    """Independent unit-variance processes x' = rho x + sqrt(1 - rho^2) e: [B, T, N, D]."""
    latents = [noise(windows, tokens, features, seed=1)]
    for step in range(1, steps):
        latents.append(rho * latents[-1] + (1 - rho**2) ** 0.5 * noise(windows, tokens, features, seed=step + 1))
    return torch.stack(latents, dim=1)


def copies(latents: Tensor, horizons: int = 3) -> Tensor:
    """Forecasts that copy the last latent: [B, T, N, D] -> [B, T, K, N, D]."""
    return repeat(latents, "b t n d -> b t k n d", k=horizons)


def optimal(latents: Tensor, horizons: int = 3, rho: float = RHO) -> Tensor:
    """The best possible forecasts of an AR(1) process: rho^k x."""
    return torch.stack([rho**k * latents for k in range(1, horizons + 1)], dim=2)


def perfect(latents: Tensor, horizons: int = 3) -> Tensor:
    """Forecasts without error."""
    return torch.stack([latents.roll(-k, dims=1) for k in range(1, horizons + 1)], dim=2)


def metrics_of(latents: Tensor, forecasts: Tensor) -> HealthMetrics:
    return compute_metrics(compute_moments(latents, forecasts), fps=10)


def health_of(latents: Tensor, forecasts: Tensor, step: int = 900) -> HealthCheck:
    return diagnose(metrics_of(latents, forecasts), CONFIG, step=step, max_steps=1000)
