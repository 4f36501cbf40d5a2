"""Decoded forecasts are the forecasts of the model for that time, from the stated context and no other frames."""

import numpy as np
import pytest
import torch
from einops import rearrange

from eval.plausibility.batches import BatchedInference
from eval.plausibility.decoded_forecasts import DecodedForecasts, decode_forecasts, median_lead_windows
from eval.plausibility.sliding_windows import default_plan
from eval.resumable_work import start_ranks
from eval.voe.surprise.windows import Window, WindowPlan
from worldmodel.data.window_config import WindowConfig
from worldmodel.manifest import Clip
from worldmodel.models import build_model
from worldmodel.models.causal import CausalConfig
from worldmodel.models.causal_predictor import PredictorConfig
from worldmodel.models.decoder import Decoder, DecoderConfig
from worldmodel.models.encoder import EncoderConfig
from worldmodel.models.world_model import WorldModel
from worldmodel.video import write_video

FPS, FRAMES = 12.0, 40


def test_of_the_windows_that_forecast_a_frame_the_median_lead_is_taken_and_then_the_longest_context():
    plan = WindowPlan(FPS, 12, 2, (2, 6), 3, 1, 12)
    chosen = median_lead_windows(plan, 16, 4, 9)  # windows begin at 0, 2 and 4, each with three steps
    assert sorted(chosen) == [4, 5, 6, 7, 8]
    assert chosen[4] == (Window("sliding", 0, 2, 3), 2)  # the other candidate begins at 2 and has no lead
    assert chosen[5] == (Window("sliding", 2, 2, 3), 1)  # the only candidate
    assert chosen[8] == (
        Window("sliding", 0, 6, 3),
        2,
    )  # a longer context than the window that begins at 4; the third has no lead


def causal_model() -> WorldModel:
    torch.manual_seed(0)
    encoder = EncoderConfig(patch_px=4, tubelet_size=2, width=12, depth=1, heads=2, latent_dim=6, head_width=12, latent_grid=2)
    config = CausalConfig(encoder=encoder, predictor=PredictorConfig(width=24, depth=1, heads=2, horizons=3), rollout_steps=0)
    model = build_model(config, WindowConfig(frames=12, fps=FPS, size_px=16)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


@pytest.fixture(params=["causal", "masked"])
def model(request, masked_model) -> WorldModel:
    return causal_model() if request.param == "causal" else masked_model


@pytest.fixture
def clip(tmp_path) -> Clip:
    frames = np.random.default_rng(0).integers(0, 256, (FRAMES, 16, 16, 3), dtype=np.uint8)
    write_video(tmp_path / "it.mp4", frames, FPS, lossless=True)
    np.save(tmp_path / "it.npy", frames)
    return Clip(
        *("it", str(tmp_path / "it.mp4"), None, 0.0, FRAMES / FPS, FPS, FRAMES, 16, 16, 0, "h264", "val"),
        *(None, None, "", ""),
    )


def decode(model: WorldModel, clip: Clip, first: int, stop: int) -> tuple[DecodedForecasts, BatchedInference, Decoder]:
    spatial_tokens, features = model.latent_shape
    decoder = Decoder(DecoderConfig(size_px=16, width=4), features=features, tokens=spatial_tokens, tubelet_size=2, seed=3)
    frames = model.max_context if model.max_span is None else model.max_span
    inference = BatchedInference(model, default_plan(model, frames), torch.device("cpu"), start_ranks())
    found = decode_forecasts(inference, decoder.eval(), clip, first, stop)
    assert found is not None
    return found, inference, decoder


@torch.no_grad()
def test_a_decoded_forecast_is_made_from_the_context_that_it_states(model, clip, tmp_path):
    found, inference, decoder = decode(model, clip, 20, 30)
    chosen = median_lead_windows(inference.plan, FRAMES, 20, 30)
    pixels = model.normalise(torch.from_numpy(np.load(tmp_path / "it.npy"))[None])
    assert len(found.times) >= 5
    for time, (start, stop), decoded in zip(found.times, found.contexts, found.forecast, strict=True):
        step = int(time - stop) // 2
        latent = model.forecast(pixels[:, start:stop], chosen[time][0].steps)[:, step : step + 1]
        alone = rearrange(decoder(latent), "1 f c h w -> f h w c").mul(255).round().numpy()
        assert np.abs(decoded - alone).max() <= 1
        assert 20 <= time < 30
        assert start < stop <= time


def test_a_part_of_a_video_is_decoded_as_in_the_whole(model, clip):
    whole, part = decode(model, clip, 0, FRAMES)[0], decode(model, clip, 20, 30)[0]
    common = np.isin(whole.times, part.times)
    assert np.array_equal(whole.contexts[common], part.contexts)
    assert len(np.unique(part.forecast)) > 20
    for name in ("forecast", "ground_truth"):
        assert np.abs(getattr(whole, name)[common].astype(int) - getattr(part, name)).max() <= 1


def test_a_latent_shows_its_own_frames_only():
    found = DecodedForecasts(np.array([4, 6, 10]), np.zeros((3, 2), int), np.zeros((3, 2, 8, 8, 3), np.uint8), np.zeros(0))
    assert [found.at(frame) for frame in (3, 4, 5, 6, 7, 8, 9, 10)] == [
        None,
        (0, 0),
        (0, 1),
        (1, 0),
        (1, 1),
        None,
        None,
        (2, 0),
    ]


def test_a_deleted_video_is_not_decoded(clip, tmp_path):
    model = causal_model()
    _, inference, decoder = decode(model, clip, 0, 12)
    (tmp_path / "it.mp4").unlink()
    assert decode_forecasts(inference, decoder, clip, 0, 12) is None
