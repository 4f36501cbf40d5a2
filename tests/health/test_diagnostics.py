from dataclasses import replace
from functools import reduce
from math import exp, isnan, log

import pytest
import torch
from einops import repeat
from torch import Tensor

from worldmodel.health.diagnostics import Health, HealthConfig, Signs, diagnose, effective_rank, examine, judge, measure, merge

CONFIG = HealthConfig()
RHO = 0.9


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=generator(seed))


def ar1(windows: int = 400, steps: int = 12, places: int = 2, features: int = 8, rho: float = RHO) -> Tensor:
    """Independent unit-variance processes x' = rho x + sqrt(1 - rho^2) e: [B, T, N, D]."""
    latents = [noise(windows, places, features, seed=1)]
    for step in range(1, steps):
        latents.append(rho * latents[-1] + (1 - rho**2) ** 0.5 * noise(windows, places, features, seed=step + 1))
    return torch.stack(latents, dim=1)


def copies(latents: Tensor, horizons: int = 3) -> Tensor:
    return repeat(latents, "b t n d -> b t k n d", k=horizons)


def best(latents: Tensor, horizons: int = 3, rho: float = RHO) -> Tensor:
    """The best forecasts there are of an AR(1) process: rho^k x."""
    return torch.stack([rho**k * latents for k in range(1, horizons + 1)], dim=2)


def perfect(latents: Tensor, horizons: int = 3) -> Tensor:
    return torch.stack([latents.roll(-k, dims=1) for k in range(1, horizons + 1)], dim=2)


def signs(latents: Tensor, forecasts: Tensor) -> Signs:
    return examine(measure(latents, forecasts), fps=10)


def health(latents: Tensor, forecasts: Tensor, update: int = 900) -> Health:
    return diagnose(measure(latents, forecasts), CONFIG, update=update, updates=1000, fps=10)


# --- numbers ---------------------------------------------------------------------------------------------------------
def test_rank_of_equal_directions_is_their_number():
    basis, _ = torch.linalg.qr(noise(7, 7).double())
    for k in (1, 3, 7):
        assert effective_rank(basis[:, :k] @ basis[:, :k].T) == pytest.approx(k, abs=1e-9)


def test_rank_counts_singular_values_not_variances():
    """Singular values 2, 1, 1 are shares 1/2, 1/4, 1/4: entropy 1.5 ln 2."""
    assert effective_rank(torch.diag(torch.tensor([4.0, 1.0, 1.0, 0.0]))) == pytest.approx(exp(1.5 * log(2)), rel=1e-6)


def test_rank_of_nothing_is_zero():
    assert effective_rank(torch.zeros(3, 3)) == 0


def test_skills_of_an_ar1_process():
    """Forecasting rho^k x errs by 1 - rho^2k; copying by 2 (1 - rho^k); the mean by 1. So the skills against them are
    (1 - rho^k) / 2 and rho^2k."""
    seen = signs(latents := ar1(), best(latents))
    expected_copy = [(1 - RHO**k) / 2 for k in (1, 2, 3)]
    expected_mean = [RHO ** (2 * k) for k in (1, 2, 3)]
    assert seen.skill_copy == pytest.approx(expected_copy, abs=0.01)
    assert seen.skill_mean == pytest.approx(expected_mean, abs=0.01)
    assert seen.skill == pytest.approx([min(pair) for pair in zip(expected_copy, expected_mean, strict=True)], abs=0.01)
    assert seen.change == pytest.approx(1 - (RHO + RHO**2 + RHO**3) / 3, abs=0.01)  # mean of 1 - rho^k


def test_a_copy_has_no_skill_against_copying():
    seen = signs(latents := ar1(), copies(latents))
    assert seen.skill_copy == (0, 0, 0)
    assert seen.moved == 0


def test_the_mean_in_hindsight_has_no_skill_against_the_mean():
    latents = ar1(windows=5)
    targets = [latents[:, k:].double().mean((0, 1)) for k in (1, 2, 3)]
    forecasts = repeat(torch.stack(targets), "k n d -> b t k n d", b=5, t=12)
    assert signs(latents, forecasts).skill_mean == pytest.approx([0, 0, 0], abs=1e-12)


def test_perfect_forecasts_have_skill_one():
    latents = ar1()
    assert signs(latents, perfect(latents)).skill == (1, 1, 1)


