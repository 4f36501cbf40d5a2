"""How much of what tells two outcomes apart a causal model forecasts from their contexts.

    python -m benchmarks.outcome_recall --models transfer=runs/transfer --suites flat=data/flat builtin=data/mini

A model is a run folder or what benchmarks.transfer_training wrote. A quadruplet has two contexts, a and b, and two outcomes, u
and v, of which a causes u and b causes v. Where the contexts end, both show the same pictures, so a forecast that knows only
these is the same after both. With forecasts F after the contexts and latents L of the outcomes,

    recall = sum (F_a - F_b) (L_u - L_v) / sum (L_u - L_v)^2

over all steps of locked windows: 0 without memory, 1 for forecasts that equal the outcomes. What cannot be forecast, such as
the moment at which the light goes on again, lowers it. The squared errors of the two impossible videos minus those of the
possible ones are 2 (F_a - F_b) (L_u - L_v), so recall is this difference as a fraction of what a perfect forecast would reach.
Pairs and sums only count signs; recall grows long before they do. The table shows percent [95 % interval over quadruplets].
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.locked_pairs import Quadruplet, read_quadruplets
from benchmarks.measure import describe_machine, markdown_table
from benchmarks.transfer_memory import open_causal
from eval.intervals import bootstrap_of_sums
from eval.voe.suites import open_suite
from eval.voe.surprise.windows import WindowOptions, plan_windows
from worldmodel.models.causal import CausalWorldModel

PROPERTIES = "permanence,continuity,colour,shape,size"
LOCKED_WINDOWS = 2  # of a quadruplet, at most


@torch.no_grad()
def recall_sums(model: CausalWorldModel, quadruplet: Quadruplet) -> tuple[float, float]:
    """Numerator and denominator of recall, over the locked windows of a quadruplet."""
    first, second = quadruplet[:2]  # the possible videos (a, u) and (b, v)
    known, possible = 0.0, 0.0
    for window in first.windows:
        stop, steps = window.cut + window.steps * model.tubelet_size, window.context // model.tubelet_size
        frames = np.stack([video.frames[window.start : stop] for video in (first, second)])
        latents = model.encode(model.normalise(torch.from_numpy(frames)))
        forecasts = model.predictor.from_last_step(latents[:, :steps], window.steps)
        outcomes = latents[0, steps:] - latents[1, steps:]
        known += float(((forecasts[0] - forecasts[1]) * outcomes).sum())
        possible += float(outcomes.square().sum())
    return known, possible


def recall(sums: NDArray[np.floating]) -> NDArray[np.floating]:
    """Recall of sums [..., 2]; 0 where the outcomes are equal."""
    known, possible = sums[..., 0].astype(np.float64), sums[..., 1]
    return np.divide(known, possible, out=np.zeros_like(known), where=possible > 0)


def cell(sums: Sequence[tuple[float, float]]) -> str:
    """Percent with its interval."""
    value, low, high = (100 * value for value in bootstrap_of_sums(np.array(sums), recall))
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", required=True, metavar="NAME=DIR")
    parser.add_argument("--suites", nargs="+", required=True, metavar="WORLD=DIR")
    parser.add_argument("--properties", default=PROPERTIES, help=f"separated by commas; default: {PROPERTIES}")
    parser.add_argument("--quadruplets", type=int, default=40, help="per property")
    args = parser.parse_args()
    torch.set_num_threads(1)
    suites = dict(it.split("=", 1) for it in args.suites)
    rows = []
    for name, folder in (it.split("=", 1) for it in args.models):
        model = open_causal(Path(folder)).eval()
        for world, suite in suites.items():
            opened = open_suite(f"builtin:{suite}")
            plan = plan_windows(WindowOptions(), model, opened)
            plan, names = replace(plan, horizon=plan.reach), args.properties.split(",")
            fours = read_quadruplets(opened, plan, names, args.quadruplets, LOCKED_WINDOWS, model.size_px)
            sums = {key: [recall_sums(model, it) for it in found] for key, found in fours.items()}
            rows.append([name, world, *(cell(sums[key]) if key in sums else "-" for key in names)])
    print(f"{describe_machine().line()}\n\n{markdown_table(['model', 'world', *args.properties.split(',')], rows)}")


if __name__ == "__main__":
    main()
