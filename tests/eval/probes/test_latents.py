"""Latents belong to the right time steps, and contexts are encoded without what follows."""

import numpy as np
import pytest
import torch

from eval.probes.latents import concatenate, encode_clips, pixel_latents
from worldmodel.data.window_config import WindowConfig
from worldmodel.models import build_model
from worldmodel.models.causal import CausalConfig
from worldmodel.models.causal_predictor import PredictorConfig
from worldmodel.models.encoder import EncoderConfig


class Counter:
    """A latent is the number that its last frame shows. Direct forecasts count on by 2 per step, rollouts by 1/2.

    Its targets see their whole window: a hundredth of the last number in the window is added to each."""

    fps, tubelet_size, max_context, max_horizon, size_px, target_scope = 10.0, 2, 8, 2, 4, "window"
    max_span = None

    def normalise(self, frames):
        return frames.permute(0, 1, 4, 2, 3).float()

    def encode(self, frames):
        number = frames[:, 1::2, 0, 0, 0]
        return (number + number[:, -1:] / 100)[..., None, None]

    def forecast(self, context, steps):
        return self._count(context, steps, 2.0)

    def rollout(self, context, steps, generator=None):
        return self._count(context, steps, 0.5)

    def _count(self, context, steps, by):
        last = context[:, -1, 0, 0, 0]
        return (last[:, None] + by * torch.arange(1, steps + 1))[..., None, None]


def counting(clips: int = 2, frames: int = 12) -> torch.Tensor:
    """uint8 [F, T, 4, 4, 3]: clip i shows 20 i + t at frame t."""
    number = 20 * torch.arange(clips)[:, None] + torch.arange(frames)
    return number[..., None, None, None].expand(-1, -1, 4, 4, 3).to(torch.uint8)


def test_a_context_is_encoded_without_what_follows():
    found = encode_clips(Counter(), counting(1), {3: 1})
    # steps end at frames 1, 3, 5; the context's last number is 5
    assert found.context[3].ravel() == pytest.approx([1.05, 3.05, 5.05])
    assert found.target.ravel() == pytest.approx([1.07, 3.07, 5.07, 7.07, 9.11, 11.11])  # windows of 8 frames


def test_forecasts_are_direct_as_far_as_the_model_reaches_and_rollouts_beyond():
    found = encode_clips(Counter(), counting(1), {2: 4})
    assert found.forecast[2].ravel().tolist() == [5.0, 7.0, 3 + 0.5 * 3, 3 + 0.5 * 4]


def test_the_last_steps_up_to_a_horizon_are_context_then_forecast():
    found = encode_clips(Counter(), counting(1), {3: 2})
    assert found.forecast_at(3, 1, 3).ravel() == pytest.approx([3.05, 5.05, 7.0])
    assert found.forecast_at(3, 2, 3).ravel() == pytest.approx([5.05, 7.0, 9.0])
    assert found.forecast_at(3, 2, 1).ravel() == pytest.approx([9.0])
    assert found.context_end(3, 2).ravel() == pytest.approx([3.05, 5.05])


def test_a_context_is_no_longer_than_the_model_can_take():
    found = encode_clips(Counter(), counting(1), {5: 1})  # 10 frames; the model takes 8
    assert found.context[5].ravel() == pytest.approx([5.09, 7.09, 9.09])


def test_target_latents_are_selected_by_clip_and_step():
    found = encode_clips(Counter(), counting(3), {})
    rows = found.target_at(np.array([2, 0]), np.array([3, 1]), 2)
    assert rows.shape == (2, 2, 1, 1)
    assert rows[:, :, 0, 0] == pytest.approx(np.array([[45.47, 47.47], [1.07, 3.07]]))


def test_concatenated_parts_equal_clips_encoded_together():
    frames = counting(4)
    whole = encode_clips(Counter(), frames, {2: 3})
    parts = concatenate([encode_clips(Counter(), some, {2: 3}) for some in frames.split(2)])
    assert np.array_equal(whole.target, parts.target)
    assert np.array_equal(whole.forecast[2], parts.forecast[2])


def test_a_forecast_does_not_depend_on_the_other_contexts():
    torch.manual_seed(0)
    config = CausalConfig(
        encoder=EncoderConfig(patch_px=8, width=16, heads=2, latent_dim=6, head_width=16),
        predictor=PredictorConfig(width=24, depth=1, heads=2, horizons=4),
        rollout_steps=0,
    )
    model = build_model(config, WindowConfig(frames=12, fps=12, size_px=16)).eval()
    torch.nn.init.normal_(model.predictor.head[-1].weight, std=0.3)
    frames = torch.randint(0, 256, (2, 12, 16, 16, 3), dtype=torch.uint8)
    together = encode_clips(model, frames, {4: 4, 7: 4})
    for context in (4, 7):
        direct = model.forecast(model.normalise(frames)[:, :context], 4).numpy()
        assert together.forecast[context] == pytest.approx(direct, abs=1e-5)
        assert together.context[context] == pytest.approx(together.target[:, context - 3 : context])
    later = frames.clone()
    later[:, 7:] = 255 - later[:, 7:]
    assert np.array_equal(encode_clips(model, later, {7: 4}).forecast[7], encode_clips(model, frames, {7: 4}).forecast[7])


def test_where_context_and_forecast_share_a_window_half_of_it_is_direct_and_the_rest_a_rollout(masked_model):
    frames = torch.randint(0, 256, (2, 12, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    pixels, found = masked_model.normalise(frames), encode_clips(masked_model, frames, {3: 3, 5: 1})
    direct, rollout = masked_model.forecast(pixels[:, 2:6], 2), masked_model.rollout(pixels[:, 2:6], 3)[:, 2:]
    assert found.forecast[3] == pytest.approx(torch.cat((direct, rollout), 1).numpy(), abs=1e-5)
    assert found.forecast[5] == pytest.approx(masked_model.forecast(pixels[:, 4:10], 1).numpy(), abs=1e-5)
    assert found.context[5] == pytest.approx(masked_model.encode(pixels[:, 4:10]).numpy(), abs=1e-5)
    whole = [masked_model.encode(part) for part in (pixels[:, :8], pixels[:, 8:])]
    assert found.target == pytest.approx(torch.cat(whole, 1).numpy(), abs=1e-5)


def test_pixel_latents_are_averages_and_have_no_forecast():
    frames = torch.zeros(1, 4, 24, 24, 3, dtype=torch.uint8)
    frames[:, 3, :2, :4, 0] = 255
    found = pixel_latents(frames, 2, [1])
    assert found.target.shape == (1, 2, 144, 3)
    assert found.target[0, 1, :3, 0].tolist() == [1.0, 1.0, 0.0]  # 2 x 2 px per cell, of the step's last frame
    assert found.target[0, 0].sum() == 0
    assert found.context[1].shape == (1, 1, 144, 3)
    assert not found.forecast
