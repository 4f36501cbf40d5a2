"""Which latents are of which moment, and that no context knows what follows."""

import numpy as np
import pytest
import torch

from eval.probes.recordings import join, record, record_pixels
from worldmodel.data.window_config import WindowConfig
from worldmodel.models import build_model
from worldmodel.models.causal import CausalConfig
from worldmodel.models.encoder import EncoderConfig
from worldmodel.models.predictor import PredictorConfig


class Counter:
    """A latent is the number that its last frame shows; forecasts count on, imagination counts on by halves.

    Its targets see the whole window they stand in: to each is added a hundredth of the last number in it."""

    fps, tubelet_size, max_context, max_steps, size_px, target_scope = 10.0, 2, 8, 2, 4, "window"
    max_span = None

    def normalise(self, frames):
        return frames.permute(0, 1, 4, 2, 3).float()

    def encode(self, frames):
        number = frames[:, 1::2, 0, 0, 0]
        return (number + number[:, -1:] / 100)[..., None, None]

    def forecast(self, context, steps):
        return self._on(context, steps, 2.0)

    def imagine(self, context, steps, generator=None):
        return self._on(context, steps, 0.5)

    def _on(self, context, steps, by):
        last = context[:, -1, 0, 0, 0]
        return (last[:, None] + by * torch.arange(1, steps + 1))[..., None, None]


def counting(films: int = 2, frames: int = 12) -> torch.Tensor:
    """uint8 [F, T, 4, 4, 3]: film i shows 20 i + t at frame t."""
    number = 20 * torch.arange(films)[:, None] + torch.arange(frames)
    return number[..., None, None, None].expand(-1, -1, 4, 4, 3).to(torch.uint8)


def test_a_context_is_encoded_without_what_follows():
    found = record(Counter(), counting(1), {3: 1})
    # steps end at frames 1, 3, 5; the context's last number is 5
    assert found.seen[3].ravel() == pytest.approx([1.05, 3.05, 5.05])
    assert found.target.ravel() == pytest.approx([1.07, 3.07, 5.07, 7.07, 9.11, 11.11])  # windows of 8 frames


def test_forecasts_are_direct_as_far_as_the_model_reaches_and_imagined_beyond():
    found = record(Counter(), counting(1), {2: 4})
    assert found.ahead[2].ravel().tolist() == [5.0, 7.0, 3 + 0.5 * 3, 3 + 0.5 * 4]


def test_what_is_believed_at_a_horizon_is_what_was_seen_then_forecast():
    found = record(Counter(), counting(1), {3: 2})
    assert found.forecast(3, 1, 3).ravel() == pytest.approx([3.05, 5.05, 7.0])
    assert found.forecast(3, 2, 3).ravel() == pytest.approx([5.05, 7.0, 9.0])
    assert found.forecast(3, 2, 1).ravel() == pytest.approx([9.0])
    assert found.copy(3, 2).ravel() == pytest.approx([3.05, 5.05])


def test_a_context_is_no_longer_than_the_model_can_see():
    found = record(Counter(), counting(1), {5: 1})  # 10 frames; it sees 8
    assert found.seen[5].ravel() == pytest.approx([5.09, 7.09, 9.09])


def test_moments_of_films_are_gathered_by_number():
    found = record(Counter(), counting(3), {})
    rows = found.at(np.array([2, 0]), np.array([3, 1]), 2)
    assert rows.shape == (2, 2, 1, 1)
    assert rows[:, :, 0, 0] == pytest.approx(np.array([[45.47, 47.47], [1.07, 3.07]]))


def test_films_joined_are_as_if_recorded_together():
    frames = counting(4)
    whole = record(Counter(), frames, {2: 3})
    parts = join([record(Counter(), some, {2: 3}) for some in frames.split(2)])
    assert np.array_equal(whole.target, parts.target)
    assert np.array_equal(whole.ahead[2], parts.ahead[2])


def test_a_real_model_forecasts_the_same_alone_and_among_other_cuts():
    torch.manual_seed(0)
    config = CausalConfig(
        encoder=EncoderConfig(patch_px=8, width=16, heads=2, latent_dim=6, head_width=16),
        predictor=PredictorConfig(width=24, depth=1, heads=2, horizons=4),
        rollout_steps=0,
    )
    model = build_model(config, WindowConfig(frames=12, fps=12, size_px=16)).eval()
    torch.nn.init.normal_(model.predictor.head[-1].weight, std=0.3)
    frames = torch.randint(0, 256, (2, 12, 16, 16, 3), dtype=torch.uint8)
    together = record(model, frames, {4: 4, 7: 4})
    for cut in (4, 7):
        direct = model.forecast(model.normalise(frames)[:, :cut], 4).numpy()
        assert together.ahead[cut] == pytest.approx(direct, abs=1e-5)
        assert together.seen[cut] == pytest.approx(together.target[:, cut - 3 : cut])
    later = frames.clone()
    later[:, 7:] = 255 - later[:, 7:]
    assert np.array_equal(record(model, later, {7: 4}).ahead[7], record(model, frames, {7: 4}).ahead[7])


def test_where_a_window_is_shared_half_of_it_is_forecast_and_the_rest_imagined(masked_model):
    frames = torch.randint(0, 256, (2, 12, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    pixels, found = masked_model.normalise(frames), record(masked_model, frames, {3: 3, 5: 1})
    direct, imagined = masked_model.forecast(pixels[:, 2:6], 2), masked_model.imagine(pixels[:, 2:6], 3)[:, 2:]
    assert found.ahead[3] == pytest.approx(torch.cat((direct, imagined), 1).numpy(), abs=1e-5)
    assert found.ahead[5] == pytest.approx(masked_model.forecast(pixels[:, 4:10], 1).numpy(), abs=1e-5)
    assert found.seen[5] == pytest.approx(masked_model.encode(pixels[:, 4:10]).numpy(), abs=1e-5)
    whole = [masked_model.encode(part) for part in (pixels[:, :8], pixels[:, 8:])]
    assert found.target == pytest.approx(torch.cat(whole, 1).numpy(), abs=1e-5)


def test_pixels_are_averages_and_have_no_forecast():
    frames = torch.zeros(1, 4, 24, 24, 3, dtype=torch.uint8)
    frames[:, 3, :2, :4, 0] = 255
    found = record_pixels(frames, 2, [1])
    assert found.target.shape == (1, 2, 144, 3)
    assert found.target[0, 1, :3, 0].tolist() == [1.0, 1.0, 0.0]  # 2 x 2 px a place; the step's last frame
    assert found.target[0, 0].sum() == 0
    assert found.seen[1].shape == (1, 1, 144, 3)
    assert not found.ahead
