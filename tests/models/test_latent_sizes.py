"""A config computes the same latent sizes as the model that is built from it."""

import pytest
import torch

from worldmodel.config import Config
from worldmodel.data.window_config import WindowConfig
from worldmodel.models import build_model
from worldmodel.models.causal import CausalConfig
from worldmodel.models.causal_predictor import PredictorConfig
from worldmodel.models.encoder import EncoderConfig
from worldmodel.models.latents import Latents
from worldmodel.models.mask_predictor import MaskPredictorConfig
from worldmodel.models.masked import MaskedConfig, PixelTarget
from worldmodel.models.masks import MaskConfig
from worldmodel.models.video_encoder import VideoEncoderConfig

WINDOW = WindowConfig(frames=12, size_px=32)
BLOCKS, PAST = MaskConfig(blocks=2, area=0.3), MaskConfig(blocks=0, visible_time_fraction=(0.3, 0.7))
BLOCKS_OF_THE_PAST = MaskConfig(blocks=2, area=0.3, visible_time_fraction=(0.3, 0.5))


def causal() -> CausalConfig:
    encoder = EncoderConfig(patch_px=16, width=16, heads=2, latent_grid=2, latent_dim=6, tubelet_size=2)
    predictor = PredictorConfig(width=24, depth=1, heads=2, horizons=3)
    return CausalConfig(encoder=encoder, predictor=predictor, rollout_steps=0)


def masked(*masks: MaskConfig, **fields: object) -> MaskedConfig:
    encoder = VideoEncoderConfig(patch_px=8, tubelet_size=2, width=12, depth=1, heads=2)
    return MaskedConfig(encoder=encoder, predictor=MaskPredictorConfig(width=12, depth=1, heads=2), masks=masks, **fields)


def most_targets(latents: Latents) -> int:
    """Largest number of target time steps that share clip, spatial token and horizon."""
    times_by_key: dict[tuple[int, ...], set[int]] = {}
    columns = (latents.clip, latents.token, latents.horizon, latents.is_rollout, latents.time)
    for *key, time in zip(*(column.tolist() for column in columns), strict=True):
        times_by_key.setdefault(tuple(key), set()).add(time)
    return max(len(times) for times in times_by_key.values())


@pytest.mark.parametrize(
    "config",
    [causal(), masked(BLOCKS, PAST), masked(PAST), masked(BLOCKS_OF_THE_PAST), masked(BLOCKS, target=PixelTarget())],
    ids=["causal", "blocks and past", "past", "blocks of the past", "pixels"],
)
def test_a_config_states_the_sizes_of_its_latents(config: Config):
    model, sizes = build_model(config, WINDOW), config.latent_sizes(WINDOW)
    frames = torch.randn(2, 12, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        made = [model(frames, torch.arange(2), step_seed) for step_seed in range(20)]  # masks differ between training steps
    assert {latents.context.shape[2:] for latents in made} == {(sizes.tokens, sizes.features)}
    assert {latents.predicted.shape[1] for latents in made} == {sizes.target_features} == {model.latent_shape[1]}
    assert max(int(latents.context_mask.any(2).sum(1).max()) for latents in made) == sizes.steps
    assert max(most_targets(latents) for latents in made) == sizes.targets_per_horizon
    if sizes.horizons is not None:
        assert sorted(set(made[0].horizon.tolist())) == list(range(1, sizes.horizons + 1))
