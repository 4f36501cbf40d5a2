"""Models whose code is that of `transformers`: their strict loading, and the fields of their configs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from worldmodel.models.pretrained.files import read_tensors
from worldmodel.models.pretrained.layouts import PretrainedError, named_problems

# Fields that say where a config was read from or what a classifier calls its classes, not what the network computes.
_OF_ORIGIN = ("_name_or_path", "_commit_hash", "id2label", "label2id")


def config_fields(config: Any) -> dict[str, Any]:
    """The fields of a config of transformers with all defaults, without the folder or model id that it was read from.

    Fields that its class does not know, which anybody may have written into a config.json, are left out.
    """
    known = type(config)().to_dict()
    found: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))
    return without_origin({key: value for key, value in found.items() if key in known})


def without_origin(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a config.json without those that do not change what the network computes and may name a path or a user."""
    return {key: value for key, value in fields.items() if key not in _OF_ORIGIN}


def load_strictly(kind: str, folder: Path) -> Any:
    """Load a folder as the class `kind` of transformers, in float32.

    Raises PretrainedError that names damaged files, and weights that are missing, unknown or of another shape; transformers
    itself would leave such layers random, and only warn.
    """
    import transformers

    read_tensors(folder)  # raises an error that names a damaged file
    net, report = getattr(transformers, kind).from_pretrained(
        folder, output_loading_info=True, local_files_only=True, use_safetensors=True, dtype=torch.float32
    )
    problems = [f"{key} is missing" for key in sorted(report["missing_keys"])]
    problems += [f"{key} is not part of this model" for key in sorted(report["unexpected_keys"])]
    problems += [f"{key} is of another shape" for key, *_ in sorted(report["mismatched_keys"])]
    if problems:
        raise PretrainedError(f"weights in {folder} do not fit {kind}: {named_problems(problems)}")
    return net
