"""Wall time of training steps of a recipe, by the priority of its data workers.

    python -m benchmarks.worker_priority configs/two_rooms.yaml [a.b=value ...] [--rounds 5] [--steps 60] [--busy]

A training on processors and its data workers want the same processors. Each row is a training of its own, without a checkpoint,
in a folder that is removed; they take turns. Niceness 0: workers have the priority of the training. The first steps are not
measured. --busy: another program keeps each core busy meanwhile. The recipe's videos must exist, or be made by it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.measure import add_out, describe_machine, markdown_table, write_results
from benchmarks.thread_waiting import busy_cores
from worldmodel.data.batch_reader import BEHIND_TRAINING
from worldmodel.process.arguments import whole_number

NICENESS = (0, 5, BEHIND_TRAINING)
WARM_UP = 20  # steps in which micro-batches that were read ahead are used up


class Measured(Exception):  # noqa: N818 - not an error: it ends the training
    """The steps are measured."""


def step_ms(recipe: Sequence[str], niceness: int, steps: int) -> float:
    """Mean wall time of a step of a training in this process, with everything between two steps."""
    from worldmodel import train

    real, began = train.step, [0.0]
    done = 0

    def step(*arguments: Any) -> Any:
        nonlocal done
        if done == WARM_UP:
            began[0] = time.perf_counter()
        if done == WARM_UP + steps:
            raise Measured
        done += 1
        return real(*arguments)

    vars(train).update(step=step, BEHIND_TRAINING=niceness)
    with tempfile.TemporaryDirectory() as folder:
        try:
            train.main([*recipe, f"run={folder}/run"])
        except Measured:
            return 1e3 * (time.perf_counter() - began[0]) / steps
    raise SystemExit(f"the recipe has fewer than {WARM_UP + steps} steps, or its training failed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="+", help="YAML file, and overrides")
    parser.add_argument("--rounds", type=whole_number(1), default=5)
    parser.add_argument("--steps", type=whole_number(1), default=60)
    parser.add_argument("--busy", action="store_true", help="with another program on every core")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    add_out(parser)
    args = parser.parse_intermixed_args()
    if args.child is not None:
        print(json.dumps(step_ms(args.recipe, args.child, args.steps)))
        return
    times: dict[int, list[float]] = {niceness: [] for niceness in NICENESS}
    with busy_cores(args.busy):
        for _ in range(args.rounds):
            for niceness in NICENESS:
                options = ["--child", str(niceness), "--steps", str(args.steps)]
                child = [sys.executable, "-m", "benchmarks.worker_priority", *args.recipe, *options]
                done = subprocess.run(child, env=dict(os.environ), stdout=subprocess.PIPE, check=True, text=True)
                times[niceness].append(json.loads(done.stdout.splitlines()[-1]))
    machine = describe_machine(("torch",))
    rows = []
    for niceness, found in times.items():
        ratio = statistics.median(own / equal for own, equal in zip(found, times[0], strict=True))
        rows.append([niceness, f"{statistics.median(found):.0f} ({min(found):.0f}-{max(found):.0f})", f"{ratio:.2f}"])
    print(f"{machine.line()}\n")
    print(markdown_table(("niceness of workers", "ms per step", "of the time at niceness 0"), rows))
    write_results(args.out, machine, {"busy": args.busy, "ms": {str(niceness): found for niceness, found in times.items()}})


if __name__ == "__main__":
    main()
