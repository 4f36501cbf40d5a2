"""What a run is trained on, noted in its checkpoints. On another machine the last bits of a loss may differ."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("worldmodel", "torch", "accelerate", "numpy", "av")


def machine(device: torch.device, processes: int) -> dict[str, Any]:
    """Device and processes, system, and versions of what computes; names no host and no user."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "processor": _processor(),
        "processes": processes,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {"python": platform.python_version(), **{name: found for name in PACKAGES if (found := _version(name))}},
    }


def changed_since(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What may change the last bits of a loss and is not as it was, such as "threads 4 -> 2"; unknown values are left out."""
    values = [{**it, **(versions if isinstance(versions := it.get("versions"), Mapping) else {})} for it in (before, now)]
    names = ("device", "processor", "processes", "threads", "system", "python", *PACKAGES)
    pairs = [(name, *(its.get(name) for its in values)) for name in names]
    return [f"{name} {old} -> {new}" for name, old, new in pairs if None not in (old, new) and old != new]


def _processor() -> str | None:
    """The model of the processor; None where the system does not say."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a checkout that is not installed
        return None
