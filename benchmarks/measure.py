"""Paired measurements of speed: description of the machine, CPU time beside wall time, JSON and Markdown output.

Every benchmark of this folder uses this module. It does not import torch.

    contenders = {"ours": run_ours, "peer": run_peer}
    result = paired(contenders, rounds=7)
    result.ratio("peer", "ours").median  # CPU time of the peer / CPU time of ours: above 1 means that ours is faster

Other programs on the machine change wall times a lot, CPU times less, and ratios of CPU times of one round least.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from worldmodel.files.atomic import write_json
from worldmodel.files.outputs import output_file
from worldmodel.process.cores import processor_name, usable_cores
from worldmodel.process.git_commit import current_commit


@dataclass(frozen=True)
class Machine:
    """Hardware, software, commit and date of a measurement. It names no host and no user."""

    processor: str | None
    cores: int  # that this process may use
    system: str
    versions: dict[str, str]
    threads: str  # OMP_NUM_THREADS
    commit: str | None
    date: str  # UTC

    def line(self) -> str:
        """One line for the text above a table."""
        versions = ", ".join(f"{name} {found}" for name, found in self.versions.items())
        commit = f"commit {self.commit}, " if self.commit else ""
        return f"{self.processor or 'unknown processor'}, {self.cores} cores, {versions}, {commit}{self.date}."


def describe_machine(packages: Sequence[str] = ("torch", "numpy", "av")) -> Machine:
    """Describe this machine with the versions of Python and of those `packages` that are installed."""
    found = {"Python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return Machine(
        processor=processor_name(),
        cores=usable_cores(),
        system=f"{platform.system()} {platform.machine()}",
        versions=found,
        threads=os.environ.get("OMP_NUM_THREADS", ""),
        commit=current_commit(),
        date=datetime.now(timezone.utc).strftime("%Y-%m-%d"),
    )


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of several values."""

    median: float
    low: float  # first quartile
    high: float  # third quartile

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}-{self.high:.2f})"


@dataclass(frozen=True)
class Samples:
    """Seconds of one contender, one value per round."""

    cpu_s: tuple[float, ...]  # of this process and its child processes, over all threads
    wall_s: tuple[float, ...]


@dataclass(frozen=True)
class Comparison:
    """Samples of several contenders that ran in turn, round by round."""

    samples: dict[str, Samples]

    def cpu_s(self, name: str) -> float:
        """Median CPU time."""
        return statistics.median(self.samples[name].cpu_s)

    def wall_s(self, name: str) -> float:
        """Median wall time."""
        return statistics.median(self.samples[name].wall_s)

    def ratio(self, name: str, to: str) -> Spread:
        """CPU time of `name` divided by that of `to` in the same round."""
        return spread_of([_divided(a, b) for a, b in zip(self.samples[name].cpu_s, self.samples[to].cpu_s, strict=True)])

    def wall_ratio(self, name: str, to: str) -> Spread:
        """Wall time of `name` divided by that of `to` in the same round."""
        return spread_of([_divided(a, b) for a, b in zip(self.samples[name].wall_s, self.samples[to].wall_s, strict=True)])

    def as_json(self, reference: str | None = None) -> dict[str, Any]:
        """Medians, all samples and, with a `reference`, the ratios of all contenders to it."""
        found: dict[str, Any] = {}
        for name, samples in self.samples.items():
            found[name] = {"median_cpu_s": self.cpu_s(name), "median_wall_s": self.wall_s(name), **asdict(samples)}
            if reference is not None:
                found[name][f"cpu_ratio_to_{reference}"] = asdict(self.ratio(name, reference))
        return found


def paired(contenders: Mapping[str, Callable[[], object]], rounds: int = 7, warmups: int = 1) -> Comparison:
    """Run all contenders once per round, each round in another order, and measure CPU and wall time of every call.

    Each contender runs `warmups` times before, unmeasured. Child processes that a contender leaves running are included;
    CPU time of a child that nobody waits for and that ends during the call is not.
    """
    for _ in range(warmups):
        for run in contenders.values():
            run()
    names = list(contenders)
    cpu: dict[str, list[float]] = {name: [] for name in names}
    wall: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            children = _children_cpu_s()
            cpu_start, wall_start = time.process_time(), time.perf_counter()
            contenders[name]()
            wall_s, cpu_s = time.perf_counter() - wall_start, time.process_time() - cpu_start
            wall[name].append(wall_s)
            cpu[name].append(cpu_s + _children_cpu_s() - children)
    return Comparison({name: Samples(tuple(cpu[name]), tuple(wall[name])) for name in names})


def cpu_time_s() -> float:
    """CPU time of this process, of its children that have ended, and of its descendants that still run, in seconds."""
    return time.process_time() + _children_cpu_s()


def _children_cpu_s() -> float:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = ended.ru_utime + ended.ru_stime
    for child in psutil.Process().children(recursive=True):
        try:
            times = child.cpu_times()
        except psutil.Error:  # it has ended meanwhile
            continue
        total += times.user + times.system + getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return total


def spread_of(values: Sequence[float]) -> Spread:
    """Median and quartiles."""
    if len(values) < 2:
        return Spread(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high)


def markdown_table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join("| " + " | ".join(map(str, cells)) + " |" for cells in lines)


def add_out(parser: argparse.ArgumentParser) -> None:
    """Add the flag --out to a benchmark."""
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="also write the results to this file")


def write_results(path: Path | None, machine: Machine, results: Mapping[str, Any]) -> None:
    """Write machine and results as JSON, unless `path` is None. Raises ForeignFileError for a file of somebody else."""
    if path is None:
        return
    with output_file(path):
        write_json(path, {"machine": asdict(machine), **results})


def _divided(a: float, b: float) -> float:
    return a / b if b else float("nan")
