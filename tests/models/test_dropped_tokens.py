"""Dropped tokens in the causal family: whole spatial tokens of a clip are missing, and nothing else changes."""

import pytest
import torch

from worldmodel.data.augmentation.augment import AugmentConfig
from worldmodel.data.loader import Batch
from worldmodel.data.window_config import WindowConfig
from worldmodel.models import build_model
from worldmodel.models.causal import CausalConfig, CausalWorldModel
from worldmodel.models.causal_predictor import PredictorConfig
from worldmodel.models.encoder import EncoderConfig
from worldmodel.models.latents import Latents
from worldmodel.models.masks import sample_tubes
from worldmodel.models.targets import EmaTarget, SharedTarget
from worldmodel.objectives import build_objective
from worldmodel.objectives.forecast import ForecastConfig
from worldmodel.objectives.sigreg import SIGRegConfig
from worldmodel.objectives.vicreg import VICRegConfig
from worldmodel.training.learner import Learner, global_statistics

FRAMES, SIZE, SIDE, MERGE = 6, 32, 4, 2  # 4 x 4 tokens of 2 x 2 patches, of which 2 x 2 are merged
WINDOW = WindowConfig(frames=FRAMES, fps=6, size_px=SIZE)


def config(kept: float, depth: int = 1, **fields: object) -> CausalConfig:
    encoder = EncoderConfig(
        patch_px=4, width=24, depth=depth, heads=2, latent_dim=12, linear_dim=3, head_width=16, latent_grid=SIDE
    )
    predictor = PredictorConfig(width=24, depth=2, heads=2, horizons=3, patch_merge=MERGE)
    return CausalConfig(encoder=encoder, predictor=predictor, **{"tokens_kept": kept, "rollout_steps": 0, **fields})


def model_of(kept: float, depth: int = 1, **fields: object) -> CausalWorldModel:
    torch.manual_seed(0)
    model = build_model(config(kept, depth, **fields), WINDOW)
    torch.nn.init.normal_(model.predictor.head[-1].weight, std=0.3)
    return model.double()


def clip(batch: int = 3) -> torch.Tensor:
    return torch.randn(batch, FRAMES, 3, SIZE, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def by_row(latents: Latents, values: torch.Tensor) -> torch.Tensor:
    """Rows ordered by clip, time, token and horizon."""
    columns = (latents.horizon, latents.token, latents.time, latents.clip)
    order = torch.arange(len(values))
    for column in columns:
        order = order[column[order].argsort(stable=True)]
    return values[order]


@pytest.mark.parametrize("depth", [0, 1])
def test_dropping_none_of_the_tokens_changes_nothing(depth: int):
    whole, part = (model_of(kept, depth)(clip(), torch.arange(3), 5) for kept in (1.0, 0.99))
    torch.testing.assert_close(part.context, whole.context, rtol=1e-9, atol=1e-11)
    assert part.context_mask.all()
    for name in ("predicted", "target"):
        one, other = (by_row(it, getattr(it, name)) for it in (part, whole))
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("target", [SharedTarget(), EmaTarget()])
def test_dropped_tokens_influence_nothing_and_the_others_do(target: object):
    model, before = model_of(0.5, target=target), clip()
    kept = sample_tubes([0, 1, 2], 5, (SIDE // MERGE) ** 2, 0.5)
    assert kept.shape == (3, 2)
    cells = torch.zeros(3, 4, dtype=torch.bool).scatter(1, kept, True).view(3, 1, 1, 2, 2)
    is_kept = cells.repeat_interleave(16, -1).repeat_interleave(16, -2)
    one, other = (model(x, torch.arange(3), 5) for x in (before, torch.where(is_kept, before, before + 1)))
    for name in ("context", "predicted", "target"):
        assert torch.equal(getattr(one, name), getattr(other, name))
    assert not torch.equal(model(before + is_kept, torch.arange(3), 5).predicted, one.predicted)
    assert torch.equal(one.context_mask[:, 0].sum(1), torch.full((3,), 8))
    assert not one.context[~one.context_mask].any()


def test_rows_pair_a_token_with_its_own_target():
    """Without blocks a latent depends on its own patches, so it is the latent of the whole frame."""
    model = model_of(0.5, depth=0)
    latents, encoded = model(clip(), torch.arange(3), 5), model.encode(clip())
    torch.testing.assert_close(latents.target, encoded[latents.clip, latents.time, latents.token], rtol=1e-9, atol=1e-11)
    assert len(latents.target) == 3 * 8 * (5 + 4 + 3)


def test_the_loss_and_its_gradient_do_not_depend_on_micro_batches():
    objectives = {"forecast": ForecastConfig(), "spread": VICRegConfig(), "normal": SIGRegConfig(directions=8)}
    learner = Learner(model_of(0.5), {n: build_objective(c) for n, c in objectives.items()}, AugmentConfig(crop_area_min=1))
    source = torch.Generator().manual_seed(1)
    frames = torch.randint(0, 256, (6, FRAMES, SIZE, SIZE, 3), dtype=torch.uint8, generator=source)
    draws, found = torch.rand(6, 10, generator=source), []
    for sizes in ([6], [1, 3, 2]):
        micro_batches = [Batch(frames[r], draws[r], 100 + r, step_seed=7) for r in torch.arange(6).split(sizes)]
        learner.zero_grad()
        for micro, whole in zip(micro_batches, global_statistics(learner.double(), micro_batches), strict=True):
            loss = learner(micro, whole).total
            loss.backward()
        found.append([loss.detach(), *(p.grad for p in learner.parameters() if p.requires_grad)])
    for whole, parts in zip(*found, strict=True):
        torch.testing.assert_close(parts, whole, rtol=1e-8, atol=1e-11)


def test_what_needs_all_tokens_is_refused():
    assert "training rollouts need all tokens" in config(0.5, rollout_steps=2, rollout_context=2).check(WINDOW)[0]
    assert "keeps none of the 4 merged spatial tokens" in config(0.2).check(WINDOW)[0]
