"""Time and memory of saving checkpoints: whole or sharded, at once or while training goes on.

    python -m benchmarks.checkpoint [--gb 0.5] [--ranks 2] [--repeats 5] [--out DIR] [--folder FOLDER]

Trains nothing: a vision transformer of the masked family, with weights and moments of about --gb GB, is sharded by FSDP2 over
processes of this machine (gloo), and saved several times in each way. Printed are medians: how long the loop is blocked, how
long it takes until the checkpoint exists, both per GB; how much longer a matrix product takes while files are written; and the
largest memory of rank 0 beyond that before the first save, which is not timed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace

import psutil
import torch
from accelerate import Accelerator

from benchmarks.measure import describe_machine
from worldmodel.files.atomic import write_json
from worldmodel.files.outputs import output_file
from worldmodel.process.arguments import whole_number
from worldmodel.ranks.monitor import RankMonitor
from worldmodel.ranks.peers import Peer
from worldmodel.recipe import Recipe
from worldmodel.runs.run_log import RunLog
from worldmodel.runs.save_run import CheckpointSaver
from worldmodel.training.setup import TrainingSetup, build_learner, distribute

WAYS = (("single", False), ("sharded", False), ("single", True), ("sharded", True))
WIDTH, POLL_S = 512, 0.02


@dataclass(frozen=True)
class Result:
    """Medians over the saves of one way."""

    format: str
    asynchronous: bool
    gb: float  # of a checkpoint
    blocked_s: float  # how long `save` took
    total_s: float  # until the checkpoint existed
    slowdown: float | None  # time of a step while files were written / without; None where nothing is written meanwhile
    memory_gb: float  # largest memory of rank 0 beyond that before the first save


class PeakMemory:
    """Largest resident memory of this process, sampled every 5 ms."""

    def __init__(self) -> None:
        self._process, self._ended = psutil.Process(), threading.Event()
        self.start = self.peak = self._process.memory_info().rss
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        while not self._ended.wait(0.005):
            self.peak = max(self.peak, self._process.memory_info().rss)

    def close(self) -> float:
        """GB beyond the memory at the start."""
        self._ended.set()
        self._thread.join()
        return (self.peak - self.start) / 1e9


def recipe_of(gb: float, way: str, asynchronous: bool, run: Path) -> Recipe:
    """A recipe whose weights and moments take about so many GB. A block of this width has 3.15 M weights."""
    depth = max(1, round(gb * 1e9 / 12 / (12 * WIDTH**2)))
    return Recipe.model_validate(
        {
            "run": str(run),
            "window": {"frames": 4, "size_px": 128},
            "data": {"batch_size": 4},
            "model": {
                "kind": "masked",
                "encoder": {"width": WIDTH, "depth": depth, "heads": 8},
                "target": {"kind": "shared", "stop_gradient": True},
            },
            "objectives": {"forecast": {"kind": "forecast", "distance": "l1"}, "spread": {"kind": "vicreg"}},
            "train": {"parallel": "fsdp2"},
            "checkpoint": {"format": way, "asynchronous": asynchronous, "keep": 1},
            "decoder": {"max_steps": 0},
        }
    )


def step_s(matrix: torch.Tensor) -> float:
    began = time.perf_counter()
    matrix @ matrix
    return time.perf_counter() - began


def measure(gb: float, way: str, asynchronous: bool, repeats: int, run: Path) -> Result:
    """Every rank must call this function."""
    torch.set_num_threads(1)
    recipe = recipe_of(gb, way, asynchronous, run)
    accelerator = Accelerator(cpu=True)
    built = distribute(build_learner(recipe), recipe, None, accelerator, None)  # type: ignore[arg-type]
    windows = SimpleNamespace(sizes=[1], digests=["none"])
    setup = TrainingSetup(recipe, accelerator, windows, built.learner, built.optimizers)  # type: ignore[arg-type]
    for parameter in built.learner.parameters():
        parameter.grad = torch.zeros_like(parameter)
    for optimizer in built.optimizers:  # so that there are moments
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    matrix = torch.randn(600, 600)
    blocked, total, busy, idle = [], [], [], [step_s(matrix) for _ in range(200)]
    with RunLog(run, recipe, main=accelerator.is_main_process) as log:
        saver = CheckpointSaver(setup, log, RankMonitor(Peer.this_process(accelerator.process_index)))
        importlib.import_module("torch.distributed.checkpoint.state_dict")  # its memory is not that of a save
        memory = PeakMemory()
        saver.save(1)
        saver.finish()
        for number in range(2, repeats + 2):
            accelerator.wait_for_everyone()
            began = time.perf_counter()
            saver.save(number)
            blocked.append(time.perf_counter() - began)
            while asynchronous and not (run / "checkpoints" / f"{number:08d}").exists():
                until = time.perf_counter() + POLL_S
                while time.perf_counter() < until:
                    busy.append(step_s(matrix))
                saver.poll()
                accelerator.wait_for_everyone()
            total.append(time.perf_counter() - began)
        memory_gb = memory.close()
    last = run / "checkpoints" / f"{repeats + 1:08d}"
    size = sum(file.stat().st_size for file in last.iterdir()) / 1e9
    slowdown = statistics.median(busy) / statistics.median(idle) if busy else None
    medians = statistics.median(blocked), statistics.median(total)
    return Result(way, asynchronous, size, *medians, slowdown, memory_gb)


def launch(way: str, asynchronous: bool, args: argparse.Namespace, folder: Path) -> Result:
    out = folder / "result.json"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(args.ranks)]
    command += ["-m", "benchmarks.checkpoint", "--child", f"{way},{int(asynchronous)},{out},{folder / 'run'}"]
    command += ["--gb", str(args.gb), "--repeats", str(args.repeats)]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""})
    return Result(**json.loads(out.read_text()))


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.checkpoint", description=__doc__)
    parser.add_argument("--gb", type=float, default=0.5, help="GB of weights and moments (default: %(default)s)")
    parser.add_argument("--ranks", type=whole_number(1), default=2, help="processes (default: %(default)s)")
    parser.add_argument("--repeats", type=whole_number(1), default=5, help="saves in each way (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where checkpoints are written, and removed (default: a temporary folder)")
    parser.add_argument("--out", type=Path, help="folder for checkpoint.json")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        way, asynchronous, out, run = args.child.split(",")
        result = measure(args.gb, way, asynchronous == "1", args.repeats, Path(run))
        if os.environ["RANK"] == "0":
            write_json(Path(out), asdict(result))
        return
    results = []
    for way, asynchronous in WAYS:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            results.append(launch(way, asynchronous, args, Path(folder)))
    print(f"{describe_machine().line()} {args.ranks} processes, checkpoint of {results[0].gb:.2f} GB.\n")
    print("| format | asynchronous | blocked, s per GB | until it exists, s per GB | steps meanwhile | memory, GB |")
    print("|---|---|---|---|---|---|")
    for r in results:
        steps = "" if r.slowdown is None else f"{r.slowdown:.2f} x"
        times = f"{r.blocked_s / r.gb:.2f} | {r.total_s / r.gb:.2f}"
        print(f"| {r.format} | {'yes' if r.asynchronous else 'no'} | {times} | {steps} | {r.memory_gb:.2f} |")
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        with output_file(args.out / "checkpoint.json"):
            results_json = [asdict(result) for result in results]
            write_json(args.out / "checkpoint.json", {"machine": asdict(describe_machine()), "results": results_json})


if __name__ == "__main__":
    main()
