"""How much of the picture the latents of a causal model keep, and how fast they change.

    python -m benchmarks.latent_pixels --models early=OUT/s700 late=OUT/s5600 --suite data/flat

A model is a run folder or what benchmarks.transfer_training wrote. The table shows, on possible videos of the suite
(calibration.parquet), R2 of linear maps from a latent to its own patch: to the patch's mean colour, and to all of its pixels.
They are fitted and read on the same patches; a latent has few numbers, and there are tens of thousands of patches. *Change* is
the mean squared difference of successive latents, divided by the variance of the latents: 0 for pictures that stand still, 2
for latents that forget the step before. *Skill* is that of forecasts against copying the last latent.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor

from benchmarks.locked_pairs import calibration_videos
from benchmarks.measure import describe_machine, markdown_table
from benchmarks.transfer_training import open_trained
from eval.voe.suites import open_suite
from eval.voe.trials import read_video
from worldmodel.models.causal import CausalWorldModel

HORIZONS_S = (0.5, 1.0)
FIRST_CONTEXT = 4  # latent steps of the shortest context
AT_ONCE = 25  # videos


@dataclass(frozen=True)
class LatentPixels:
    """What latents keep of their patches."""

    colour: float  # R2 of the mean colour
    pixels: float  # R2 of all pixels
    change: float
    skill: tuple[float, ...]  # at HORIZONS_S

    def cells(self) -> list[str]:
        return [f"{value:.2f}" for value in (self.colour, self.pixels, self.change, *self.skill)]


@torch.no_grad()
def measure(model: CausalWorldModel, videos: Tensor) -> LatentPixels:
    """videos: uint8 [V, T, H, W, 3]"""
    side, f = model.config.encoder.latent_grid, model.tubelet_size
    videos = videos[:, : videos.shape[1] // f * f]
    latents = torch.cat([model.encode(model.normalise(part)) for part in videos.split(AT_ONCE)])
    forecasts = torch.cat([model.predictor(part) for part in latents.split(AT_ONCE)])
    pixels = rearrange(
        videos.float() / 255, "v (t f) (r h) (c w) rgb -> (v t r c) (f h w) rgb", f=f, r=side, c=side
    )  # in the order of the latents
    of_patches = rearrange(latents, "v t n d -> (v t n) d")
    skill = (_skill(latents, forecasts, round(seconds * model.fps / f)) for seconds in HORIZONS_S)
    change = (latents[:, 1:] - latents[:, :-1]).square().mean() / of_patches.var(0, correction=0).mean()
    return LatentPixels(r2(of_patches, pixels.mean(1)), r2(of_patches, pixels.flatten(1)), float(change), tuple(skill))


def _skill(latents: Tensor, forecasts: Tensor, horizon: int) -> float:
    """latents [V, T, N, D], forecasts [V, T, K, N, D]. NaN where forecasts do not reach so far."""
    if not 1 <= horizon <= min(forecasts.shape[2], latents.shape[1] - FIRST_CONTEXT):
        return math.nan
    starts = slice(FIRST_CONTEXT - 1, latents.shape[1] - horizon)
    target = latents[:, FIRST_CONTEXT - 1 + horizon :]
    error = (forecasts[:, starts, horizon - 1] - target).square().mean()
    return 1 - float(error / (latents[:, starts] - target).square().mean())


def r2(features: Tensor, target: Tensor) -> float:
    """Of a least-squares map with a constant, [S, D] -> [S, E]: the share of the variance of all targets together."""
    features = torch.cat((features, torch.ones_like(features[:, :1])), dim=1).double()
    target = target.double()
    gram = features.T @ features
    weights = torch.linalg.lstsq(gram, features.T @ target, driver="gelsd").solution
    return 1 - float((features @ weights - target).square().sum() / (target - target.mean(0)).square().sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", required=True, metavar="NAME=DIR")
    parser.add_argument("--suite", type=Path, required=True)
    parser.add_argument("--videos", type=int, default=60)
    args = parser.parse_args()
    suite = open_suite(f"builtin:{args.suite}")
    assert suite.calibration is not None, f"{args.suite}: this benchmark needs calibration.parquet"
    rows = []
    for name, folder in (it.split("=", 1) for it in args.models):
        model = open_trained(Path(folder))
        assert isinstance(model, CausalWorldModel), f"{folder}: this benchmark needs a model of kind causal"
        chosen = calibration_videos(suite.calibration, args.videos)
        videos = torch.stack([torch.from_numpy(read_video(video, model.fps, model.size_px)) for video in chosen])
        rows.append([name, *measure(model.eval(), videos).cells()])
    headers = ["model", "mean colour, R2", "pixels, R2", "change", *(f"skill, {seconds:g} s" for seconds in HORIZONS_S)]
    print(f"{describe_machine().line()}\n\n{markdown_table(headers, rows)}")


if __name__ == "__main__":
    main()
