"""Random numbers of planners: each environment draws from a generator of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def generators_of(seeds: Sequence[int], device: torch.device | str = "cpu") -> list[torch.Generator]:
    """One generator per environment, from its seed."""
    return [torch.Generator(device).manual_seed(seed) for seed in seeds]


def white_noise(generators: Sequence[torch.Generator], samples: int, horizon: int, size: int) -> Tensor:
    """Independent normal numbers, [B, samples, horizon, size]. The numbers of one environment depend on its generator alone."""
    return torch.stack([torch.randn(samples, horizon, size, generator=g, device=g.device) for g in generators])


def coloured_noise(generators: Sequence[torch.Generator], samples: int, horizon: int, size: int, exponent: float) -> Tensor:
    """Normal numbers with variance 1, whose power falls with frequency as f^-exponent along the horizon.

    [B, samples, horizon, size]. exponent 0: white; 1: pink; 2: red, as in a random walk. Each is the
    inverse Fourier transform of independent normal coefficients (Timmer and Koenig 1995). The constant
    part has the frequency 1 / horizon, so that it is finite.
    """
    if horizon == 1 or exponent == 0:
        return white_noise(generators, samples, horizon, size)
    count = horizon // 2 + 1
    device = generators[0].device
    frequencies = torch.arange(count, device=device).clamp(min=1) / horizon
    amplitude = frequencies ** (-exponent / 2)
    # how often a coefficient stands in the whole spectrum, each with a real and an imaginary part of half the power;
    # the first one, and of an even length the last one, are real
    is_real = torch.zeros(count, dtype=torch.bool, device=device)
    is_real[0], is_real[-1] = True, horizon % 2 == 0
    variance = (amplitude.square() * torch.where(is_real, 1.0, 2.0)).sum() / horizon**2
    amplitude = amplitude / variance.sqrt()
    noise = []
    for generator in generators:
        parts = torch.randn(2, samples, size, count, generator=generator, device=device)
        real = parts[0] * torch.where(is_real, 1.0, math.sqrt(0.5))
        imaginary = parts[1] * torch.where(is_real, 0.0, math.sqrt(0.5))
        noise.append(torch.fft.irfft(torch.complex(real, imaginary) * amplitude, n=horizon, dim=-1).transpose(-1, -2))
    return torch.stack(noise)
