"""Wall time of a training step of the demo with two threads, by the way in which threads wait for work.

    python -m benchmarks.thread_waiting [--rounds 3] [--steps 15] [--busy] [--out FILE.json]

OpenMP reads its settings when it is loaded, so every row has a process of its own; they take turns. A waiting thread looks
for work N times (GOMP_SPINCOUNT) and then sleeps. --busy: another program keeps each core busy meanwhile.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from benchmarks.measure import add_out, describe_machine, markdown_table, write_results
from worldmodel.process.arguments import whole_number
from worldmodel.process.cores import usable_cores

SPINS = (0, 300, 1000, 2000, 10_000, 300_000)  # 300,000 is libgomp's own choice
BUSY = [sys.executable, "-c", "while True: pass"]


def median_step_ms(steps: int) -> float:
    """Median wall time of training steps in this process."""
    from benchmarks.steps.causal_step import build_causal_step, fast_precision
    from worldmodel.recipe import DEMO_RECIPE, read_recipe

    step = build_causal_step(read_recipe(DEMO_RECIPE), fast_precision())
    step()
    times = []
    for _ in range(steps):
        began = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - began))
    return statistics.median(times)


@contextlib.contextmanager
def busy_cores(wanted: bool) -> Iterator[None]:
    others = [subprocess.Popen(BUSY) for _ in range(usable_cores())] if wanted else []
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=whole_number(1), default=3)
    parser.add_argument("--steps", type=whole_number(1), default=15)
    parser.add_argument("--busy", action="store_true", help="with another program on every core")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    add_out(parser)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(median_step_ms(args.steps)))
        return
    times: dict[int, list[float]] = {spins: [] for spins in SPINS}
    with busy_cores(args.busy):
        for _ in range(args.rounds):
            for spins in SPINS:
                environment = {**os.environ, "OMP_NUM_THREADS": "2", "GOMP_SPINCOUNT": str(spins)}
                child = [sys.executable, "-m", "benchmarks.thread_waiting", "--child", "--steps", str(args.steps)]
                done = subprocess.run(child, env=environment, stdout=subprocess.PIPE, check=True)
                times[spins].append(json.loads(done.stdout))
    machine = describe_machine(("torch",))
    rows = []
    for spins, found in times.items():
        ratio = statistics.median(sleeping / own for sleeping, own in zip(times[0], found, strict=True))
        rows.append([f"{spins:,}", f"{statistics.median(found):.0f} ({min(found):.0f}-{max(found):.0f})", f"{ratio:.2f}"])
    print(f"{machine.line()}\n")
    print(markdown_table(("GOMP_SPINCOUNT", "ms per step", "speed-up over sleeping at once"), rows))
    write_results(args.out, machine, {"busy": args.busy, "ms": {str(spins): found for spins, found in times.items()}})


if __name__ == "__main__":
    main()
