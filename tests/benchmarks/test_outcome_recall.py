"""Recall of outcomes, against forecasts whose answer is known."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.outcome_recall import cell, recall, recall_sums
from eval.voe.surprise.scoring import WindowedVideo
from eval.voe.surprise.windows import Window

CUT, STEPS = 4, 3
Forecast = Callable[[Tensor, int], Tensor]


class OneNumberPerFrame:
    """A model whose latents are the means of frames, with a given forecast."""

    tubelet_size = 1

    def __init__(self, forecast: Forecast) -> None:
        self.from_last_step = forecast
        self.predictor = self

    def normalise(self, frames: Tensor) -> Tensor:
        return frames.float()

    def encode(self, frames: Tensor) -> Tensor:
        return frames.mean((2, 3, 4))[..., None, None]  # [B, T, 1, 1]


def quadruplet() -> list[WindowedVideo]:
    """Context a begins with 1, b with 3; both end with 0. Outcome u shows 2 in each frame, v shows 6."""
    shown = [[1, 0, 0, 0, 2, 2, 2], [3, 0, 0, 0, 6, 6, 6], [1, 0, 0, 0, 6, 6, 6], [3, 0, 0, 0, 2, 2, 2]]
    frames = [np.tile(np.array(values, np.uint8)[:, None, None, None], (1, 2, 2, 3)) for values in shown]
    window = Window("locked", start=0, context=CUT, steps=STEPS)
    return [WindowedVideo(str(index), it, [window]) for index, it in enumerate(frames)]


@pytest.mark.parametrize(
    ("forecast", "expected"),
    [
        (lambda context, steps: context[:, -1:].expand(-1, steps, -1, -1), 0.0),  # copies the last step
        (lambda context, steps: 2 * context[:, :1].expand(-1, steps, -1, -1), 1.0),  # exact
        (lambda context, steps: 7 + context[:, :1].expand(-1, steps, -1, -1), 0.5),  # half of the difference, both wrong
        (lambda context, steps: -2 * context[:, :1].expand(-1, steps, -1, -1), -1.0),  # takes one for the other
    ],
)
def test_recall_of_known_forecasts(forecast: Forecast, expected: float) -> None:
    sums = recall_sums(OneNumberPerFrame(forecast), quadruplet())  # type: ignore[arg-type]
    assert sums[1] == STEPS * 4**2
    assert recall(np.array(sums)) == pytest.approx(expected)


def test_recall_is_the_difference_of_squared_errors() -> None:
    """As a fraction of the largest one: errors of the impossible videos minus those of the possible ones."""

    def forecast(context: Tensor, steps: int) -> Tensor:
        return torch.sqrt(context[:, :1]).expand(-1, steps, -1, -1)

    model, four = OneNumberPerFrame(forecast), quadruplet()
    errors = []
    for video in four:
        latents = model.encode(model.normalise(torch.from_numpy(video.frames[None])))
        errors.append(float((forecast(latents[:, :CUT], STEPS) - latents[:, CUT:]).square().sum()))
    sums = recall_sums(model, four)  # type: ignore[arg-type]
    assert errors[2] + errors[3] - errors[0] - errors[1] == pytest.approx(2 * sums[0])


def test_equal_outcomes_tell_nothing() -> None:
    assert cell([(0.0, 0.0)] * 3) == "0.0 [0.0, 0.0]"
