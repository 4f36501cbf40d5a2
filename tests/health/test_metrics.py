"""Health metrics against values worked by hand, and what they must not depend on."""

from functools import reduce
from math import exp, log

import pytest
import torch
from einops import repeat
from made_latents import CONFIG, RHO, ar1, copies, metrics_of, noise, optimal, perfect

from worldmodel.health.metrics import compute_metrics, effective_rank
from worldmodel.health.moments import NotFiniteError, compute_moments, merge_moments
from worldmodel.health.verdicts import diagnose


def test_rank_of_k_equal_singular_values_is_k():
    basis, _ = torch.linalg.qr(noise(7, 7).double())
    for k in (1, 3, 7):
        assert effective_rank(basis[:, :k] @ basis[:, :k].T) == pytest.approx(k, abs=1e-9)


def test_rank_counts_singular_values_not_variances():
    """Singular values 2, 1, 1 are fractions 1/2, 1/4, 1/4: entropy 1.5 ln 2."""
    assert effective_rank(torch.diag(torch.tensor([4.0, 1.0, 1.0, 0.0]))) == pytest.approx(exp(1.5 * log(2)), rel=1e-6)


def test_rank_of_constant_latents_is_zero():
    assert effective_rank(torch.zeros(3, 3)) == 0


def test_skills_of_an_ar1_process():
    """The squared error of forecasting rho^k x is 1 - rho^2k, of copying 2 (1 - rho^k), of the mean 1.

    So the skills against copying and the mean are (1 - rho^k) / 2 and rho^2k.
    """
    found = metrics_of(latents := ar1(), optimal(latents))
    expected_copy = [(1 - RHO**k) / 2 for k in (1, 2, 3)]
    expected_mean = [RHO ** (2 * k) for k in (1, 2, 3)]
    assert found.skill_copy == pytest.approx(expected_copy, abs=0.01)
    assert found.skill_mean == pytest.approx(expected_mean, abs=0.01)
    assert found.skill == pytest.approx([min(pair) for pair in zip(expected_copy, expected_mean, strict=True)], abs=0.01)
    assert found.change == pytest.approx(1 - (RHO + RHO**2 + RHO**3) / 3, abs=0.01)  # mean of 1 - rho^k


def test_a_copy_has_no_skill_against_copying():
    found = metrics_of(latents := ar1(), copies(latents))
    assert found.skill_copy == (0, 0, 0)
    assert found.moved == 0


def test_the_mean_of_the_targets_has_no_skill_against_the_mean():
    latents = ar1(windows=5)
    targets = [latents[:, k:].double().mean((0, 1)) for k in (1, 2, 3)]
    forecasts = repeat(torch.stack(targets), "k n d -> b t k n d", b=5, t=12)
    assert metrics_of(latents, forecasts).skill_mean == pytest.approx([0, 0, 0], abs=1e-12)


def test_perfect_forecasts_have_skill_one():
    latents = ar1()
    assert metrics_of(latents, perfect(latents)).skill == (1, 1, 1)


def test_forecasts_beyond_the_window_are_ignored():
    latents = ar1(windows=4)
    forecasts = optimal(latents)
    with_nan = forecasts.clone()
    for k in (1, 2, 3):
        with_nan[:, 12 - k :, k - 1] = float("nan")
    assert metrics_of(latents, with_nan) == metrics_of(latents, forecasts)


def test_horizons_are_in_seconds():
    moments = compute_moments(latents := ar1(windows=4), optimal(latents))
    metrics = compute_metrics(moments, fps=10, tubelet_size=2)
    row = diagnose(metrics, CONFIG, step=7, max_steps=9).row()
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
    found = metrics_of(latents, copies(latents))
    assert found.std_min == pytest.approx(0.5, rel=0.02)
    assert found.std_mean == pytest.approx(3.5 / 3, rel=0.02)
    assert found.position_fraction > 0.99


def test_correlations_do_not_depend_on_scale():
    """Two of three features are copies up to scale and sign: one of three pairs correlates fully, so the mean is 1/3."""
    x, y = noise(500, 10, 1, 1), noise(500, 10, 1, 1, seed=1)
    latents = torch.cat([x, -1000 * x, 0.001 * y], dim=-1)
    assert metrics_of(latents, copies(latents)).corr_offdiag == pytest.approx(1 / 3, abs=0.002)


def test_small_variance_beside_a_large_mean_is_exact():
    """A float32 Gram matrix of uncentred latents would be wrong by 38 % here."""
    latents = 1 + 1e-3 * noise(100, 10, 2, 4)
    assert metrics_of(latents, copies(latents)).std_mean == pytest.approx(1e-3, rel=0.02)


@pytest.mark.parametrize("sizes", [(1, 2, 37), (20, 20)])
def test_batches_merged_are_one_batch(sizes):
    latents = 3 + 5 * noise(2, 8, seed=9) + ar1(windows=40) + noise(40, 1, 1, 1, seed=10)  # batches with different statistics
    forecasts = optimal(latents)
    parts = [compute_moments(*part) for part in zip(latents.split(sizes), forecasts.split(sizes), strict=True)]
    merged, whole = reduce(merge_moments, parts), compute_moments(latents, forecasts)
    for name, value in vars(whole).items():
        torch.testing.assert_close(torch.as_tensor(getattr(merged, name)), torch.as_tensor(value), rtol=1e-12, atol=1e-12)


def test_wrong_inputs_are_refused_with_what_was_expected():
    latents = ar1(windows=2, steps=4)
    with pytest.raises(ValueError, match=r"forecasts must be \[2, 4, K, 2, 8\], not \(2, 4, 2, 8\)"):
        compute_moments(latents, latents)
    with pytest.raises(ValueError, match="4 steps have no targets in windows of 4"):
        compute_moments(latents, copies(latents, horizons=4))
    with pytest.raises(NotFiniteError, match="diverged"):
        compute_moments(latents * float("nan"), copies(latents))
