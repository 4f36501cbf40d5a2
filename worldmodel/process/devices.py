"""What a command computes on."""

from __future__ import annotations

import argparse

import torch


def devices() -> list[str]:
    """What this machine has, the best first."""
    cuda = ["cuda", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))] if torch.cuda.is_available() else []
    return [*cuda, *(["mps"] if torch.backends.mps.is_available() else []), "cpu"]


def add_device(parser: argparse.ArgumentParser, what: str = "what it computes on") -> None:
    """--device; one that is not here is refused with those that are."""
    here = devices()
    said = f"{what}: {', '.join(here)} (default {here[0]})"
    parser.add_argument("--device", choices=here, default=here[0], metavar="NAME", help=said)
