"""Speed of a training step of the demo with one and with two threads: of whole steps, and by operation.

    OMP_NUM_THREADS=2 python -m benchmarks.thread_scaling [--steps 12] [--out FILE.json]

Steps with one and with two threads alternate. The speed-up of whole steps is the median of the ratios of wall time. For each
operation the table has the least time of all steps, which other load on the machine changes least; its last column is the part
of a step that a second core saves at that operation. bf16, or fp32 where the processor emulates bf16.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch

from benchmarks.measure import add_out, describe_machine, markdown_table, paired, write_results
from benchmarks.steps.causal_step import build_causal_step, fast_precision
from benchmarks.steps.operations import least_times
from worldmodel.process.arguments import whole_number
from worldmodel.recipe import DEMO_RECIPE, read_recipe

THREADS = (1, 2)
SHOWN = 24  # operations in the table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=whole_number(2), default=12, help="steps with each number of threads")
    add_out(parser)
    args = parser.parse_args()
    precision = fast_precision()
    step = build_causal_step(read_recipe(DEMO_RECIPE), precision)

    def step_with(threads: int) -> Callable[[], None]:
        def run() -> None:
            torch.set_num_threads(threads)
            step()

        return run

    steps = {str(threads): step_with(threads) for threads in THREADS}
    whole = paired(steps, args.steps)
    by_name = least_times(steps, args.steps)
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
    print(f"{machine.line()} {precision}.\n")
    wall_ms = ", ".join(f"{1000 * whole.wall_s(name):.0f}" for name in steps)
    print(f"wall time of whole steps with one and with two threads: {wall_ms} ms")
    print(f"speed-up by a second thread: {whole.wall_ratio('1', '2')}\n")
    print(markdown_table(("operation", "% of the time with one thread", "speed-up by a second", "% saved"), rows))
    least_ms = {str(threads): times for threads, times in least.items()}
    write_results(args.out, machine, {"precision": precision, "steps": whole.as_json("1"), "least_ms": least_ms})


if __name__ == "__main__":
    main()
