"""The cost of exact statistics: time and bytes per training step of each objective, compared with statistics per rank.

    python -m benchmarks.statistics_cost [--clips 32] [--steps 24] [--tokens 1] [--features 64] [--horizons 12]

Two processes on this machine communicate over gloo on the loopback device. Their latents are random, by default one vector per
frame. Times include statistics, value and gradient, but not the model: CPU time of a rank, which other load on the machine
hardly changes, and wall time, which includes waiting; each is the least of several. Bytes are those that a rank sends per step:
counted (2 (R-1)/R of the sums in a ring, R-1 times the rows) and, on Linux, read from the device, with all headers and other
traffic (the least of several). The second table is the time of whole training steps of the demo's model in one process, with
the extra forward pass of exact gradient accumulation.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing

from worldmodel.config import load_config
from worldmodel.data.loader import Batch
from worldmodel.models.latents import Latents
from worldmodel.objectives import OBJECTIVES, build_objective
from worldmodel.objectives.objective import Centers, ObjectiveBase
from worldmodel.objectives.statistics import Statistics, global_centers, loss_gradients, with_exact_gradient
from worldmodel.process.arguments import whole_number
from worldmodel.process.cores import usable_cores
from worldmodel.recipe import DEMO_RECIPE, Recipe
from worldmodel.training.learner import global_statistics
from worldmodel.training.setup import build_learner

RANKS, REPEATS = 2, 7
LOOPBACK = Path("/sys/class/net/lo/statistics/tx_bytes")


def random_latents(rank: int, args: argparse.Namespace) -> Latents:
    """Random latents of one rank, with forecasts of every step at every horizon that fits into the window."""
    generator = torch.Generator().manual_seed(rank)
    clips = args.clips // RANKS
    context = torch.randn(clips, args.steps, args.tokens, args.features, generator=generator).requires_grad_()
    columns = torch.cartesian_prod(*map(torch.arange, (clips, args.steps, args.tokens, args.horizons)))
    clip, time_, token, horizon = columns[columns[:, 1] > columns[:, 3]].T
    target = context[clip, time_, token]
    predicted = target.detach() + torch.randn(target.shape, generator=generator)
    mask = torch.ones(context.shape[:3], dtype=torch.bool)
    rollout = torch.zeros_like(clip, dtype=torch.bool)
    ids = torch.arange(clips) + rank * clips
    return Latents(
        context, mask, predicted.requires_grad_(), target, clip, time_, token, horizon + 1, rollout, step_seed=7, window_ids=ids
    )


def compute(config: ObjectiveBase, latents: Latents) -> Statistics:
    """Compute statistics, value and gradient of one objective."""
    objective = build_objective(config)
    centers = global_centers(latents)
    found = Statistics(objective.sums(latents, centers), objective.rows(latents))
    loss = with_exact_gradient(found, loss_gradients(objective, [found])[0])
    torch.autograd.grad(loss, (latents.context, latents.predicted), allow_unused=True, retain_graph=True)
    return found


def bytes_sent(found: Statistics, centers: Centers) -> float:
    """Bytes that one rank sends, counted."""
    size = lambda tensors: sum(tensor.numel() * tensor.element_size() for tensor in tensors)  # noqa: E731
    counts = 2 * len(centers.context) * centers.context.element_size()
    summed = size(found.sums.values()) + size(vars(centers).values()) + counts
    return 2 * (RANKS - 1) / RANKS * summed + (RANKS - 1) * size(found.rows.values())


def best(run: Callable[[], object]) -> tuple[float, float, float]:
    """Run a function several times: least CPU seconds, wall seconds, and bytes per rank over the loopback device."""
    run()  # excludes the time of allocations and threads
    found = []
    for _ in range(REPEATS):
        if dist.is_initialized():
            dist.barrier()
        bytes_before, cpu_start, wall_start = loopback_bytes(), time.process_time(), time.perf_counter()
        run()
        cpu_s, wall_s = time.process_time() - cpu_start, time.perf_counter() - wall_start
        found.append((cpu_s, wall_s, (loopback_bytes() - bytes_before) / RANKS))
    cpu_s, wall_s, sent = (min(values) for values in zip(*found, strict=True))
    return cpu_s, wall_s, sent


def loopback_bytes() -> float:
    """Bytes sent over the loopback device since the machine was started."""
    return int(LOOPBACK.read_text()) if LOOPBACK.exists() else float("nan")


def rank_main(rank: int, folder: str, args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    latents = random_latents(rank, args)
    configs = {str(config.model_fields["kind"].default): config() for config in OBJECTIVES}
    alone = {name: best(partial(compute, config, latents))[0] for name, config in configs.items()}
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=RANKS)
    if rank == 0:
        print(
            f"{args.clips} clips x {args.steps} steps x {args.tokens} tokens x {args.features} features, "
            f"{RANKS * len(latents.time):,} forecasts, {RANKS} processes\n\n"
            "| objective | CPU ms, per rank | CPU ms, exact | wall ms, exact | KiB counted | KiB measured |\n"
            "|---|---|---|---|---|---|"
        )
    for name, config in configs.items():
        found = compute(config, latents)
        cpu_s, wall_s, measured = best(partial(compute, config, latents))
        counted = bytes_sent(found, global_centers(latents))
        if rank == 0:
            print(
                f"| {name} | {1e3 * alone[name]:.1f} | {1e3 * cpu_s:.1f} | {1e3 * wall_s:.1f} "
                f"| {counted / 1024:.1f} | {measured / 1024:.1f} |",
                flush=True,
            )
    dist.destroy_process_group()


def accumulation() -> None:
    """Print CPU seconds per training step of the demo's model, with one or four micro-batches."""
    torch.set_num_threads(max(1, usable_cores() // 2))
    recipe = load_config(Recipe, DEMO_RECIPE)
    learner = build_learner(recipe)
    size, clips = recipe.window.size_px, recipe.data.batch_size
    frames = torch.randint(0, 256, (clips, recipe.window.frames, size, size, 3), dtype=torch.uint8)
    uniforms, ids = torch.rand(clips, 10), torch.arange(clips)

    def run(micro_batches: int, exact: bool) -> None:
        batches = [Batch(frames[rows], uniforms[rows], rows) for rows in ids.chunk(micro_batches)]
        statistics = global_statistics(learner, batches) if exact and micro_batches > 1 else [None] * micro_batches
        for batch, shared in zip(batches, statistics, strict=True):
            learner(batch, shared).total.backward()
        learner.zero_grad()

    print(
        f"\n{DEMO_RECIPE.name}, {clips} windows, one process\n\n| micro-batches | statistics | CPU s per step |\n|---|---|---|"
    )
    for micro_batches, exact, label in (
        (1, True, "of the batch"),
        (4, False, "per micro-batch"),
        (4, True, "of the batch (exact)"),
    ):
        print(f"| {micro_batches} | {label} | {best(partial(run, micro_batches, exact))[0]:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("clips", 32), ("steps", 24), ("tokens", 1), ("features", 64), ("horizons", 12)):
        parser.add_argument(f"--{name}", type=whole_number(1), default=default)
    args = parser.parse_args()
    if LOOPBACK.exists():
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(rank_main, (folder, args), nprocs=RANKS)
    accumulation()


if __name__ == "__main__":
    main()
