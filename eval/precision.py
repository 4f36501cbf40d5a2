"""The precision in which an evaluation runs a model: float32, or bfloat16 by `--precision bf16`.

In bfloat16 the products of matrices inside `encode`, `forecast` and the other methods that run a network are computed in
bfloat16, as in training with `train.precision: bf16`. What they return is float32 again. Everything after that is
computed in float32 or float64 in both cases: differences of forecasts and targets, covariances, whitening, scores.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from eval.errors import EvalError
from worldmodel.models.world_model import WorldModel
from worldmodel.process.devices import multiplies_bfloat16

Precision = Literal["fp32", "bf16"]
METHODS = (
    "encode",
    "encode_context",
    "encode_context_and_target",
    "forecast",
    "forecast_all",
    "forecast_from_latents",
    "layers",
    "rollout",
)
"""Methods of models that run a network. `normalise` and `distance` stay in float32."""


def add_precision_argument(parser: argparse.ArgumentParser) -> None:
    """Add --precision."""
    parser.add_argument(
        "--precision",
        choices=("fp32", "bf16"),
        default="fp32",
        help="of the model: bf16 is faster where the device multiplies bfloat16, and changes results slightly (default fp32)",
    )


def check_precision(precision: Precision, device: torch.device) -> None:
    """Raise EvalError for bf16 on a device without instructions for it, where it would be slower than float32."""
    if precision == "bf16" and not multiplies_bfloat16(device):
        raise EvalError(
            f"--precision bf16: the device {device} has no instructions that multiply bfloat16, so it would be slower than "
            "float32; leave the option out"
        )


def in_precision(model: WorldModel, precision: Precision) -> WorldModel:
    """Return the model with METHODS that compute in this precision and return float32. The model itself is changed."""
    if precision == "bf16":
        device = next(model.parameters()).device.type if isinstance(model, nn.Module) else "cpu"
        for name in METHODS:
            if hasattr(model, name):
                setattr(model, name, _in_bfloat16(getattr(model, name), device))
    return model


def stored_with(precision: Precision) -> dict[str, str]:
    """The part of the key of a stored result that names the precision. float32 has none: it is that of earlier versions."""
    return {} if precision == "fp32" else {"precision": precision}


def _in_bfloat16(method: Callable[..., Any], device: str) -> Callable[..., Any]:
    @functools.wraps(method)
    def run(*args: Any, **options: Any) -> Any:
        with torch.autocast(device, torch.bfloat16):
            return _to_float32(method(*args, **options))

    return run


def _to_float32(result: Any) -> Any:
    """Convert tensors of bfloat16, alone or in a tuple or mapping."""
    if isinstance(result, Tensor):
        return result.float() if result.dtype == torch.bfloat16 else result
    if isinstance(result, tuple):
        return tuple(_to_float32(part) for part in result)
    if isinstance(result, Mapping):
        return {name: _to_float32(part) for name, part in result.items()}
    return result
