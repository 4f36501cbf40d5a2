"""Number of processors that this process may use, and their name.

The number determines the numbers of threads and of worker processes. It is smaller than the number of processors of the
machine under taskset, in a container, or in a job of a cluster.
This module does not import torch.
"""

from __future__ import annotations

import math
import os
import platform
from pathlib import Path

import psutil

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")
_TOPOLOGY = Path("/sys/devices/system/cpu")


def usable_cores(physical: bool = False, processes: int = 1) -> int:
    """Number of processors that this process may use, at least 1.

    physical: count two hyperthreads of one core once. processes: number of processes that were
    started together and share the processors. Where a launcher has bound each of them to its own
    processors, they share only the limit of the control group.
    """
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    count = len(allowed)
    if physical:
        count = min(psutil.cpu_count(logical=False) or count, _distinct_cores(allowed))
    own = count if _has_own_processors(len(allowed)) else count // processes
    return max(1, min(own, math.floor(cgroup_limit() / processes)))


def processor_name() -> str | None:
    """The model of the processor; None where the system does not report it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or None


def let_waiting_threads_sleep() -> None:
    """Set how threads of OpenMP wait for work, unless the user did. To be called before torch is imported.

    They spin for some microseconds, which spares most operations of a small model the waking of a thread, and then sleep. If
    they spun longer, they would take the cores from workers that decode: on two busy cores a training step of the demo takes
    715 ms with libgomp's own choice and 395 ms with this one (`benchmarks/thread_waiting.py`, docs/speed.md).
    """
    if "OMP_WAIT_POLICY" in os.environ or "GOMP_SPINCOUNT" in os.environ:
        return
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ["GOMP_SPINCOUNT"] = "2000"  # of libgomp, which torch uses on Linux; it comes before the policy


def _has_own_processors(allowed: int) -> bool:
    """Whether this process may use fewer processors than the one that started it."""
    try:
        return allowed < len(psutil.Process(os.getppid()).cpu_affinity())
    except (psutil.Error, AttributeError):  # macOS has no affinity
        return False


def cgroup_limit(own: Path = _OWN_CGROUP, root: Path = _CGROUPS) -> float:
    """The smallest number of processors that a control group of this process allows; else all of the machine."""
    limits = [float(os.cpu_count() or 1)]
    for line in _read_text(own).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":  # version 2
            limits += [_quota(folder / "cpu.max") for folder in _folders_up_to_mount(root, path)]
        elif "cpu" in controllers.split(","):  # version 1
            for mount in {root / controllers, root / "cpu"}:
                limits += [
                    _quota(folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us")
                    for folder in _folders_up_to_mount(mount, path)
                ]
    return min(limits)


def _folders_up_to_mount(mount: Path, path: str) -> list[Path]:
    """The folder of a control group and its parents up to the mount. A container may see its own group as the root."""
    group = mount / path.strip("/")
    return [folder for folder in (group, *group.parents) if folder == mount or mount in folder.parents]


def _quota(*files: Path) -> float:
    """Processor time per period, divided by the period; infinite where there is no limit."""
    try:
        quota, period = (float(word) for file in files for word in _read_text(file).split())
        return quota / period if quota > 0 and period > 0 else math.inf
    except ValueError:  # no such file, or "max"
        return math.inf


def _distinct_cores(processors: list[int]) -> int:
    """Number of physical cores of these processors. Where the system does not report them, each counts as one core."""
    return len({_read_text(_TOPOLOGY / f"cpu{number}/topology/thread_siblings_list") or str(number) for number in processors})


def _read_text(file: Path) -> str:
    """The content of a file of the kernel; "" where it cannot be read."""
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""
