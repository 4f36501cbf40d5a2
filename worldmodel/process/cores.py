"""How many processors this process may use: fewer than the machine has under taskset, in a container, or in a job of a cluster.

Numbers of threads and of worker processes follow from it. No torch.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import psutil

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")
_TOPOLOGY = Path("/sys/devices/system/cpu")


def usable_cores(physical: bool = False, processes: int = 1) -> int:
    """Processors that this process may use, at least 1. physical: two hyperthreads of one core count once.

    processes: how many that were started together share them. Where a launcher has bound each of them to processors of its
    own, only the limit of the control group is shared.
    """
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    count = len(allowed)
    if physical:
        count = min(psutil.cpu_count(logical=False) or count, _distinct_cores(allowed))
    own = count if _is_bound_apart(len(allowed)) else count // processes
    return max(1, min(own, math.floor(cgroup_limit() / processes)))


def _is_bound_apart(allowed: int) -> bool:
    """Whether this process may use fewer processors than the one that started it."""
    try:
        return allowed < len(psutil.Process(os.getppid()).cpu_affinity())
    except (psutil.Error, AttributeError):  # macOS does not tell
        return False


def cgroup_limit(own: Path = _OWN_CGROUP, root: Path = _CGROUPS) -> float:
    """Processors that the control groups of this process grant, the smallest of them; a large number where none limits."""
    limits = [float(os.cpu_count() or 1)]
    for line in _text(own).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":  # version 2
            limits += [_quota(folder / "cpu.max") for folder in _folders(root, path)]
        elif "cpu" in controllers.split(","):  # version 1
            for mount in {root / controllers, root / "cpu"}:
                limits += [
                    _quota(folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us") for folder in _folders(mount, path)
                ]
    return min(limits)


def _folders(mount: Path, path: str) -> list[Path]:
    """The folders of a control group and of those it lies in; a container may see its own as the root."""
    group = mount / path.strip("/")
    return [folder for folder in (group, *group.parents) if folder == mount or mount in folder.parents]


def _quota(*files: Path) -> float:
    """Time a period over the period; infinite where there is no limit."""
    try:
        quota, period = (float(word) for file in files for word in _text(file).split())
        return quota / period if quota > 0 and period > 0 else math.inf
    except ValueError:  # no such file, or "max"
        return math.inf


def _distinct_cores(processors: list[int]) -> int:
    """Cores that these processors belong to; each its own where the system does not say."""
    return len({_text(_TOPOLOGY / f"cpu{number}/topology/thread_siblings_list") or str(number) for number in processors})


def _text(file: Path) -> str:
    """What a file of the kernel holds; empty where there is none."""
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""