def test_forecasts_beyond_the_window_are_not_looked_at():
    latents = ar1(windows=4)
    forecasts = best(latents)
    spoilt = forecasts.clone()
    for k in (1, 2, 3):
        spoilt[:, 12 - k :, k - 1] = float("nan")
    assert signs(latents, spoilt) == signs(latents, forecasts)


def test_horizons_are_in_seconds():
    vitals = measure(latents := ar1(windows=4), best(latents))
    row = diagnose(vitals, CONFIG, update=7, updates=9, fps=10, tubelet_size=2).row()
    assert [name for name in row if name.startswith("skill_copy/")] == [
        "skill_copy/0.2",
        "skill_copy/0.4",
        "skill_copy/0.6",
    ]
    assert {
        "step",
        "verdict",
        "effective_rank",
        "std_min",
        "std_mean",
        "corr_offdiag",
        "skill_mean/0.2",
        "skill/0.2",
    } <= set(row)
    assert row["step"] == 7
    assert row["skill"] == pytest.approx(sum(row[f"skill/{h}"] for h in ("0.2", "0.4", "0.6")) / 3)


def test_std_is_of_the_content_not_of_the_position():
    latents = noise(200, 10, 4, 3) * torch.tensor([0.5, 1.0, 2.0]) + 100 * noise(4, 3, seed=1)
    seen = signs(latents, copies(latents))
    assert seen.std_min == pytest.approx(0.5, rel=0.02)
    assert seen.std_mean == pytest.approx(3.5 / 3, rel=0.02)
    assert seen.position_share > 0.99


def test_correlations_do_not_depend_on_scale():
    """Of three features two are copies up to scale and sign: one pair of three correlates fully, 1/3."""
    x, y = noise(500, 10, 1, 1), noise(500, 10, 1, 1, seed=1)
    latents = torch.cat([x, -1000 * x, 0.001 * y], dim=-1)
    assert signs(latents, copies(latents)).corr_offdiag == pytest.approx(1 / 3, abs=0.002)


def test_small_variance_on_a_large_mean_is_measured():
    """The trap of one float32 Gram matrix of uncentred latents, 38 % wrong here."""
    latents = 1 + 1e-3 * noise(100, 10, 2, 4)
    assert signs(latents, copies(latents)).std_mean == pytest.approx(1e-3, rel=0.02)


@pytest.mark.parametrize("sizes", [(1, 2, 37), (20, 20)])
def test_batches_merged_are_one_batch(sizes):
    latents = 3 + 5 * noise(2, 8, seed=9) + ar1(windows=40) + noise(40, 1, 1, 1, seed=10)  # unlike batches
    forecasts = best(latents)
    parts = [measure(*part) for part in zip(latents.split(sizes), forecasts.split(sizes), strict=True)]
    merged, whole = reduce(merge, parts), measure(latents, forecasts)
    for name, value in vars(whole).items():
        torch.testing.assert_close(torch.as_tensor(getattr(merged, name)), torch.as_tensor(value), rtol=1e-12, atol=1e-12)


# --- verdicts --------------------------------------------------------------------------------------------------------
def test_healthy():
    seen = health(latents := ar1(), best(latents))
    assert seen.verdict == "healthy"
    assert seen.signs.effective_rank > 7.9


def test_no_verdict_while_warming_up():
    latents = torch.zeros(4, 12, 1, 8)
    assert health(latents, copies(latents), update=49).verdict == "warming_up"
    assert health(latents, copies(latents), update=50).verdict == "complete_collapse"


@pytest.mark.parametrize(("size", "spread"), [(0.0, 0.0), (0.0, 0.03), (1.0, 0.03), (40.0, 1.0)])
@pytest.mark.parametrize("features", [32, 256])
def test_complete_collapse_to_a_constant_or_to_nothing(size, spread, features):
    """Also where what is left has full rank and is foreseen perfectly: everything but the std looks excellent."""
    latents = size * noise(1, 1, 1, features).sign() + spread * noise(16, 8, 1, features, seed=1)
    seen = health(latents, perfect(latents))
    assert seen.verdict == "complete_collapse"
    assert "raise std_weight" in seen.advice


@pytest.mark.parametrize("features", [32, 1024])
def test_dimensional_collapse(features):
    factors = ar1(places=1, features=4, windows=16)
    latents = factors @ noise(4, features, seed=5) + 1e-3 * noise(16, 12, 1, features, seed=6)
    assert health(latents, best(latents)).verdict == "dimensional_collapse"


