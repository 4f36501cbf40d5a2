"""Devices for computation, and the argument that selects one."""

from __future__ import annotations

import argparse

import torch


def available_devices() -> list[str]:
    """Names of the devices of this machine, the fastest kind first."""
    cuda = ["cuda", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))] if torch.cuda.is_available() else []
    return [*cuda, *(["mps"] if torch.backends.mps.is_available() else []), "cpu"]


def add_device_argument(parser: argparse.ArgumentParser, purpose: str = "device of all computations") -> None:
    """Add --device. An unavailable device is refused with a list of the available ones."""
    devices = available_devices()
    text = f"{purpose}: {', '.join(devices)} (default {devices[0]})"
    parser.add_argument("--device", choices=devices, default=devices[0], metavar="NAME", help=text)
