"""Adjusted surprise subtracts what the model without memory predicts, and changes nothing else."""

from pathlib import Path

import numpy as np
import pytest
import torch

from eval.voe.pairs import pair_scores
from eval.voe.scorers import ScorerId
from eval.voe.surprise.calibration import (
    Calibration,
    SlopeSums,
    fit_whitenings,
    load_slope_sums,
    save_slope_sums,
)
from eval.voe.surprise.forecasting import MASKED_IN_LOCKED
from eval.voe.surprise.scoring import SurpriseScorer, WindowedVideo
from eval.voe.surprise.whitening import ErrorKey, ErrorMoments
from eval.voe.surprise.windows import Window, WindowPlan
from worldmodel.data.window_config import WindowConfig
from worldmodel.models import build_model
from worldmodel.models.causal import CausalConfig
from worldmodel.models.causal_predictor import PredictorConfig
from worldmodel.models.encoder import EncoderConfig


def test_the_slope_is_that_of_least_squares_however_the_points_are_split(tmp_path: Path):
    x, y = np.array([[1.0, 2.0], [3.0, 6.0]]), np.array([[2.0, 3.0], [5.0, 9.0]])
    whole = SlopeSums.of_points(x, y)
    assert whole.slope == pytest.approx(np.polyfit(x.ravel(), y.ravel(), 1)[0])
    for index, part in enumerate((SlopeSums.of_points(x[0], y[0]), SlopeSums.of_points(x[1], y[1]))):
        save_slope_sums(tmp_path / str(index), part)
    assert load_slope_sums([tmp_path / "0", tmp_path / "1"]).slope == pytest.approx(whole.slope)


def test_constant_memory_free_surprise_has_no_slope():
    assert SlopeSums().slope is None
    assert SlopeSums.of_points(np.ones(5), np.arange(5.0)).slope is None


def test_the_outcome_alone_changes_no_pair_of_one_outcome_and_scores_one_half():
    rng = np.random.default_rng(0)
    outcome = rng.normal(size=(200, 2))[:, [0, 1, 1, 0]]  # videos (a,u), (b,v), (a,v), (b,u)
    memory = 0.1 * np.array([0, 0, 1, 1]) + 0.01 * rng.normal(size=(200, 4))
    surprise = outcome + memory
    before, after = pair_scores(surprise), pair_scores(surprise - outcome)
    assert before["same context"].mean() < 0.6
    assert after["same context"].mean() > 0.95
    assert np.array_equal(before["same outcome"], after["same outcome"])
    memory_free = pair_scores(outcome - 0.7 * outcome**3)
    assert memory_free["same context"].mean() == 0.5
    assert memory_free["same outcome"].mean() == 0.5


def test_each_kind_of_window_has_its_own_covariance_and_borrows_where_its_errors_do_not_reach():
    rng = torch.Generator().manual_seed(0)
    locked, sliding = ErrorKey("locked", "model"), ErrorKey("sliding", "model")
    moments = {key: ErrorMoments.empty(2, 1, 3) for key in (locked, sliding)}
    for _ in range(4):
        moments[locked].add([torch.randn(1, 2, 1, 3, generator=rng)])
        moments[sliding].add([10 * torch.randn(1, 1, 1, 3, generator=rng)])  # one step ahead alone
    fits = Calibration(fit_whitenings(moments))
    assert fits.full_fits("locked")["model"].scale.max() < 3
    assert fits.full_fits("sliding")["model"].scale[0].max() > 3
    assert torch.isfinite(fits.full_fits("sliding")["model"].surprise(torch.ones(1, 2, 1, 3))).all()


@pytest.mark.parametrize("name", ["locked/model", "sliding/latent copy", "locked/model, 25 videos", "sliding/model, per token"])
def test_a_key_of_errors_is_parsed_from_the_name_that_it_is_written_as(name):
    assert str(ErrorKey.parse(name)) == name


def test_the_model_without_memory_is_adjusted_to_a_function_of_the_outcome_alone():
    torch.manual_seed(0)
    config = CausalConfig(
        encoder=EncoderConfig(patch_px=8, width=8, depth=1, heads=2, latent_dim=4, head_width=8),
        predictor=PredictorConfig(width=8, depth=1, heads=2, horizons=2),
        rollout_steps=0,
    )
    model = build_model(config, WindowConfig(frames=8, fps=8, size_px=16)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    plan = WindowPlan(8, 8, 1, (2,), 2, 1, 8)
    scorer = SurpriseScorer(model, plan, torch.device("cpu"), forecasters=MASKED_IN_LOCKED)
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (6, 8, 16, 16, 3), np.uint8)
    windows = [Window("locked", 0, 4, 2), Window("sliding", 0, 2, 2)]
    possible = [WindowedVideo(str(i), video, windows) for i, video in enumerate(frames)]
    fits = Calibration(fit_whitenings(scorer.error_moments(possible)))
    sums = scorer.slope_sums(possible, fits)
    assert sums.count == 6  # one point per video and locked window
    calibration = Calibration(fits.whitening, sums.slope)

    before, hidden, after = (rng.integers(0, 256, (2, n, 16, 16, 3), np.uint8) for n in (3, 1, 4))
    pair = np.concatenate([before, hidden[[0, 0]], after[[0, 0]]], axis=1)  # two contexts, then one picture, one outcome
    videos = [WindowedVideo(name, video, windows[:1]) for name, video in zip("ab", pair, strict=True)]
    surprise = {str(block.scorer): block.surprise for block in scorer.traces(videos, calibration)}
    assert np.allclose(surprise["masked context, adjusted"][0], surprise["masked context, adjusted"][1], rtol=1e-5)
    assert not np.allclose(surprise["adjusted"][0], surprise["adjusted"][1], rtol=1e-3)
    subtracted = surprise["whitened"] - surprise["adjusted"]
    assert np.allclose(subtracted, sums.slope * surprise["masked context, whitened"], rtol=1e-5)
    assert ScorerId(distance="diagonal") in {block.scorer for block in scorer.traces(videos, calibration)}