@pytest.mark.parametrize("features", [32, 1024])
def test_a_steep_spectrum_is_not_collapse(features):
    """Variances that fall as 1/i^2, as those of natural representations do."""
    latents = ar1(windows=200, places=1, features=features) / torch.arange(1, features + 1) * features**0.5
    assert health(latents, best(latents)).verdict == "healthy"


def test_few_rows_do_not_make_a_collapse():
    """Two windows of eight latents have 15 directions at most, whatever D is."""
    latents = ar1(windows=2, steps=8, places=1, features=256)
    assert health(latents, perfect(latents)).verdict == "healthy"


def test_position_only():
    """Full rank and variance when places are pooled, while every frame has the same latents but for a little noise."""
    latents = noise(64, 16) + 0.05 * noise(32, 12, 64, 16, seed=1)
    seen = health(latents, copies(latents))
    assert seen.verdict == "position_only"
    assert seen.signs.effective_rank_pooled > 14
    assert seen.signs.position_share > 0.99


def test_position_that_died_too_is_complete_collapse():
    latents = 1 + 0.01 * noise(64, 16) + 1e-5 * noise(32, 12, 64, 16, seed=1)
    assert health(latents, copies(latents)).verdict == "complete_collapse"


def test_predictor_copies():
    seen = health(latents := ar1(), copies(latents) + 0.02 * noise(400, 12, 3, 2, 8))
    assert seen.verdict == "predictor_copies"
    assert "stay near the last latent" in seen.advice


def test_forecasts_worse_than_copying_are_told_from_copies():
    seen = health(latents := ar1(), copies(latents) + noise(400, 12, 3, 2, 8))
    assert seen.verdict == "predictor_copies"
    assert "learnt by heart" in seen.advice


def test_latents_that_know_the_scene_only():
    """Constant in each window: copying is perfect, whatever the predictor does, and skill against it cannot be said."""
    latents = repeat(noise(64, 2, 8), "b n d -> b t n d", t=12)
    seen = health(latents, copies(latents))
    assert all(isnan(skill) for skill in seen.signs.skill)
    assert seen.verdict == "predictor_copies"
    assert "hardly change within a window" in seen.advice


def test_unpredictable():
    """White noise forecast by its mean: half the error of copying, and no skill at all."""
    latents = ar1(rho=0.0)
    seen = health(latents, torch.zeros(400, 12, 3, 2, 8))
    assert seen.signs.skill_copy == pytest.approx([0.5] * 3, abs=0.01)
    assert seen.verdict == "unpredictable"


@pytest.mark.parametrize(
    ("copy", "mean", "verdict"),
    [
        ((0.32, 0.46, 0.47), (0.14, 0.00, -0.01), "unpredictable"),
        ((-0.01, 0.31, 0.41), (0.91, 0.50, 0.39), "healthy"),
        ((-0.41, -1.59, -1.09), (0.98, 0.86, 0.77), "predictor_copies"),
    ],
)
def test_three_models_that_were_seen_on_real_video(copy, mean, verdict):
    """Skills at 0.1, 0.5 and 1 s under three regularisers: features too fast to foresee, good ones, learnt by heart."""
    alive = signs(latents := ar1(), best(latents))
    assert judge(replace(alive, skill_copy=copy, skill_mean=mean), CONFIG) == verdict


def test_full_marks_for_harmonics_of_one_scalar():
    """What the doctor cannot see, held here so that nobody believes otherwise."""
    angle = torch.rand(200, 1, generator=generator()) * 6.28 + 0.3 * torch.arange(12)
    harmonics = torch.stack([wave(k * angle) for k in range(1, 5) for wave in (torch.sin, torch.cos)], dim=-1)[:, :, None]
    seen = health(harmonics, perfect(harmonics))
    assert seen.verdict == "healthy"
    assert seen.signs.effective_rank > 7.9
    assert seen.signs.corr_offdiag < 0.01


# --- errors ----------------------------------------------------------------------------------------------------------
def test_errors_teach():
    latents = ar1(windows=2, steps=4)
    with pytest.raises(ValueError, match=r"forecasts must be \[2, 4, K, 2, 8\], not \(2, 4, 2, 8\)"):
        measure(latents, latents)
    with pytest.raises(ValueError, match="4 steps cannot be judged in windows of 4"):
        measure(latents, copies(latents, horizons=4))
    with pytest.raises(ValueError, match="diverged"):
        measure(latents * float("nan"), copies(latents))
