"""Initial weights of a new run (`init_from`): another run, or a published V-JEPA 2 (`hf:FOLDER`, `hf:OWNER/NAME`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from worldmodel.checkpoint import CheckpointError, find_checkpoint, model_tensors, restore_weights, set_weights
from worldmodel.config import ConfigError
from worldmodel.models.blocks.lora import with_adapters
from worldmodel.models.masked import MaskedConfig
from worldmodel.models.pretrained.files import read_config_file
from worldmodel.models.pretrained.hub import HUGGINGFACE, find_folder
from worldmodel.models.pretrained.layouts import PretrainedError
from worldmodel.models.pretrained.vjepa2 import load_huggingface, read_config
from worldmodel.recipe import Recipe
from worldmodel.training.parallel import unwrap


def check_initial_weights(recipe: Recipe) -> None:
    """Raise an error now, before anything is built, if `init_from` is missing or is not the model of the recipe.

    Raises CheckpointError for a run, ConfigError for a published model: its message has the overrides that fit.
    """
    if recipe.init_from is None:
        return
    if not recipe.init_from.startswith(HUGGINGFACE):
        find_checkpoint(recipe.init_from)
        return
    try:
        folder = find_folder(recipe.init_from.removeprefix(HUGGINGFACE))
        given = read_config_file(folder)
        if given.get("model_type") != "vjepa2":
            raise PretrainedError(f"{folder} holds a model of kind {given.get('model_type')!r}; training starts from vjepa2")
        theirs, _ = read_config(given, folder)
    except PretrainedError as error:
        raise ConfigError([f"init_from: {error}"]) from None
    if overrides := list(_overrides(recipe, theirs)):
        raise ConfigError([f"init_from: {folder} is another model than that of the recipe; set {' '.join(overrides)}"])


def load_initial_weights(learner: nn.Module, recipe: Recipe) -> Path:
    """Load the weights of `init_from` into a wrapped learner, strictly. Every rank must call it. Returns their folder.

    Objectives keep their own weights, and a frozen teacher its own. An EMA teacher starts as the published encoder.
    """
    assert recipe.init_from is not None
    skipped = ("objectives", "ema") if recipe.model.target.kind == "frozen" else ("objectives",)
    if not recipe.init_from.startswith(HUGGINGFACE):
        other = find_checkpoint(recipe.init_from)
        if recipe.model.lora is None:
            restore_weights(learner, other, skip_files=skipped)
        else:
            tensors = model_tensors(other).items()
            own = {f"model.{k}": v for k, v in tensors if "ema" not in skipped or not k.startswith("teacher.")}
            set_weights(learner, _adapted(own, learner), other.folder, skip_files=skipped)
        return other.folder
    folder = find_folder(recipe.init_from.removeprefix(HUGGINGFACE))
    try:
        with torch.random.fork_rng(devices=[]):  # the weights that are replaced at once change no random number of the run
            published = load_huggingface(folder).state_dict()
    except PretrainedError as error:
        raise CheckpointError(str(error)) from None
    weights = {f"model.{name}": value for name, value in published.items()}
    if recipe.model.target.kind == "ema":
        weights |= {f"model.teacher.{k[8:]}": value for k, value in published.items() if k.startswith("encoder.")}
    set_weights(learner, _adapted(weights, learner), folder, skip_files=skipped)
    return folder


def _adapted(weights: dict[str, Tensor], learner: nn.Module) -> dict[str, Tensor]:
    """Weights without adapters for a learner that may have some, whose values they keep."""
    return with_adapters(weights, unwrap(learner).state_dict())


def _overrides(recipe: Recipe, theirs: MaskedConfig) -> Iterator[str]:
    """The settings of the recipe that differ from those of a published model, as overrides."""
    ours = recipe.model
    if not isinstance(ours, MaskedConfig):
        yield "model.kind=masked"
        ours = MaskedConfig()
    if not ours.tiled_rotary:
        yield "model.tiled_rotary=true"
    if ours.target.kind == "pixels":
        yield "model.target={kind: ema}"
    for part in ("encoder", "predictor"):
        mine = getattr(ours, part).model_dump()
        for name, value in getattr(theirs, part).model_dump().items():
            current = mine[name]
            if name == "mask_tokens":
                current = current or len(ours.masks)
            if current != value:
                yield f"model.{part}.{name}={value}"
