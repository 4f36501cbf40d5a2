"""Files of a folder of a pretrained model, which others wrote: checked before a model is built from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from worldmodel.files.json_files import read_object
from worldmodel.files.regular_file import open_regular
from worldmodel.models.pretrained.layouts import PretrainedError

CONFIG = "config.json"
LARGEST = 1 << 16  # of a whole number in a config.json: widths, layers, frames, pixels
LARGEST_RATIO = 64.0  # of the width of an MLP to that of its layer
LEADS_ELSEWHERE = (
    "auto_map",
    "quantization_config",
    "attn_implementation",
    "_attn_implementation",
    "_attn_implementation_internal",
    "transformers_weights",
)


def read_config_file(folder: Path) -> dict[str, Any]:
    """config.json. Raises PretrainedError where it is damaged, or names code or other files, which would be fetched."""
    given = read_object(folder / CONFIG, PretrainedError)
    if other := [key for key in LEADS_ELSEWHERE if given.get(key) is not None]:
        raise PretrainedError(
            f"{folder / CONFIG}: {', '.join(other)} names code or files elsewhere; remove it, nothing else is read or run"
        )
    if (folder / "adapter_config.json").exists():
        raise PretrainedError(f"{folder} has an adapter_config.json, which names another model; give a folder without adapters")
    return given


def check_numbers(given: Mapping[str, Any], defaults: Mapping[str, Any], where: object) -> None:
    """Raise PretrainedError for a number of a config.json that no model can have, before anything is allocated.

    A field whose default is a whole number must be one from 1 to LARGEST; another one a ratio above 0.
    """
    for key, default in defaults.items():
        value = given.get(key, default)
        if isinstance(default, int):
            if type(value) is not int or not 1 <= value <= LARGEST:
                raise PretrainedError(f"{where}/{CONFIG}: {key} is {_short(value)}; expected an integer from 1 to {LARGEST}")
        elif type(value) not in (int, float) or not 0 < value <= LARGEST_RATIO or not math.isfinite(value):
            raise PretrainedError(f"{where}/{CONFIG}: {key} is {_short(value)}; expected a number from 0 to {LARGEST_RATIO:g}")


def check_weights_fit(weights: int, folder: Path) -> None:
    """Raise PretrainedError for a config.json of more weights than its files can hold, at a byte each."""
    held = sum(file.stat().st_size for file in weight_files(folder))
    if weights > held:
        more = f"the *.safetensors beside it hold {held:,} bytes"
        raise PretrainedError(f"{folder}/{CONFIG} describes a model of at least {weights:,} weights; {more}")


def weight_files(folder: Path) -> list[Path]:
    """The *.safetensors of a folder. Raises PretrainedError where there are none, or an index names files elsewhere."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise PretrainedError(f"{folder} has no *.safetensors; nothing else is read from a folder, as it could run code")
    names = {file.name for file in files}
    for index in sorted(folder.glob("*.index.json")):
        where = read_object(index, PretrainedError).get("weight_map")
        if not isinstance(where, dict):
            raise PretrainedError(f"{index} has no weight_map, which says in which file each tensor is")
        for name in where.values():
            if name not in names:
                raise PretrainedError(f"{index} names {_short(name)}, which is none of the *.safetensors beside it")
    return files


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder, by name. Raises PretrainedError that names the file which is damaged or has NaN in it."""
    found: dict[str, Tensor] = {}
    for file in weight_files(folder):
        try:
            open_regular(file).close()
            tensors = load_file(file)
        except (SafetensorError, OSError, ValueError, TypeError, RuntimeError, KeyError, MemoryError) as error:
            raise PretrainedError(f"{file} is damaged or is no safetensors file ({_line(error)})") from None
        for name, tensor in tensors.items():
            if name in found:
                raise PretrainedError(f"{file} holds {_short(name)}, which another file of {folder} holds too")
            if not tensor.is_floating_point():
                raise PretrainedError(f"{file}: {_short(name)} holds {tensor.dtype}; expected floating-point numbers")
            if not torch.isfinite(tensor.float()).all():
                raise PretrainedError(f"{file}: {_short(name)} holds NaN or infinity, so that the model could compute nothing")
        found |= tensors
    return found


def _short(value: object) -> str:
    said = ascii(value)
    return said if len(said) <= 60 else f"{said[:57]}..."


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
