"""Load checkpoints strictly: into a learner and its optimizers, or as a model alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from worldmodel.checkpoint.finding import find_checkpoint
from worldmodel.checkpoint.saving import PREFIXES
from worldmodel.checkpoint.state import CheckpointError
from worldmodel.checkpoint.stored import Checkpoint
from worldmodel.config import parse
from worldmodel.models import TrainedModel, build_model
from worldmodel.recipe import Recipe
from worldmodel.training.optimizer import Optimizers


def restore(learner: nn.Module, optimizers: Optimizers, checkpoint: Checkpoint) -> None:
    """Put a checkpoint into a wrapped learner and its optimizers, exactly; every rank must call it.

    Raises CheckpointError where tensors are missing, are not wanted, or have another shape or type.
    """
    restore_weights(learner, checkpoint)
    given = checkpoint.tensors("optimizer")
    options = StateDictOptions(full_state_dict=True)
    there: dict[str, Any] = dict(get_optimizer_state_dict(learner, optimizers, options=options))
    wanted = {f"{name}/{part}": value for name, parts in there["state"].items() for part, value in parts.items()}
    _check_keys(given, wanted, checkpoint.folder)
    moments: dict[str, Any] = {}
    for key, value in given.items():
        name, _, part = key.rpartition("/")
        moments.setdefault(name, {})[part] = value
    set_optimizer_state_dict(learner, optimizers, {**there, "state": moments}, options=options)


def restore_weights(learner: nn.Module, checkpoint: Checkpoint, *, but: Sequence[str] = ()) -> None:
    """Weights alone, strictly: CheckpointError names every key that does not fit.

    What the learner has of the files named in `but` ("objectives", "ema") is left as it is.
    """
    options = StateDictOptions(full_state_dict=True)
    there: dict[str, Any] = get_model_state_dict(learner, options=options)
    weights: dict[str, Any] = {
        prefix + key: value
        for file, prefix in PREFIXES.items()
        if file not in but
        for key, value in checkpoint.tensors(file).items()
    }
    for file in but:
        weights |= {key: value for key, value in there.items() if key.startswith(PREFIXES[file])}
    _check_keys(weights, there, checkpoint.folder)
    set_model_state_dict(learner, weights, options=options)


def load_model(path: Path | str, device: torch.device | str = "cpu") -> tuple[TrainedModel, Recipe]:
    """The model of a run folder (its best checkpoint, else its last) or of one checkpoint, ready to be asked.

    Raises CheckpointError where there is none or its weights do not fit its recipe.
    """
    checkpoint = find_checkpoint(Path(path))
    recipe = parse(Recipe, checkpoint.state["recipe"], where=f"{checkpoint.folder}/state.json")
    model = build_model(recipe.model, recipe.window)
    load_into(model, model_tensors(checkpoint), checkpoint.folder)
    return model.to(device).eval(), recipe


def load_into(module: nn.Module, tensors: Mapping[str, Tensor], where: Path) -> None:
    """Strict load into a plain module, with one message for all that does not fit."""
    _check_keys(tensors, module.state_dict(), where)
    module.load_state_dict(tensors)


def model_tensors(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Weights of the model as its own state dict names them."""
    teacher = {"teacher." + k: v for k, v in checkpoint.tensors("ema").items()}
    return checkpoint.tensors("model") | teacher


def _check_keys(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor], where: Path) -> None:
    problems = [f"{key} is missing" for key in wanted if key not in given]
    problems += [f"{key} is not part of this model" for key in given if key not in wanted]
    problems += [
        f"{key} is {tuple(given[key].shape)}, this model needs {tuple(wanted[key].shape)}"
        for key in wanted
        if key in given and given[key].shape != wanted[key].shape
    ]
    problems += [
        f"{key} is {given[key].dtype}, this model needs {wanted[key].dtype}"
        for key in wanted
        if key in given and given[key].dtype != wanted[key].dtype
    ]
    if problems:
        shown = "; ".join(problems[:6]) + (f"; and {len(problems) - 6} more" if len(problems) > 6 else "")
        raise CheckpointError(f"weights in {where} do not fit the recipe's model: {shown}")
