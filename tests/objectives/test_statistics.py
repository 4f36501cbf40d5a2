"""Every objective is a function of the global batch, however it is divided into micro-batches."""

import pytest
import torch
from torch import Tensor

from worldmodel.models.latents import Latents
from worldmodel.objectives import OBJECTIVES
from worldmodel.objectives.barlow import BarlowTwinsConfig
from worldmodel.objectives.forecast import ForecastConfig
from worldmodel.objectives.info_nce import InfoNCEConfig
from worldmodel.objectives.sigreg import SIGRegConfig
from worldmodel.objectives.straightening import StraighteningConfig
from worldmodel.objectives.temporal_similarity import TemporalSimilarityConfig
from worldmodel.objectives.vicreg import VICRegConfig
from worldmodel.objectives.visreg import VISRegConfig

CONFIGS = [
    ForecastConfig(horizon_weights=(1.0, 0.5)),
    VICRegConfig(temporal_std_weight=5.0, margin=2.0),
    BarlowTwinsConfig(),
    InfoNCEConfig(),
    InfoNCEConfig(other_times=False),
    SIGRegConfig(directions=16),
    SIGRegConfig(directions=16, per_timestep=True),
    VISRegConfig(directions=16),
    StraighteningConfig(),
    TemporalSimilarityConfig(),
]
CLIPS, STEPS, TOKENS, FEATURES = 7, 5, 2, 4
NAMES = [f"{config.kind}-{i}" for i, config in enumerate(CONFIGS)]


def ragged(dtype: torch.dtype = torch.float64) -> Latents:
    """A batch with masked latents and missing forecasts. The leaves have gradient."""
    generator = torch.Generator().manual_seed(0)
    normal = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)  # noqa: E731
    mask = torch.rand(CLIPS, STEPS, TOKENS, generator=generator) < 0.85
    clip, time, token, horizon = torch.cartesian_prod(*map(torch.arange, (CLIPS, STEPS, TOKENS, 2))).T
    made = (torch.rand(len(clip), generator=generator) < 0.7).nonzero()[:, 0]
    count = len(made)
    target = normal(count, FEATURES)
    return Latents(
        (1 + normal(CLIPS, STEPS, TOKENS, FEATURES)).requires_grad_(),
        mask,
        (target + 0.5 * normal(count, FEATURES)).requires_grad_(),
        target.requires_grad_(),
        clip[made],
        time[made],
        token[made],
        horizon[made] + 1,
        torch.rand(count, generator=generator) < 0.2,
        step_seed=2**62 + 5,
        window_ids=torch.randperm(1000, generator=generator)[:CLIPS],
    )


def gradients(loss: Tensor, latents: Latents) -> list[Tensor]:
    leaves = (latents.context, latents.predicted, latents.target)
    found = torch.autograd.grad(loss, leaves, allow_unused=True)
    return [torch.zeros_like(leaf) if gradient is None else gradient for gradient, leaf in zip(found, leaves, strict=True)]


def test_every_objective_is_tested_here():
    assert {type(config) for config in CONFIGS} == OBJECTIVES.keys()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=["float64", "float32"])
@pytest.mark.parametrize("config", CONFIGS, ids=NAMES)
def test_uneven_masked_micro_batches_have_the_value_and_the_gradient_of_one_batch(
    config, dtype, tolerance: float, loss, micro_batch
):
    latents = ragged(dtype)
    whole, terms = loss(config, latents)
    cut, cut_terms = loss(config, *(micro_batch(latents, clips) for clips in ([4, 0, 6], [1], [3, 2, 5])))
    assert cut_terms == pytest.approx(terms, rel=tolerance)
    assert cut.item() == pytest.approx(whole.item(), rel=tolerance)
    gradients_of_whole = gradients(whole, latents)
    assert sum(gradient.norm() for gradient in gradients_of_whole) > 0
    for found, expected in zip(gradients(cut, latents), gradients_of_whole, strict=True):
        assert (found - expected).norm() <= tolerance * expected.norm()


@pytest.mark.parametrize("config", CONFIGS, ids=NAMES)
def test_the_gradient_through_statistics_is_that_of_the_value(config, loss):
    """Along a random line, against finite differences of the value. VISReg's own gradient differs: see its test."""
    if isinstance(config, VISRegConfig):
        config = config.model_copy(update={"shape_weight": 0.0})
    latents = ragged()
    gradients_of_whole = gradients(loss(config, latents)[0], latents)
    along = [
        torch.randn(gradient.shape, generator=torch.Generator().manual_seed(1), dtype=gradient.dtype)
        for gradient in gradients_of_whole
    ]
    expected = sum((gradient * step).sum() for gradient, step in zip(gradients_of_whole, along, strict=True))
    values = []
    for sign in (1, -1):
        moved = ragged()
        with torch.no_grad():
            for leaf, step in zip((moved.context, moved.predicted, moved.target), along, strict=True):
                leaf += sign * 1e-5 * step
        values.append(loss(config, moved)[0].item())
    assert (values[0] - values[1]) / 2e-5 == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("config", CONFIGS, ids=NAMES)
def test_masked_out_latents_do_not_count(config, loss):
    latents = ragged()
    before = loss(config, latents)[0].item()
    with torch.no_grad():
        latents.context[~latents.context_mask] = 1e3
    assert loss(config, latents)[0].item() == pytest.approx(before, rel=1e-10)


@pytest.mark.parametrize("config", CONFIGS, ids=NAMES)
def test_bf16_latents_have_float32_statistics_within_a_thousandth_of_the_exact_answer(config, loss):
    rounded = ragged(torch.bfloat16)
    exact = ragged()
    with torch.no_grad():
        for name in ("context", "predicted", "target"):
            getattr(exact, name).copy_(getattr(rounded, name))
    found, terms = loss(config, rounded)
    expected, exact_terms = loss(config, exact)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(expected.item(), rel=1e-3)
    assert terms == pytest.approx(exact_terms, rel=1e-3, abs=1e-6)
