"""What exact statistics cost: time and bytes an update of each objective, against statistics of each rank alone.

    python benchmarks/statistics_cost.py [--clips 32] [--steps 24] [--places 1] [--features 64] [--horizons 12]

Two processes on this machine, over gloo on the loopback device, share random latents, one vector a frame.
Times are of statistics, value and gradient, without the model: CPU time of a rank, which other load on the machine hardly
changes, and what the clock shows, waiting included; the least of several. Bytes are what a rank sends an update: counted
(2 (R-1)/R of the sums by a ring, (R-1) shares of the rows) and, on Linux, read off the device with all headers and whatever
else passes there meanwhile (the least of several). The second table is of whole updates of the demo's model in one process:
the extra forward pass of exact accumulation.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing

from worldmodel.config import load
from worldmodel.data.loader import Batch
from worldmodel.models.latents import Latents
from worldmodel.objectives import OBJECTIVES, build_objective
from worldmodel.objectives.objective import Centers, ObjectiveBase
from worldmodel.objectives.statistics import Statistics, evaluate, shared_centers, with_exact_gradient
from worldmodel.process.arguments import count
from worldmodel.process.cores import usable_cores
from worldmodel.recipe import Recipe
from worldmodel.train import DEMO, build_learner
from worldmodel.training.learner import measure

RANKS, REPEATS = 2, 7
LOOPBACK = Path("/sys/class/net/lo/statistics/tx_bytes")


def latents_of(rank: int, args: argparse.Namespace) -> Latents:
    """A rank's share of random latents, every step forecast at every horizon that the window holds."""
    chance = torch.Generator().manual_seed(rank)
    clips = args.clips // RANKS
    context = torch.randn(clips, args.steps, args.places, args.features, generator=chance).requires_grad_()
    columns = torch.cartesian_prod(*map(torch.arange, (clips, args.steps, args.places, args.horizons)))
    clip, time_, place, horizon = columns[columns[:, 1] > columns[:, 3]].T
    target = context[clip, time_, place]
    predicted = target.detach() + torch.randn(target.shape, generator=chance)
    seen = torch.ones(context.shape[:3], dtype=torch.bool)
    none = torch.zeros_like(clip, dtype=torch.bool)
    ids = torch.arange(clips) + rank * clips
    return Latents(context, seen, predicted.requires_grad_(), target, clip, time_, place, horizon + 1, none, chance=7, ids=ids)


def update(config: ObjectiveBase, latents: Latents) -> Statistics:
    """Statistics, value and gradient of one objective."""
    objective = build_objective(config)
    centers = shared_centers(latents)
    found = Statistics(objective.sums(latents, centers), objective.rows(latents))
    loss = with_exact_gradient(found, evaluate(objective, [found])[0])
    torch.autograd.grad(loss, (latents.context, latents.predicted), allow_unused=True, retain_graph=True)
    return found


def bytes_sent(found: Statistics, centers: Centers) -> float:
    """By one rank: counted."""
    size = lambda tensors: sum(tensor.numel() * tensor.element_size() for tensor in tensors)  # noqa: E731
    counts = 2 * len(centers.context) * centers.context.element_size()
    summed = size(found.sums.values()) + size(vars(centers).values()) + counts
    return 2 * (RANKS - 1) / RANKS * summed + (RANKS - 1) * size(found.rows.values())


def best(act: Callable[[], object]) -> tuple[float, float, float]:
    """Least seconds of CPU time, seconds by the clock, and bytes over the loopback device for each rank, of several times."""
    act()  # the first time pays for memory and threads
    found = []
    for _ in range(REPEATS):
        if dist.is_initialized():
            dist.barrier()
        before, began, clock = passed(), time.process_time(), time.perf_counter()
        act()
        found.append((time.process_time() - began, time.perf_counter() - clock, (passed() - before) / RANKS))
    cpu_s, clock_s, sent = zip(*found, strict=True)
    return min(cpu_s), min(clock_s), min(sent)


def passed() -> float:
    """Bytes that were ever sent over the loopback device."""
    return int(LOOPBACK.read_text()) if LOOPBACK.exists() else float("nan")


def rank_main(rank: int, folder: str, args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    latents = latents_of(rank, args)
    configs = [config() for config in OBJECTIVES]
    alone = {config.kind: best(lambda config=config: update(config, latents))[0] for config in configs}
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=RANKS)
    if rank == 0:
        print(
            f"{args.clips} clips x {args.steps} steps x {args.places} places x {args.features} features, "
            f"{RANKS * len(latents.time):,} forecasts, {RANKS} processes\n\n"
            "| objective | CPU ms, each rank alone | CPU ms, exact | clock ms, exact | KiB counted | KiB measured |\n"
            "|---|---|---|---|---|---|"
        )
    for config in configs:
        found = update(config, latents)
        cpu_s, clock_s, measured = best(lambda config=config: update(config, latents))
        counted = bytes_sent(found, shared_centers(latents))
        if rank == 0:
            print(
                f"| {config.kind} | {1e3 * alone[config.kind]:.1f} | {1e3 * cpu_s:.1f} | {1e3 * clock_s:.1f} "
                f"| {counted / 1024:.1f} | {measured / 1024:.1f} |",
                flush=True,
            )
    dist.destroy_process_group()


def accumulation() -> None:
    """Seconds an update of the demo's model takes, cut into one or four micro-batches."""
    torch.set_num_threads(max(1, usable_cores() // 2))
    recipe = load(Recipe, DEMO)
    learner = build_learner(recipe)
    size, clips = recipe.window.size_px, recipe.data.batch_size
    frames = torch.randint(0, 256, (clips, recipe.window.frames, size, size, 3), dtype=torch.uint8)
    whole = Batch(frames, torch.rand(clips, 10), torch.arange(clips))

    def run(micros: int, exact: bool) -> None:
        batches = [Batch(whole.frames[rows], whole.draws[rows], rows) for rows in whole.ids.chunk(micros)]
        told = measure(learner, batches) if exact and micros > 1 else [None] * micros
        for batch, known in zip(batches, told, strict=True):
            learner(batch, known).total.backward()
        learner.zero_grad()

    print(f"\n{DEMO.name}, {clips} windows, one process\n\n| micro-batches | statistics | CPU s an update |\n|---|---|---|")
    for micros, exact, words in (
        (1, True, "of the batch"),
        (4, False, "of each micro-batch alone"),
        (4, True, "of the batch, exact"),
    ):
        print(f"| {micros} | {words} | {best(lambda m=micros, e=exact: run(m, e))[0]:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("clips", 32), ("steps", 24), ("places", 1), ("features", 64), ("horizons", 12)):
        parser.add_argument(f"--{name}", type=count(1), default=default)
    args = parser.parse_args()
    if LOOPBACK.exists():
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(rank_main, (folder, args), nprocs=RANKS)
    accumulation()


if __name__ == "__main__":
    main()
