"""Time from the start of a training process to its first update, in parts: `python -m benchmarks.startup`.

Runs the demo recipe again and again, each time in a fresh process that ends after the first update: as a program, and by
`accelerate launch`, which starts a process of its own before. With `--against COMMIT` the code of that commit runs in turn with
the code of this folder. CPU time is that of the training process and of its data workers; the parts are those of the training
process, but for the launcher, whose CPU time also has what it does while the training ends.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.measure import Comparison, Samples, add_out, describe_machine, markdown_table, spread_of, write_results

ROOT = Path(__file__).resolve().parent.parent
PARTS = (
    "launcher",
    "Python and torch",
    "other imports",
    "manifest",
    "model",
    "optimizers",
    "held-out windows",
    "first batch",
    "first step",
    "rest",
)
_SMALL_WORLD = ("--train", "300", "--size-px", "64", "--frames", "24", "--fps", "12", "--seed", "0")  # as in configs/demo.yaml


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a table, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", metavar="COMMIT", help="also measure this commit, in turn with the code of this folder")
    parser.add_argument("--manifest", type=Path, help="videos like those of the demo (default: 300 are made, in half a minute)")
    parser.add_argument("--rounds", type=int, default=7, help="starts of each contender (default 7)")
    add_out(parser)
    args = parser.parse_args(argv)
    machine = describe_machine(("torch", "accelerate", "numpy", "av"))
    with tempfile.TemporaryDirectory() as folder:
        manifest = args.manifest.absolute() if args.manifest else _make_videos(Path(folder))
        contenders = {"this code": (ROOT, False), "accelerate launch": (ROOT, True)}
        if args.against:
            contenders[args.against] = _extract(args.against, Path(folder) / "before"), False
        starts: dict[str, list[dict[str, Any]]] = {name: [] for name in contenders}
        for number in range(args.rounds + 1):
            for name in list(contenders)[:: 1 if number % 2 else -1]:
                start = _start(*contenders[name], manifest, Path(folder))
                if number:  # the first start compiles modules to bytecode and fills the page cache
                    starts[name].append(start)
    found = Comparison({name: Samples(tuple(_column(s, "cpu_s")), tuple(_column(s, "wall_s"))) for name, s in starts.items()})
    print(f"{machine.line()}\n\n{_table(starts, found)}")
    if args.against:
        print(f"\nCPU time of this code / {args.against}: {found.ratio('this code', args.against)}")
        print(f"Wall time of this code / {args.against}: {found.wall_ratio('this code', args.against)}")
    parts = {name: {part: asdict(spread_of(_parts(s, part))) for part in PARTS} for name, s in starts.items()}
    write_results(args.out, machine, {"starts": found.as_json("this code"), "parts_cpu_s": parts})
    return 0


def _make_videos(folder: Path) -> Path:
    command = [sys.executable, "-m", "data_prep", "synthesize", str(folder / "videos"), *_SMALL_WORLD]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return folder / "videos" / "train.parquet"


def _extract(commit: str, folder: Path) -> Path:
    """Write the files of a commit into a folder."""
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    return folder


def _start(root: Path, by_launcher: bool, manifest: Path, folder: Path) -> dict[str, Any]:
    """Start a training of the code in `root`, up to the first update, and return its times."""
    with tempfile.TemporaryDirectory(dir=folder) as run:
        settings = [f"run={run}/run", f"data.manifest={manifest}", "train.max_steps=3", "optim.warmup_steps=1"]
        child = Path(__file__).with_name("startup_child.py")
        result = Path(run) / "times.json"
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        launcher = ["-m", "accelerate.commands.launch"] if by_launcher else []
        started, before = time.time(), _cpu_of_children()
        done = subprocess.run(
            [sys.executable, *launcher, str(child), str(root), str(result), "configs/demo.yaml", *settings],
            cwd=root, env={**environment, "PYTHONPATH": str(root)}, capture_output=True, text=True,
        )  # fmt: skip
        if not result.exists():
            raise SystemExit(f"the training of {root} did not reach its first update:\n{done.stdout}{done.stderr}")
        times: dict[str, Any] = json.loads(result.read_text())
    if by_launcher:
        wall_s, cpu_s = times["created"] - started, _cpu_of_children() - before - times["cpu_s"]
        times["wall_s"], times["cpu_s"] = times["wall_s"] + wall_s, times["cpu_s"] + cpu_s
        times["parts_wall_s"]["launcher"], times["parts_cpu_s"]["launcher"] = wall_s, cpu_s
    return times


def _cpu_of_children() -> float:
    """CPU time of all processes that this one started and that have ended, with those that they started."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _column(starts: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    return [start[name] for start in starts]


def _parts(starts: Sequence[Mapping[str, Any]], part: str, clock: str = "parts_cpu_s") -> list[float]:
    return [start[clock].get(part, 0.0) for start in starts]


def _table(starts: Mapping[str, Sequence[Mapping[str, Any]]], found: Comparison) -> str:
    """Medians of CPU and wall time, of each part and in total."""
    headers = ["part"] + [f"{name}, {clock} s" for name in starts for clock in ("CPU", "wall")]
    rows: list[list[str]] = []
    for part in PARTS:
        cells = [spread_of(_parts(s, part, clock)) for s in starts.values() for clock in ("parts_cpu_s", "parts_wall_s")]
        rows.append([part, *(f"{cell.median:.2f}" for cell in cells)])
    workers = [spread_of(_column(s, "workers_cpu_s")).median for s in starts.values()]
    rows.append(["data workers", *(cell for median in workers for cell in (f"{median:.2f}", ""))])
    totals = [value for name in starts for value in (found.cpu_s(name), found.wall_s(name))]
    rows.append(["**start to first update**", *(f"**{value:.2f}**" for value in totals)])
    return markdown_table(headers, rows)


if __name__ == "__main__":
    sys.exit(main())
