"""Success of planners that need no model in Two Rooms: the scores between which a trained model can lie.

    python -m benchmarks.two_rooms_floors --pairs 300 --oracle-pairs 60

Every row has the same pairs of start and goal, with random walls and doors. A pair whose start is
already at its goal would be left out; start and goal lie in opposite rooms, so there is none.
"oracle" plans with a copy of the environment without its noise, by the planners of
worldmodel/planning. Its cost is summed over the steps: the squared distance to the goal, which knows
no walls, or the length of the way through the door.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from data_prep.environments.two_rooms import geometry, policies
from data_prep.environments.two_rooms.geometry import Array
from eval.intervals import wilson
from worldmodel.planning import ActionSpace, CEMConfig, ICEMConfig, PlannerBase, WarmStart, generators_of, goal_distance, search

BUDGET = 200  # steps, as in EB-JEPA
EXECUTED = 10  # steps of a plan before the next one
PLANNERS = (
    ("distance", CEMConfig(horizon=40, samples=100, elites=10, iterations=8, std=1.5)),
    ("distance", ICEMConfig(horizon=40, samples=100, elites=10, iterations=8, std=1.5)),
    ("path length", CEMConfig(horizon=40, samples=100, elites=10, iterations=8, std=1.5)),
)


@dataclass(frozen=True)
class Pairs:
    """Starts, goals and walls of N episodes."""

    start: Array  # [N, 2]
    goal: Array  # [N, 2]
    wall_x: Array  # [N]
    door_y: Array  # [N]

    def first(self, count: int) -> Pairs:
        return Pairs(self.start[:count], self.goal[:count], self.wall_x[:count], self.door_y[:count])


Policy = Callable[[Array, int], Array]  # positions [N, 2], step -> actions [N, 2]


def make_pairs(count: int, seed: int, fixed_wall: tuple[float, float] | None = None) -> Pairs:
    """`count` pairs in opposite rooms; each from a generator of its own, so that more pairs change none."""
    rows = []
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        wall_x, door_y = geometry.sample_wall(rng) if fixed_wall is None else fixed_wall
        rows.append((*geometry.sample_start_and_goal(rng, wall_x), wall_x, door_y))
    return Pairs(*(np.array(column) for column in zip(*rows, strict=True)))


def run(pairs: Pairs, policy: Policy, seed: int) -> Array:
    """Distances to the goal, [BUDGET + 1, N]. The noise at walls is that of the environment."""
    position, rng = pairs.start, np.random.default_rng(seed)
    distances = [np.linalg.norm(position - pairs.goal, axis=-1)]
    for step in range(BUDGET):
        bounce = rng.normal(0.0, geometry.BOUNCE_STD_PX, position.shape)
        position = geometry.move(position, policy(position, step), pairs.wall_x, pairs.door_y, bounce)
        distances.append(np.linalg.norm(position - pairs.goal, axis=-1))
    return np.array(distances)


def random_policy(pairs: Pairs, seed: int) -> Policy:
    """The random walk of the training data."""
    rngs = [np.random.default_rng([seed, 1, number]) for number in range(len(pairs.start))]
    walks = [policies.random_walk(None, rng) for rng in rngs]
    return lambda position, step: np.array([walk(None, {}) for walk in walks])


class OraclePolicy:
    """Replans every EXECUTED steps, with exact dynamics. measure: what is summed, "distance" or "path length"."""

    def __init__(self, pairs: Pairs, config: PlannerBase, seed: int, measure: str = "distance") -> None:
        self.pairs, self.config, self.measure = pairs, config, measure
        self.generators = generators_of([seed * 100_003 + number for number in range(len(pairs.start))])
        self.space = ActionSpace.ball(2, geometry.MAX_STEP_PX)
        self.start: WarmStart | None = None
        self.calls, self.plans = 0, 0

    def __call__(self, position: Array, step: int) -> Array:
        if step % EXECUTED == 0:
            plan = search(lambda actions: self.cost(position, actions), self.space, self.config, self.generators, self.start)
            self.start = plan.next_start.shifted(EXECUTED)
            self.actions = plan.actions.double().numpy()
            self.calls, self.plans = self.calls + plan.predictor_steps, self.plans + 1
        return self.actions[:, step % EXECUTED]

    def cost(self, position: Array, actions: torch.Tensor) -> torch.Tensor:
        """[B, S, H, 2] -> [B, S]"""
        steps, path = actions.double().numpy(), []
        now = np.broadcast_to(position[:, None], (*steps.shape[:2], 2))
        for number in range(steps.shape[2]):
            now = geometry.move(now, steps[:, :, number], self.pairs.wall_x[:, None], self.pairs.door_y[:, None])
            path.append(now)
        return self.cost_of(np.stack(path, 2))

    def cost_of(self, path: Array) -> torch.Tensor:
        """Of the positions after each step: [B, S, H, 2] -> [B, S]."""
        if self.measure == "path length":
            wall_x, door_y = self.pairs.wall_x[:, None, None], self.pairs.door_y[:, None, None]
            lengths = geometry.path_length(path, self.pairs.goal[:, None, None], wall_x, door_y)
            return torch.from_numpy(lengths.sum(-1))
        return goal_distance(torch.from_numpy(path), torch.from_numpy(self.pairs.goal), steps="all")


def report(name: str, distances: Array, note: str = "") -> None:
    """One line: success at the last step (EB-JEPA) and at any step (PLDM), with Wilson intervals."""
    cells = []
    for success in (distances[-1] < geometry.SUCCESS_PX, distances.min(0) < geometry.STRICT_SUCCESS_PX):
        low, high = wilson(int(success.sum()), len(success))
        cells.append(f"{100 * success.mean():5.1f} [{100 * low:5.1f}, {100 * high:5.1f}]")
    print(f"{name:28s} {distances.shape[1]:5d}  {cells[0]}  {cells[1]}  {note}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=300)
    parser.add_argument(
        "--oracle-pairs", type=int, default=60, help="the planners run on the first of the pairs (0: not at all)"
    )
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    pairs = make_pairs(args.pairs, args.seed)
    fixed = make_pairs(args.pairs, args.seed, fixed_wall=(32.0, 18.0))
    torch.set_num_threads(1)
    print(f"{'policy':28s} {'pairs':>5s}  {'< 4.5 px, last step':>20s}  {'< 1.41 px, any step':>20s}")
    report("nothing", run(pairs, lambda position, step: np.zeros_like(position), args.seed))
    report("random", run(pairs, random_policy(pairs, args.seed), args.seed))
    report("straight line", run(pairs, lambda position, step: policies.straight_to(position, pairs.goal), args.seed))
    report(
        "straight line, fixed wall", run(fixed, lambda position, step: policies.straight_to(position, fixed.goal), args.seed)
    )
    through = run(pairs, lambda p, step: policies.through_the_door(p, pairs.goal, pairs.wall_x, pairs.door_y), args.seed)
    arrival = (through < geometry.SUCCESS_PX).argmax(0).max()
    report("through the door", through, f"at most {arrival} steps until 4.5 px")
    few = pairs.first(args.oracle_pairs)
    for measure, config in PLANNERS if args.oracle_pairs else ():
        policy, began = OraclePolicy(few, config, args.seed, measure), time.process_time()
        distances = run(few, policy, args.seed)
        seconds = (time.process_time() - began) / (policy.plans * len(few.start))
        report(
            f"oracle, {config.kind}, {measure}",
            distances,
            f"{policy.calls // policy.plans:,} predicted steps and {seconds:.3f} s of one core per plan",
        )


if __name__ == "__main__":
    main()
