"""Load checkpoints strictly, into a learner and its optimizers or as a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from worldmodel.checkpoint.opening import Checkpoint
from worldmodel.checkpoint.selection import find_checkpoint
from worldmodel.checkpoint.shards import StoredTensor, TensorFiles
from worldmodel.checkpoint.state import CheckpointError
from worldmodel.checkpoint.write import PREFIXES
from worldmodel.config import parse_config
from worldmodel.models import TrainedModel, build_model
from worldmodel.models.pretrained.hub import HUGGINGFACE, find_folder
from worldmodel.models.pretrained.layouts import PretrainedError
from worldmodel.recipe import Recipe
from worldmodel.training.optimizer import Optimizers
from worldmodel.training.row_shards import is_sharded, own_rows


def restore_checkpoint(learner: nn.Module, optimizers: Optimizers, checkpoint: Checkpoint) -> None:
    """Load a checkpoint into a wrapped learner and its optimizers. Every rank must call this function.

    Each rank reads only what it holds, whatever number of ranks wrote the checkpoint.
    Raises CheckpointError where tensors are missing or unexpected, or have another shape or dtype.
    """
    from torch.distributed.checkpoint import state_dict  # takes a second and 45 MB, which evaluation does not need

    restore_weights(learner, checkpoint)
    current: dict[str, Any] = dict(
        state_dict.get_optimizer_state_dict(learner, optimizers, options=state_dict.StateDictOptions())
    )
    moments = {f"{name}/{part}": value for name, parts in current["state"].items() for part, value in parts.items()}
    with checkpoint.open("optimizer") as files:
        _fill(moments, files, checkpoint)


def restore_weights(learner: nn.Module, checkpoint: Checkpoint, *, skip_files: Sequence[str] = ()) -> None:
    """Load the weights of a checkpoint strictly. CheckpointError names every key that does not fit.

    skip_files: files that are not loaded ("objectives", "ema"); the learner keeps its own tensors.
    """
    from torch.distributed.checkpoint import state_dict

    current: dict[str, Any] = state_dict.get_model_state_dict(learner, options=state_dict.StateDictOptions())
    with ExitStack() as stack:
        files = {
            prefix: stack.enter_context(checkpoint.open(file)) for file, prefix in PREFIXES.items() if file not in skip_files
        }
        given = {prefix + key: value for prefix, stored in files.items() for key, value in stored.items()}
        kept = tuple(PREFIXES[file] for file in skip_files)
        wanted = {key: value for key, value in current.items() if not key.startswith(kept)}
        _check_keys(given, wanted, checkpoint.folder)
        for prefix, stored in files.items():
            _fill({key: wanted[prefix + key] for key in stored}, stored, checkpoint)


@torch.no_grad()
def _fill(tensors: Mapping[str, Any], files: TensorFiles, checkpoint: Checkpoint) -> None:
    """Copy stored values into tensors in place: of a sharded tensor, into the rows that this rank holds."""
    _check_keys(files, tensors, checkpoint.folder)
    for key, tensor in tensors.items():
        rows, begin = own_rows(tensor) if is_sharded(tensor) else (tensor, 0)
        offsets = (begin, *[0] * (rows.dim() - 1))[: rows.dim()]
        rows.copy_(files.read(key, offsets, tuple(rows.shape)))


def set_weights(learner: nn.Module, weights: Mapping[str, Tensor], source: Path, *, skip_files: Sequence[str] = ()) -> None:
    """Set the weights of a wrapped learner strictly; names as in its state dict. Every rank must call this function.

    skip_files: parts that keep their own tensors, see `restore_weights`. Raises CheckpointError that names `source`.
    """
    from torch.distributed.checkpoint import state_dict

    options = state_dict.StateDictOptions(full_state_dict=True)
    current: dict[str, Any] = state_dict.get_model_state_dict(learner, options=options)
    kept = tuple(PREFIXES[file] for file in skip_files)
    complete = {**weights, **{key: value for key, value in current.items() if key.startswith(kept)}}
    _check_keys(complete, current, source)
    state_dict.set_model_state_dict(learner, complete, options=options)


def load_model(path: Path | str, device: torch.device | str = "cpu") -> tuple[TrainedModel, Recipe]:
    """Load the model of a run folder (its best checkpoint, else its last) or of a checkpoint, in eval mode.

    path: a folder, or its URL (s3://bucket/run); or "hf:OWNER/NAME", a checkpoint on the Hugging Face hub, as
    `worldmodel export --to model:` writes it.
    Raises CheckpointError where there is no checkpoint, or its weights do not fit its recipe.
    """
    checkpoint = find_checkpoint(_local_folder(path))
    recipe = parse_config(Recipe, checkpoint.state["recipe"], source=f"{checkpoint.folder}/state.json")
    model = build_model(recipe.model, recipe.window)
    load_into(model, model_tensors(checkpoint), checkpoint.folder)
    return model.to(device).eval(), recipe


def _local_folder(path: Path | str) -> Path | str:
    if not str(path).startswith(HUGGINGFACE):
        return path
    try:
        folder = find_folder(str(path).removeprefix(HUGGINGFACE))
    except PretrainedError as error:
        raise CheckpointError(str(error)) from None
    if (folder / "config.json").is_file() and not (folder / "state.json").is_file():
        raise CheckpointError(f"{folder} is not a checkpoint of this project but a published model; use load_pretrained")
    return folder


def load_into(module: nn.Module, tensors: Mapping[str, Tensor], source: Path) -> None:
    """Load tensors into a module strictly. One CheckpointError names all that do not fit."""
    _check_keys(tensors, module.state_dict(), source)
    module.load_state_dict(tensors)


def model_tensors(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Weights of the model, named as in its state dict."""
    teacher = {"teacher." + k: v for k, v in checkpoint.tensors("ema").items()}
    return checkpoint.tensors("model") | teacher


def _check_keys(given: Mapping[str, Tensor | StoredTensor], expected: Mapping[str, Tensor], where: Path) -> None:
    problems = [f"{key} is missing" for key in expected if key not in given]
    problems += [f"{key} is not part of this model" for key in given if key not in expected]
    problems += [
        f"{key} is {tuple(given[key].shape)}, this model needs {tuple(expected[key].shape)}"
        for key in expected
        if key in given and given[key].shape != expected[key].shape
    ]
    problems += [
        f"{key} is {given[key].dtype}, this model needs {expected[key].dtype}"
        for key in expected
        if key in given and given[key].dtype != expected[key].dtype
    ]
    if problems:
        shown = "; ".join(problems[:6]) + (f"; and {len(problems) - 6} more" if len(problems) > 6 else "")
        raise CheckpointError(f"weights in {where} do not fit the recipe's model: {shown}")
