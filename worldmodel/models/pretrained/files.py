"""Checked reading of the files of a pretrained model. Others wrote them, so they are checked before a model is built."""

from __future__ import annotations

import math
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from worldmodel.files.json_files import read_json_object
from worldmodel.files.regular_file import open_regular
from worldmodel.models.pretrained.layouts import PretrainedError

CONFIG = "config.json"
MAX_INTEGER = 1 << 16  # in a config.json: widths, layers, frames, pixels
MAX_RATIO = 64.0  # width of an MLP / width of its layer
EXTERNAL_REFERENCES = (  # fields that make transformers load other code or files
    "auto_map",
    "quantization_config",
    "attn_implementation",
    "_attn_implementation",
    "_attn_implementation_internal",
    "transformers_weights",
)


def read_config_file(folder: Path, allowed: Sequence[str] = ()) -> dict[str, Any]:
    """Read config.json. Raises PretrainedError where it is damaged, or refers to code or files outside the folder.

    allowed: such references that are harmless, because this project does not give the folder to transformers.
    """
    given = read_json_object(folder / CONFIG, PretrainedError)
    if problems := reference_problems(given, allowed):
        raise PretrainedError(f"{folder / CONFIG}: {problems[0]}")
    if (folder / "adapter_config.json").exists():
        raise PretrainedError(f"{folder} has an adapter_config.json, which names another model; give a folder without adapters")
    return given


def reference_problems(given: Mapping[str, Any], allowed: Sequence[str] = ()) -> list[str]:
    """Say which fields of a config.json refer to other code or files: one line, or none. allowed: see `read_config_file`."""
    other = [key for key in EXTERNAL_REFERENCES if given.get(key) is not None and key not in allowed]
    if not other:
        return []
    return [f"{', '.join(other)} refers to code or files outside the folder; remove it, they are neither read nor run"]


def number_problems(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    """Say which numbers in a config.json are impossible, one line for each.

    A field whose default is an integer must be an integer from 1 to MAX_INTEGER; any other field must be a number above 0 and
    at most MAX_RATIO.
    """
    problems = []
    for key, default in defaults.items():
        value = given.get(key, default)
        if isinstance(default, int):
            if type(value) is not int or not 1 <= value <= MAX_INTEGER:
                problems.append(f"{key} is {short_text(value)}; expected an integer from 1 to {MAX_INTEGER}")
        elif type(value) not in (int, float) or not 0 < value <= MAX_RATIO or not math.isfinite(value):
            problems.append(f"{key} is {short_text(value)}; expected above 0, at most {MAX_RATIO:g}")
    return problems


def check_numbers(given: Mapping[str, Any], defaults: Mapping[str, Any], where: object) -> None:
    """Raise PretrainedError for impossible numbers in a config.json, before anything is allocated; see `number_problems`."""
    if problems := number_problems(given, defaults):
        raise PretrainedError(f"{where}/{CONFIG}: {problems[0]}")


def check_weights_fit(weights: int, folder: Path) -> None:
    """Raise PretrainedError if the model of a config.json has more weights than its files have bytes."""
    available = sum(file.stat().st_size for file in weight_files(folder))
    if weights > available:
        raise PretrainedError(
            f"{folder}/{CONFIG} describes a model of at least {weights:,} weights; its *.safetensors have {available:,} bytes"
        )


def weight_files(folder: Path) -> list[Path]:
    """List the *.safetensors of a folder. Raises PretrainedError if there are none, or an index names other files."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise PretrainedError(f"{folder} has no *.safetensors; other formats are not read, because they can run code")
    names = {file.name for file in files}
    for index in sorted(folder.glob("*.index.json")):
        weight_map = read_json_object(index, PretrainedError).get("weight_map")
        if not isinstance(weight_map, dict):
            raise PretrainedError(f"{index} has no weight_map, which names the file of each tensor")
        for name in weight_map.values():
            if name not in names:
                raise PretrainedError(f"{index} names {short_text(name)}, which is not among the *.safetensors of its folder")
    return files


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Read all tensors of a folder by name. Raises PretrainedError that names a file that is damaged or holds NaN."""
    found: dict[str, Tensor] = {}
    for file in weight_files(folder):
        try:
            open_regular(file).close()
            tensors = load_file(file)
        except (SafetensorError, OSError, ValueError, TypeError, RuntimeError, KeyError, MemoryError) as error:
            raise PretrainedError(f"{file} is damaged or not a safetensors file ({_line(error)})") from None
        for name, tensor in tensors.items():
            if name in found:
                raise PretrainedError(f"{file} holds {short_text(name)}, which another file of {folder} also holds")
            if not tensor.is_floating_point():
                raise PretrainedError(f"{file}: {short_text(name)} holds {tensor.dtype}; expected floating-point numbers")
            if not torch.isfinite(tensor.float()).all():
                raise PretrainedError(f"{file}: {short_text(name)} holds NaN or infinity")
        found |= tensors
    return found


def read_torch_file(file: Path) -> dict[str, Any]:
    """Read a checkpoint of the original codes. Nothing but tensors is unpickled. Raises PretrainedError."""
    try:
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise PretrainedError(f"{file} holds more than tensors, or is not a torch checkpoint: {reason}") from None
    if not isinstance(content, dict):
        raise PretrainedError(f"{file} holds a {type(content).__name__}; expected tensors by name")
    return content


def short_text(value: object) -> str:
    """A value of a file for a message, at most 60 characters."""
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
