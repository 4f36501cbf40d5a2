"""Devices for computation, the argument that selects one, and data that reaches a device without waiting for it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

# Kinds of device that copy pinned memory while the program goes on. Elsewhere the source might be freed too early.
ASYNCHRONOUS = {"cuda"}


def available_devices() -> list[str]:
    """Names of the devices of this machine, the fastest kind first."""
    cuda = ["cuda", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))] if torch.cuda.is_available() else []
    return [*cuda, *(["mps"] if torch.backends.mps.is_available() else []), "cpu"]


def add_device_argument(parser: argparse.ArgumentParser, purpose: str = "device of all computations") -> None:
    """Add --device. An unavailable device is refused with a list of the available ones."""
    devices = available_devices()
    text = f"{purpose}: {', '.join(devices)} (default {devices[0]})"
    parser.add_argument("--device", choices=devices, default=devices[0], metavar="NAME", help=text)


@lru_cache
def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for products of bfloat16. Emulated products are several times slower than float32.

    On a processor: AVX512-BF16 or AMX.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return device.type == "xpu"
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor of the CPU to a device. On CUDA the copy is made from pinned memory, and nothing waits for the device."""
    if device.type not in ASYNCHRONOUS:
        return tensor.to(device)
    return (tensor.pin_memory() if torch.cuda.is_available() else tensor).to(device, non_blocking=True)


def constants_like(like: Tensor, values: Sequence[float]) -> Tensor:
    """A vector of numbers in the dtype of `like`, made on its device: a copy from the CPU would wait for the device."""
    return torch.stack([like.new_full((), value) for value in values])
