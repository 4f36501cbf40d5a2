"""Initial weights of a new run (`init_from`): another run, or a published V-JEPA 2 (`hf:FOLDER`, `hf:OWNER/NAME`)."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from worldmodel.checkpoint import Checkpoint, CheckpointError, find_checkpoint, model_tensors, restore_weights, set_weights
from worldmodel.config import ConfigError, parse_config
from worldmodel.models.blocks.lora import with_adapters
from worldmodel.models.pretrained.files import read_config_file
from worldmodel.models.pretrained.frozen_encoder import FrozenEncoder
from worldmodel.models.pretrained.hub import HUGGINGFACE, find_folder
from worldmodel.models.pretrained.layouts import PretrainedError
from worldmodel.models.pretrained.same_network import network_problems
from worldmodel.models.pretrained.vjepa2 import load_huggingface, read_config
from worldmodel.models.targets import EmaTarget
from worldmodel.recipe import Recipe
from worldmodel.training.parallel import unwrap


def check_initial_weights(recipe: Recipe) -> None:
    """Raise an error now, before anything is built, if `init_from` is missing or is not the model of the recipe.

    Raises CheckpointError for a run that is missing or damaged, and ConfigError for a published model that is, and for another
    model: its message has the overrides that fit.
    """
    if recipe.init_from is None:
        return
    if not recipe.init_from.startswith(HUGGINGFACE):
        _check_same_network(recipe, find_checkpoint(recipe.init_from))
        return
    try:
        folder = find_folder(recipe.init_from.removeprefix(HUGGINGFACE))
        given = read_config_file(folder)
        if given.get("model_type") != "vjepa2":
            raise PretrainedError(f"{folder} holds a model of kind {given.get('model_type')!r}; training starts from vjepa2")
        theirs, _ = read_config(given, folder)
    except PretrainedError as error:
        raise ConfigError([f"init_from: {error}"]) from None
    _refuse(network_problems(recipe.model, theirs.model_copy(update={"target": EmaTarget()}), str(folder)))


def load_initial_weights(learner: nn.Module, recipe: Recipe) -> Path:
    """Load the weights of `init_from` into a wrapped learner, strictly. Every rank must call it. Returns their folder.

    Objectives keep their own weights, and a frozen teacher its own. An EMA teacher starts as the published encoder.
    Raises CheckpointError where weights are missing or do not fit, or are those of another frozen encoder, and ConfigError
    where the run is another model.
    """
    assert recipe.init_from is not None
    skipped = ("objectives", "ema") if recipe.model.target.kind == "frozen" else ("objectives",)
    if not recipe.init_from.startswith(HUGGINGFACE):
        other = find_checkpoint(recipe.init_from)
        _check_same_network(recipe, other)  # again: the run may have saved a better checkpoint meanwhile
        _check_same_frozen_encoder(learner, other)
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


def _check_same_network(recipe: Recipe, other: Checkpoint) -> None:
    """Raise ConfigError if the weights of a run would compute something else in the model of the recipe."""
    theirs = parse_config(Recipe, other.state["recipe"], source=f"{other.folder}/state.json").model
    _refuse(network_problems(recipe.model, theirs, str(recipe.init_from)))


def _check_same_frozen_encoder(learner: nn.Module, other: Checkpoint) -> None:
    """Raise CheckpointError if a run was trained on the latents of another frozen encoder than that of the learner."""
    encoder = unwrap(learner).model.encoder
    if not isinstance(encoder, FrozenEncoder):
        return
    with other.open("model") as files:
        for name, value in encoder.net.state_dict().items():
            stored = files.get(key := f"encoder.net.{name}")
            is_like = stored is not None and (stored.shape, stored.dtype) == (value.shape, value.dtype)
            if not is_like or not torch.equal(files.read(key), value.cpu()):
                raise CheckpointError(
                    f"{other.folder} was trained on the latents of another frozen encoder than {encoder.config.source} "
                    f"({name} differs); set model.frozen_encoder.source to that of its recipe"
                )


def _refuse(problems: list[str]) -> None:
    if problems:
        raise ConfigError([f"init_from: {problem}" for problem in problems])


def _adapted(weights: dict[str, Tensor], learner: nn.Module) -> dict[str, Tensor]:
    """Weights without adapters for a learner that may have some, whose values they keep."""
    return with_adapters(weights, unwrap(learner).state_dict())
