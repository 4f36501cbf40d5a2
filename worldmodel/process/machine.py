"""Description of hardware and software, stored in checkpoints. The last bits of a loss may depend on it."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from worldmodel.process.cores import processor_name

PACKAGES = ("worldmodel", "torch", "accelerate", "numpy", "av")


def describe_machine(device: torch.device, processes: int) -> dict[str, Any]:
    """Device, processors, processes, threads, system and package versions. It names no host and no user."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "processor": processor_name(),
        "processes": processes,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {"python": platform.python_version(), **{name: found for name in PACKAGES if (found := _version(name))}},
    }


def environment_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Differences that may change the last bits of a loss, such as "threads 4 -> 2". Unknown values are skipped."""
    old, new = _flattened(before), _flattened(now)
    names = ("device", "processor", "processes", "threads", "system", "python", *PACKAGES)
    pairs = [(name, old.get(name), new.get(name)) for name in names]
    return [f"{name} {a} -> {b}" for name, a, b in pairs if None not in (a, b) and a != b]


def _flattened(machine: Mapping[str, Any]) -> dict[str, Any]:
    """The description with the entries of "versions" at the top level."""
    versions = machine.get("versions")
    return {**machine, **(versions if isinstance(versions, Mapping) else {})}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a checkout that is not installed
        return None
