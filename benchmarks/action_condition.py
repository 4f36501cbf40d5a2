"""How a predictor takes actions: added to its tokens, or by AdaLN-zero. Trained alike, compared on held-out episodes.

    python -m benchmarks.action_condition --data data/two_rooms/episodes.parquet --out runs/action_condition

Small models of Two Rooms (configs/two_rooms.yaml with keypoints, shorter windows and a predictor of two blocks) are trained
for the same number of steps, by several seeds. Measured as by `eval plan`: latent error of forecasts under recorded actions
after a context of four frames, relative to copying the last latent, since latents of different models have different scales;
and by how much it is below the error under the actions of another episode.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from eval.planning.offline.measures import COPY, RECORDED, SHUFFLED, forecast_errors, windows_of
from eval.planning.offline.recorded import read_recorded
from worldmodel import train
from worldmodel.manifest import Manifest
from worldmodel.runs.acting import load_acting_model

CONTEXT, EPISODES = 4, 100
HORIZONS = (1, 4, 8, 16)
RECIPE = (
    "window={frames: 16, fps: 5, size_px: 65}",
    "model.encoder={patch_px: 5, tubelet_size: 1, width: 32, depth: 0, latent_grid: 1, latent_dim: 32, head_width: 32, "
    "keypoints: 16}",
    "model.predictor={width: 128, depth: 2, heads: 4, horizons: 1}",
    "objectives={forecast: {kind: forecast, weight: 4}, spread: {kind: vicreg, std_weight: 5, cov_weight: 1, "
    "temporal_std_weight: 5}, actions: {kind: idm, weight: 4}}",
    "model.rollout_context=4",
    "optim.lr=2e-3",
    "data.batch_size=24",
    "data.make=null",
    "data.workers=1",
)


def trained(kind: str, seed: int, args: argparse.Namespace) -> Path:
    """Train a model unless it exists. Returns its run folder."""
    run = args.out / f"{kind}-{seed}"
    every = f"health.every={args.steps}", f"checkpoint.every={args.steps}"
    given = f"run={run}", f"seed={seed}", f"model.condition.kind={kind}", f"data.manifest={args.data}"
    code = train.main(["configs/two_rooms.yaml", *RECIPE, *given, *every, f"train.max_steps={args.steps}"])
    if code:
        raise SystemExit(code)
    return run


def measured(run: Path, manifest: Manifest) -> dict[str, float]:
    """Relative errors by horizon, and the use of the actions."""
    model = load_acting_model(run)
    device = torch.device("cpu")
    episodes = read_recorded(model, manifest, "test", EPISODES, device, keep_frames=True)
    windows = windows_of(model, episodes, CONTEXT, seed=0)
    assert windows is not None
    found = forecast_errors(windows, device)
    numbers = {}
    for name, short in ((RECORDED, "recorded"), (SHUFFLED, "shuffled")):
        for horizon in HORIZONS:
            error, copied = (found["error"][row][horizon - 1]["value"] for row in (name, COPY))
            numbers[f"{short}, {horizon} steps"] = error / copied
    return {**numbers, "1 - recorded / shuffled": found["uses_actions"]["value"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="episodes of Two Rooms")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--steps", type=int, default=600, help="training steps (default 600)")
    parser.add_argument("--seeds", type=int, default=2, help="training seeds (default 2)")
    args = parser.parse_args()
    manifest = Manifest.open(args.data)
    rows: dict[str, list[dict[str, float]]] = {}
    for seed in range(args.seeds):
        for kind in ("added", "adaln_zero"):
            rows.setdefault(kind, []).append(measured(trained(kind, seed, args), manifest))
    print("| error relative to copying | " + " | ".join(rows) + " |\n|---|" + "---:|" * len(rows))
    for name in rows["added"][0]:
        cells = [" ".join(f"{found[name]:.3f}" for found in several) for several in rows.values()]
        means = [np.mean([found[name] for found in several]) for several in rows.values()]
        print(f"| {name} | " + " | ".join(f"{mean:.3f} ({cell})" for mean, cell in zip(means, cells, strict=True)) + " |")


if __name__ == "__main__":
    main()
