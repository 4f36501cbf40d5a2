"""Speed of a training step of the demo with one and with two threads, by operation: which parts of it are serial.

    python -m benchmarks.thread_scaling [--steps 12] [--out FILE.json]

Steps with one and with two threads alternate. For each operation the table has the least time of all steps, which other load
on the machine changes least. The last column is the part of a step that a second core saves at that operation.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch

from benchmarks.measure import add_out, describe_machine, markdown_table, write_results
from benchmarks.steps.operations import least_times
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=whole_number(2), default=12, help="steps with each number of threads")
    add_out(parser)
    args = parser.parse_args()
    step = training_step(load_config(Recipe, DEMO_RECIPE))

    def step_with(threads: int) -> Callable[[], None]:
        def run() -> None:
            torch.set_num_threads(threads)
            step()

        return run

    by_name = least_times({str(threads): step_with(threads) for threads in THREADS}, args.steps)
    least = {threads: by_name[str(threads)] for threads in THREADS}
    one, two = (sum(least[threads].values()) for threads in THREADS)
    order = sorted(set(least[1]) | set(least[2]), key=lambda name: -least[1][name])[:SHOWN]
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
