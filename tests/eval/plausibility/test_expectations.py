"""What is drawn is what the model forecast of that moment, from the frames that it says and no others."""

import numpy as np
import pytest
import torch
from einops import rearrange

from eval.plausibility.batches import Viewing
from eval.plausibility.expectations import Expectations, expectations, middle_views
from eval.plausibility.sliding_windows import usual_plan
from eval.voe.surprise.windows import Window, WindowPlan
from eval.workload import start_ranks
from worldmodel.data.window_config import WindowConfig
from worldmodel.manifest import Clip
from worldmodel.models import build_model
from worldmodel.models.causal import CausalConfig
from worldmodel.models.decoder import Decoder, DecoderConfig
from worldmodel.models.encoder import EncoderConfig
from worldmodel.models.predictor import PredictorConfig
from worldmodel.models.world_model import WorldModel
from worldmodel.video import write_video

FPS, FRAMES = 12.0, 40


def test_of_the_windows_that_judge_a_moment_the_middle_lead_is_taken_and_then_the_longest_context():
    plan = WindowPlan(FPS, 12, 2, (2, 6), 3, 1, 12)
    views = middle_views(plan, 16, 4, 9)  # windows begin at 0, 2 and 4; each is forecast for three frames
    assert sorted(views) == [4, 5, 6, 7, 8]
    assert views[4] == (Window("free", 0, 2, 3), 2)  # the other one begins at 2, with nothing between
    assert views[5] == (Window("free", 2, 2, 3), 1)  # the only one
    assert views[8] == (Window("free", 0, 6, 3), 2)  # that saw more than the one that begins at 4; the third has no lead


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


def draw(model: WorldModel, clip: Clip, first: int, stop: int) -> tuple[Expectations, Viewing, Decoder]:
    places, features = model.latent_shape
    decoder = Decoder(DecoderConfig(size_px=16, width=4), features=features, places=places, tubelet_size=2, seed=3)
    frames = model.max_context if model.max_span is None else model.max_span
    viewing = Viewing(model, usual_plan(model, frames), torch.device("cpu"), start_ranks())
    found = expectations(viewing, decoder.eval(), clip, first, stop)
    assert found is not None
    return found, viewing, decoder


@torch.no_grad()
def test_what_is_drawn_is_the_forecast_from_the_frames_that_it_names(model, clip, tmp_path):
    found, viewing, decoder = draw(model, clip, 20, 30)
    views = middle_views(viewing.plan, FRAMES, 20, 30)
    pixels = model.normalise(torch.from_numpy(np.load(tmp_path / "it.npy"))[None])
    assert len(found.moments) >= 5
    for moment, (start, stop), drawn in zip(found.moments, found.seen, found.expected, strict=True):
        step = int(moment - stop) // 2
        latent = model.forecast(pixels[:, start:stop], views[moment][0].steps)[:, step : step + 1]
        alone = rearrange(decoder(latent), "1 f c h w -> f h w c").mul(255).round().numpy()
        assert np.abs(drawn - alone).max() <= 1
        assert 20 <= moment < 30
        assert start < stop <= moment


def test_a_part_of_a_film_is_drawn_as_in_the_whole(model, clip):
    whole, part = draw(model, clip, 0, FRAMES)[0], draw(model, clip, 20, 30)[0]
    kept = np.isin(whole.moments, part.moments)
    assert np.array_equal(whole.seen[kept], part.seen)
    assert len(np.unique(part.expected)) > 20
    for name in ("expected", "came"):
        assert np.abs(getattr(whole, name)[kept].astype(int) - getattr(part, name)).max() <= 1


def test_a_latent_shows_its_frames_and_no_others():
    found = Expectations(np.array([4, 6, 10]), np.zeros((3, 2), int), np.zeros((3, 2, 8, 8, 3), np.uint8), np.zeros(0))
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


def test_a_film_that_is_gone_is_not_drawn(clip, tmp_path):
    model = causal_model()
    _, viewing, decoder = draw(model, clip, 0, 12)
    (tmp_path / "it.mp4").unlink()
    assert expectations(viewing, decoder, clip, 0, 12) is None
