"""The forecast loss against values worked by hand."""

from dataclasses import replace

import pytest
import torch

from worldmodel.models.latents import Latents
from worldmodel.objectives.forecast import Forecast, ForecastConfig


def rows(errors: list[float], horizons: list[int], is_rollout: list[bool]) -> Latents:
    """One row per error: the forecast deviates by that amount in each of two features."""
    count = len(errors)
    target = torch.zeros(count, 2)
    predicted = torch.tensor(errors)[:, None].expand(count, 2)
    zeros = torch.zeros(count, dtype=torch.int64)
    none = torch.zeros(1, 1, 1, 2)
    return Latents(
        none, none[..., 0].bool(), predicted, target, zeros, zeros, zeros, torch.tensor(horizons), torch.tensor(is_rollout)
    )


def value(latents: Latents, **config: object) -> dict[str, float]:
    forecast = Forecast(ForecastConfig(**config))
    return {name: term.item() for name, term in forecast.value(forecast.sums(latents, None)).items()}


def test_mean_squared_error_of_direct_forecasts_and_of_rollouts():
    found = value(rows([1.0, 2.0, 3.0], [1, 2, 1], [False, False, True]), weight=2.0, rollout_weight=0.5)
    assert found == {"direct": pytest.approx(2 * (1 + 4) / 2), "rollout": pytest.approx(2 * 0.5 * 9)}


@pytest.mark.parametrize(("distance", "expected"), [("l1", 1.25), ("l2", 2.125), ("smooth_l1", (0.125 + 1.5) / 2)])
def test_distances(distance: str, expected: float):
    assert value(rows([0.5, 2.0], [1, 1], [False, False]), distance=distance)["direct"] == pytest.approx(expected)


def test_a_horizon_of_weight_zero_does_not_count():
    found = value(rows([1.0, 5.0], [1, 2], [False, False]), horizon_weights=(1.0, 0.0))
    assert found["direct"] == pytest.approx(1.0)


def test_without_rollouts_their_term_is_zero():
    assert value(rows([1.0], [1], [False]))["rollout"] == 0.0


def test_rows_that_are_not_scored_do_not_count():
    of_all = rows([1.0, 2.0, 5.0, 3.0], [1, 2, 1, 1], [False, False, False, True])
    latents = replace(of_all, scored=torch.tensor([True, True, False, False]))
    assert value(latents) == {"direct": pytest.approx((1 + 4) / 2), "rollout": 0.0}
