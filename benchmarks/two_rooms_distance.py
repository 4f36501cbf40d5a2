"""Can a distance in steps be learned from recorded episodes, apart from pictures and dynamics?

    python -m benchmarks.two_rooms_distance --data data/two_rooms/episodes.parquet

The objective steps_to_go is trained on true states (x, y, wall_x, door_y) of the episodes, with the
options given. Told are the rank correlation with the length of the way, over pairs in opposite rooms
behind random walls, most of which occur in the episodes, and the success of plans with exact dynamics
whose cost is this distance.
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from benchmarks.two_rooms_floors import OraclePolicy, Pairs, make_pairs, report, run
from data_prep.environments.two_rooms import geometry
from data_prep.environments.two_rooms.geometry import Array
from worldmodel.manifest import Manifest
from worldmodel.models.latents import LatentSizes
from worldmodel.objectives.steps_to_go import StepsToGo, StepsToGoConfig
from worldmodel.planning import CEMConfig
from worldmodel.signals import read_signals

FRAMESKIP = 2  # recorded steps between two frames of a window, as in configs/two_rooms.yaml
CLIPS, LEARNING_RATE, WARM_UP, CLIP_NORM = 32, 4e-3, 100, 5.0
PLANNER = CEMConfig(horizon=16, samples=64, elites=8, iterations=4, std=1.5)


def scaled(states: Array) -> Tensor:
    """States in px -> inputs of the network, about between -2 and 2: [..., S] -> [..., 1, S]."""
    return torch.from_numpy((states - geometry.SIZE_PX / 2) / 16).float().unsqueeze(-2)


def read_states(manifest: Manifest) -> Tensor:
    """Of the train split, at every frame of a window: [clips, T, 1, S]."""
    clips = [clip for clip in map(manifest.clip, range(len(manifest))) if clip.split == "train" and clip.signals]
    return scaled(np.stack([np.asarray(read_signals(str(clip.signals)).states)[::FRAMESKIP] for clip in clips]))


def train(states: Tensor, config: StepsToGoConfig, frames: int, steps: int) -> StepsToGo:
    """Windows of `frames` frames; the learning rate falls to 0 like a cosine."""
    objective = StepsToGo(config, LatentSizes(frames, 1, states.shape[-1], states.shape[-1], frames - 1, 1))
    optimizer = torch.optim.AdamW(objective.parameters(), LEARNING_RATE, weight_decay=1e-4)
    for step in range(steps):
        ratio = min(1.0, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * step / steps))
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * ratio
        clips = torch.randint(0, len(states), (CLIPS, 1))
        first = torch.randint(0, states.shape[1] - frames + 1, (CLIPS, 1))
        terms = objective.value(objective.sums_of(states[clips, first + torch.arange(frames)], step))
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(objective.parameters(), CLIP_NORM)
        optimizer.step()
    return objective


class LearnedPolicy(OraclePolicy):
    """Plans with exact dynamics; the cost is a learned distance, summed over the frames."""

    def __init__(self, pairs: Pairs, objective: StepsToGo, seed: int) -> None:
        super().__init__(pairs, PLANNER, seed)
        self.objective, self.walls = objective, np.stack([pairs.wall_x, pairs.door_y], -1)
        self.goals = scaled(np.concatenate([pairs.goal, self.walls], -1))

    @torch.no_grad()
    def cost_of(self, path: Array) -> Tensor:
        seen = path[:, :, FRAMESKIP - 1 :: FRAMESKIP]
        walls = np.broadcast_to(self.walls[:, None, None], seen.shape)
        return self.objective(scaled(np.concatenate([seen, walls], -1)), self.goals[:, None, None]).sum(-1)


@torch.no_grad()
def rank_correlation(objective: StepsToGo, pairs: Pairs) -> float:
    """Of the distance from start to goal with the length of the way."""
    walls = np.stack([pairs.wall_x, pairs.door_y], -1)
    start, goal = (scaled(np.concatenate([places, walls], -1)) for places in (pairs.start, pairs.goal))
    way = geometry.path_length(pairs.start, pairs.goal, pairs.wall_x, pairs.door_y)
    return float(spearmanr(objective(start, goal).numpy(), way)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, metavar="MANIFEST")
    parser.add_argument("--groups", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--expectile", type=float, nargs="+", default=[0.05, 0.3])
    parser.add_argument("--frames", type=int, nargs="+", default=[21])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    states, pairs, many = read_states(Manifest.open(args.data)), make_pairs(args.pairs, 0), make_pairs(1000, 1)
    for groups in args.groups:
        for expectile in args.expectile:
            for frames in args.frames:
                torch.manual_seed(args.seed)
                began = time.process_time()
                config = StepsToGoConfig(groups=groups, points=64, pairs=100, expectile=expectile)
                objective = train(states, config, frames, args.steps)
                spent = time.process_time() - began
                distances = run(pairs, LearnedPolicy(pairs, objective, args.seed), args.seed)
                note = f"rank {rank_correlation(objective, many):.3f}, {spent:.0f} s of training"
                report(f"groups {groups}, expectile {expectile}, {frames}", distances, note)


if __name__ == "__main__":
    main()
