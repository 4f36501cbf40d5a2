"""Speed of a training step of the demo with one and with two threads, by operation: which parts of it are serial.

    python -m benchmarks.thread_scaling [--steps 12] [--out FILE.json]

Steps with one and with two threads alternate. For each operation the table has the least time of all steps, which other load
on the machine changes least. The last column is the part of a step that a second core saves at that operation.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.measure import add_out, describe_machine, markdown_table, write_results
from worldmodel.config import load_config
from worldmodel.data.loader import Batch
from worldmodel.process.arguments import whole_number
from worldmodel.recipe import DEMO_RECIPE, Recipe
from worldmodel.training.optimizer import build_optimizers, clip_gradients
from worldmodel.training.setup import build_learner

THREADS = (1, 2)
SHOWN = 24  # operations in the table


def training_step(recipe: Recipe) -> Callable[[], None]:
    """A function that does one training step in bf16, on random frames."""
    torch.manual_seed(0)
    learner = build_learner(recipe)
    optimizers = build_optimizers(learner, recipe.optim)
    size, clips = recipe.window.size_px, recipe.data.batch_size
    frames = torch.randint(0, 256, (clips, recipe.window.frames, size, size, 3), dtype=torch.uint8)
    batch = Batch(frames, torch.rand(clips, 10), torch.arange(clips))

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            loss = learner(batch).total
        loss.backward()
        clip_gradients(learner, recipe.optim.clip_norm)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return step


def times_by_operation(step: Callable[[], None]) -> Counter[str]:
    """Milliseconds of one step by operation, each without the operations that it calls."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        step()
    return Counter({event.key: event.self_cpu_time_total / 1e3 for event in profiled.key_averages()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=whole_number(2), default=12, help="steps with each number of threads")
    add_out(parser)
    args = parser.parse_args()
    step = training_step(load_config(Recipe, DEMO_RECIPE))
    found: dict[int, list[Counter[str]]] = {threads: [] for threads in THREADS}
    for number in range(args.steps + 1):
        for threads in THREADS:
            torch.set_num_threads(threads)
            times = times_by_operation(step)
            if number:  # the first step allocates
                found[threads].append(times)
    names = {name for steps in found.values() for times in steps for name in times}
    least = {threads: {name: min(times[name] for times in steps) for name in names} for threads, steps in found.items()}
    one, two = (sum(least[threads].values()) for threads in THREADS)
    order = sorted(names, key=lambda name: -least[1][name])[:SHOWN]
    rows = [
        [
            name,
            f"{100 * least[1][name] / one:.1f}",
            f"{least[1][name] / max(least[2][name], 1e-9):.2f}",
            f"{100 * (least[1][name] - least[2][name]) / one:.1f}",
        ]
        for name in order
    ]
    rows.append(["all", "100", f"{one / two:.2f}", f"{100 * (one - two) / one:.1f}"])
    machine = describe_machine(("torch",))
    print(f"{machine.line()}\n")
    print(markdown_table(("operation", "% of the time with one thread", "speed-up by a second", "% saved"), rows))
    write_results(args.out, machine, {"least_ms": {str(threads): times for threads, times in least.items()}})


if __name__ == "__main__":
    main()
