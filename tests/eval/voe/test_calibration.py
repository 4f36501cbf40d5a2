"""Adjusted surprise: what an outcome costs whoever remembers nothing is taken away, and nothing else changes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from eval.voe.pairs import pair_scores
from eval.voe.surprise.calibration import Line, Usual, fit_all, load_lines, save_line
from eval.voe.surprise.forecasting import WITH_AND_WITHOUT_MEMORY
from eval.voe.surprise.scoring import Judge, Shot
from eval.voe.surprise.whitening import ErrorMoments
from eval.voe.surprise.windows import Window, WindowPlan
from worldmodel.data.window_config import WindowConfig
from worldmodel.models import build_model
from worldmodel.models.causal import CausalConfig
from worldmodel.models.encoder import EncoderConfig
from worldmodel.models.predictor import PredictorConfig


def test_the_slope_is_that_of_least_squares_whatever_the_pieces(tmp_path: Path):
    x, y = np.array([[1.0, 2.0], [3.0, 6.0]]), np.array([[2.0, 3.0], [5.0, 9.0]])
    whole = Line.through(x, y)
    assert whole.slope == pytest.approx(np.polyfit(x.ravel(), y.ravel(), 1)[0])
    for index, part in enumerate((Line.through(x[0], y[0]), Line.through(x[1], y[1]))):
        save_line(tmp_path / str(index), part)
    assert load_lines([tmp_path / "0", tmp_path / "1"]).slope == pytest.approx(whole.slope)


def test_where_nothing_is_surprising_without_memory_there_is_no_slope():
    assert Line().slope is None
    assert Line.through(np.ones(5), np.arange(5.0)).slope is None


def test_what_depends_on_the_outcome_alone_leaves_pairs_of_one_outcome_as_they_are_and_memoryless_scorers_at_half():
    dice = np.random.default_rng(0)
    outcome = dice.normal(size=(200, 2))[:, [0, 1, 1, 0]]  # films (a,u), (b,v), (a,v), (b,u)
    memory = 0.1 * np.array([0, 0, 1, 1]) + 0.01 * dice.normal(size=(200, 4))
    surprise = outcome + memory
    before, after = pair_scores(surprise), pair_scores(surprise - outcome)
    assert before["same context"].mean() < 0.6
    assert after["same context"].mean() > 0.95
    assert np.array_equal(before["same outcome"], after["same outcome"])
    blind = pair_scores(outcome - 0.7 * outcome**3)
    assert blind["same context"].mean() == 0.5
    assert blind["same outcome"].mean() == 0.5


def test_each_kind_of_window_has_its_own_usual_errors_and_borrows_where_they_do_not_reach():
    dice = torch.Generator().manual_seed(0)
    moments = {name: ErrorMoments.empty(2, 1, 3) for name in ("locked/model", "free/model")}
    for _ in range(4):
        moments["locked/model"].add([torch.randn(1, 2, 1, 3, generator=dice)])
        moments["free/model"].add([10 * torch.randn(1, 1, 1, 3, generator=dice)])  # one step ahead alone
    fits = Usual(fit_all(moments))
    assert fits.of("locked")["model"].scale.max() < 3
    assert fits.of("free")["model"].scale[0].max() > 3
    assert torch.isfinite(fits.of("free")["model"].surprise(torch.ones(1, 2, 1, 3))).all()


def test_the_model_without_memory_is_adjusted_to_a_function_of_what_came_alone():
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
    judge = Judge(model, plan, torch.device("cpu"), asked=WITH_AND_WITHOUT_MEMORY)
    dice = np.random.default_rng(0)
    films = dice.integers(0, 256, (6, 8, 16, 16, 3), np.uint8)
    lawful = [Shot(str(i), film, [Window("locked", 0, 4, 2), Window("free", 0, 2, 2)]) for i, film in enumerate(films)]
    fits = Usual(fit_all(judge.moments(lawful)))
    line = judge.line(lawful, fits)
    assert line.count == 6  # a point a film and locked window
    usual = Usual(fits.whitening, line.slope)

    before, hidden, after = (dice.integers(0, 256, (2, n, 16, 16, 3), np.uint8) for n in (3, 1, 4))
    pair = np.concatenate([before, hidden[[0, 0]], after[[0, 0]]], axis=1)  # two beginnings, then one picture, one outcome
    shots = [Shot(name, film, [Window("locked", 0, 4, 2)]) for name, film in zip("ab", pair, strict=True)]
    by_scorer = {block.scorer: block.surprise for block in judge.traces(shots, usual)}
    assert np.allclose(by_scorer["masked context, adjusted"][0], by_scorer["masked context, adjusted"][1], rtol=1e-5)
    assert not np.allclose(by_scorer["adjusted"][0], by_scorer["adjusted"][1], rtol=1e-3)
    taken = by_scorer["whitened"] - by_scorer["adjusted"]
    assert np.allclose(taken, line.slope * by_scorer["masked context, whitened"], rtol=1e-5)
