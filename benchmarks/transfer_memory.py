"""How much a causal model remembers behind an occluder in a world that it was not trained on, and where it is lost.

    python -m benchmarks.transfer_memory RUN --suite data/flat --properties permanence,continuity,colour

RUN: a run folder, or weights that `python -m benchmarks.transfer_training` wrote.

Forecasts are compared with those of the same model without memory, which sees the last latent step
alone. On possible videos of the suite (calibration.parquet), the table shows which share of the squared
error of the memory-free forecast memory takes away. *head* is the forecast of the model. *refit* is a
linear map that is fitted on the same possible videos, from the predictor's last hidden state (minus that
without memory) to the latents. If refit is right where head is wrong, the predictor remembers, and its
head cannot say it in this world. If refit is wrong too, memory itself is lost.

Scores of locked windows: pairs (chance 50), quadruplets whose impossible videos have the larger sum
(chance 50), and the effect: half the mean difference between the sums, in units of the whitened surprise
of a possible video, which is about 1.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.locked_pairs import calibration_videos
from benchmarks.transfer_training import open_trained
from eval.voe.pairs import quadruplet_scores
from eval.voe.suites import open_suite
from eval.voe.surprise.whitening import ErrorMoments, Whitening
from eval.voe.surprise.windows import Window, WindowOptions, WindowPlan, plan_windows
from eval.voe.trials import Trial, read_video
from worldmodel.models.causal import CausalWorldModel

RIDGE = 0.01  # of the mean square of the features
VIDEOS_AT_ONCE = 25


@dataclass(frozen=True)
class Memory:
    """What memory adds in one window: M merged tokens of E features, W hidden features, S steps."""

    hidden: Tensor  # [B, M, W] hidden state of the predictor, minus that without memory
    forecast: Tensor  # [B, S, M, E] forecast minus the memory-free forecast
    target: Tensor  # [B, S, M, E] latents minus the memory-free forecast


class Reader:
    """Computes what the memory of a causal model adds to its forecasts."""

    def __init__(self, model: CausalWorldModel) -> None:
        self._model, self._side = model.eval(), model.config.encoder.latent_grid
        self._merge = model.config.predictor.patch_merge

    @torch.no_grad()
    def __call__(self, frames: NDArray[np.uint8], window: Window) -> Memory:
        """frames: uint8 [B, T, H, W, 3]."""
        predictor, count = self._model.predictor, window.context // self._model.tubelet_size
        stop = window.cut + window.steps * self._model.tubelet_size
        latents = self._model.encoder(self._model.normalise(torch.from_numpy(frames[:, window.start : stop].copy())))
        context, last = latents[:, :count], latents[:, count - 1 : count]
        hidden, alone = predictor._hidden(context, rows=[count - 1])[0], predictor._hidden(last, rows=[0])[0]
        forecast, free = (self._merged(predictor._forecast(last, state, window.steps)[:, 0]) for state in (hidden, alone))
        return Memory((hidden - alone)[:, 0], forecast - free, self._merged(latents[:, count:]) - free)

    def _merged(self, latents: Tensor) -> Tensor:
        """[..., N, D] -> [..., M, E]: neighbouring tokens as the predictor merges them."""
        side, merge = self._side // self._merge, self._merge
        return rearrange(latents, "... (h y w x) d -> ... (h w) (y x d)", h=side, w=side, y=merge, x=merge)


@dataclass(frozen=True)
class Readouts:
    """Fits on possible videos, one per horizon."""

    maps: list[Tensor]  # [W, E] from the hidden state to the target
    whitening: Whitening  # of the errors of the refitted forecast
    head_share: list[float]  # of the memory-free squared error, taken away by the model's own forecast
    refit_share: list[float]  # the same by the refitted forecast

    def surprises(self, memory: Memory, merge: int) -> Tensor:
        """Whitened surprise minus that without memory, by the head and by the refit: [2, B]."""
        steps = memory.target.shape[1]
        refit = torch.stack([memory.hidden @ self.maps[step] for step in range(steps)], dim=1)
        without = self._surprise(memory.target, merge)
        return torch.stack([self._surprise(memory.target - it, merge) - without for it in (memory.forecast, refit)])

    def _surprise(self, error: Tensor, merge: int) -> Tensor:
        return self.whitening.surprise(rearrange(error, "b s m (q d) -> b s (m q) d", q=merge**2)).mean((1, 2))


def fit(memories: list[Memory], horizon: int, merge: int) -> Readouts:
    """Fit the linear readouts and the covariance of their errors."""
    maps, head_share, refit_share = [], [], []
    moments = ErrorMoments.empty(horizon, 1, memories[0].target.shape[-1] // merge**2)
    for step in range(horizon):
        those = [memory for memory in memories if memory.target.shape[1] > step]
        hidden = torch.cat([memory.hidden.flatten(0, 1) for memory in those]).double()
        target = torch.cat([memory.target[:, step].flatten(0, 1) for memory in those]).double()
        forecast = torch.cat([memory.forecast[:, step].flatten(0, 1) for memory in those]).double()
        gram = hidden.T @ hidden
        ridge = RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
        maps.append(torch.linalg.solve(gram + ridge, hidden.T @ target).float())
        total = target.square().sum()
        head_share.append(float(1 - (target - forecast).square().sum() / total))
        refit_share.append(float(1 - (target - hidden @ maps[-1].double()).square().sum() / total))
    for memory in memories:
        refit = torch.stack([memory.hidden @ maps[step] for step in range(memory.target.shape[1])], dim=1)
        moments.add([rearrange(memory.target - refit, "b s m (q d) -> b s (m q) d", q=merge**2)])
    return Readouts(maps, Whitening.fit(moments), head_share, refit_share)


def calibration_memories(reader: Reader, plan: WindowPlan, manifest: str, count: int, size_px: int) -> Iterator[Memory]:
    """Memory in windows of the first `count` possible videos."""
    videos = calibration_videos(manifest, count)
    for first in range(0, len(videos), VIDEOS_AT_ONCE):
        frames = np.stack([read_video(video, plan.fps, size_px) for video in videos[first : first + VIDEOS_AT_ONCE]])
        length = frames.shape[1]
        cuts = range(length // 3, 2 * length // 3 + 1, plan.stride)
        for window in filter(None, (plan.ending_at(cut, length) for cut in cuts)):
            yield reader(frames, window)


def trial_surprises(reader: Reader, readouts: Readouts, plan: WindowPlan, trial: Trial, merge: int, size_px: int) -> Tensor:
    """Mean surprise of the four videos over their locked windows, by head and refit: [2, 4]."""
    frames = np.stack([read_video(video, plan.fps, size_px) for video in trial.videos])
    windows = plan.locked(trial.locked_cuts, trial.videos[0].fps, frames.shape[1])
    return torch.stack([readouts.surprises(reader(frames, window), merge) for window in windows]).mean(0)


def open_causal(path: Path) -> CausalWorldModel:
    """The causal model of a run folder, or of a folder that benchmarks.transfer_training wrote."""
    model = open_trained(path)
    assert isinstance(model, CausalWorldModel), f"{path}: this benchmark needs a causal model"
    return model


def summary(surprise: NDArray[np.float64]) -> str:
    """Pairs, sums and effect of the surprises [Q, 4], minus those without memory."""
    difference = surprise[:, 2:].sum(1) - surprise[:, :2].sum(1)
    sums = np.where(np.abs(difference) < 1e-6, 0.5, difference > 0).mean()
    return (
        f"pairs {100 * quadruplet_scores(surprise).mean():3.0f}, sums {100 * sums:3.0f}, effect {50 * difference.mean():5.2f} %"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--suite", required=True, help="folder of a suite of a physics world")
    parser.add_argument("--properties", default="permanence,continuity,colour")
    parser.add_argument("--quadruplets", type=int, default=100, help="per property")
    parser.add_argument("--calibration", type=int, default=150, help="number of possible videos")
    args = parser.parse_args()
    model, suite = open_causal(args.run), open_suite(f"builtin:{args.suite}")
    assert suite.calibration is not None, f"{args.suite}: this benchmark needs calibration.parquet"
    merge, reader, size_px = model.config.predictor.patch_merge, Reader(model), model.size_px
    plan = plan_windows(WindowOptions(), model, suite)
    memories = list(calibration_memories(reader, plan, suite.calibration, args.calibration, size_px))
    readouts = fit(memories, plan.horizon, merge)
    for name, shares in (("head", readouts.head_share), ("refit", readouts.refit_share)):
        print(f"{name:6} takes away, by horizon: {' '.join(f'{share:.2f}' for share in shares)}")
    for name in args.properties.split(","):
        trials = [trial for trial in suite.trials if trial.property == name and trial.split == "test" and trial.locked_cuts]
        found = [trial_surprises(reader, readouts, plan, it, merge, size_px) for it in trials[: args.quadruplets]]
        head, refit = torch.stack(found).double().numpy().swapaxes(0, 1)
        print(f"{name:11} head: {summary(head)} | refit: {summary(refit)}", flush=True)


if __name__ == "__main__":
    main()
