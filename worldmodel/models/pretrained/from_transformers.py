"""Strict loading of models whose code is that of `transformers`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from worldmodel.models.pretrained.files import read_tensors
from worldmodel.models.pretrained.layouts import PretrainedError, named_problems


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
