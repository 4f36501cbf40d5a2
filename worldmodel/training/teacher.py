"""The frozen teacher of a run (`model.target: {kind: frozen, run: RUN}`): which encoder it is, and its weights."""

from __future__ import annotations

from pathlib import Path

from worldmodel.checkpoint import Checkpoint, CheckpointError, find_checkpoint, load_into
from worldmodel.config import Config, ConfigError, parse
from worldmodel.data.window_config import WindowConfig
from worldmodel.models import TrainedModel
from worldmodel.models.causal import CausalConfig
from worldmodel.models.masked import MaskedConfig
from worldmodel.models.targets import EmaTarget, FrozenTarget
from worldmodel.recipe import Recipe


def resolved(recipe: Recipe, last: Checkpoint | None) -> Recipe:
    """The recipe with `model.target.encoder` filled in where its targets are frozen: from the teacher's run, or, where this
    run goes on, from its own last checkpoint. Raises ConfigError, one line, where that run is not there or does not fit."""
    ours, target = recipe.model, recipe.model.target
    before = None if last is None else parse(Recipe, last.state["recipe"], where=f"{last.folder}/state.json").model.target
    if before is not None and _teacher(before) != _teacher(target):
        raise ConfigError(
            [
                f"model.target: this run's teacher is {_teacher(before)}; the recipe asks for one {_teacher(target)}: "
                "begin another run"
            ]
        )
    if not isinstance(target, FrozenTarget):
        return recipe
    if isinstance(before, FrozenTarget):
        encoder = before.encoder
    else:
        theirs, window = _model_of(_open(target.run))
        if theirs.kind != ours.kind:
            raise ConfigError(
                [f"model.target.run {target.run} is a {theirs.kind} model; the teacher of a {ours.kind} one is of its kind"]
            )
        how = [name for name in ("normalise_latents", "tiled_rotary") if hasattr(ours, name)]
        for name, there, here in (
            ("window.size_px", window.size_px, recipe.window.size_px),
            *((f"model.{name}", getattr(theirs, name), getattr(ours, name)) for name in how),
        ):
            if there != here:
                raise ConfigError([f"{name} is {here}, that of model.target.run {target.run} is {there}; make them equal"])
        encoder = theirs.target.encoder if isinstance(theirs.target, FrozenTarget) else theirs.encoder
    if target.encoder not in (None, encoder):
        raise ConfigError([f"model.target.encoder is not the encoder of {target.run}; leave it out, it is filled in"])
    filled = target.model_copy(update={"encoder": encoder})
    return parse(Recipe, _with_target(recipe, filled), where="the recipe with its frozen teacher")


def fill(model: TrainedModel, recipe: Recipe) -> None:
    """Give a fresh model its frozen teacher's weights, strictly; other models are left as they are."""
    target = recipe.model.target
    if model.teacher is None or not isinstance(target, FrozenTarget):
        return
    checkpoint = _open(target.run)
    tensors = checkpoint.tensors("ema")  # where that run's own targets came from a teacher, that teacher
    if not isinstance(_model_of(checkpoint)[0].target, EmaTarget | FrozenTarget):
        weights = checkpoint.tensors("model")
        tensors = {key.removeprefix("encoder."): value for key, value in weights.items() if key.startswith("encoder.")}
    load_into(model.teacher, tensors, checkpoint.folder)


def _teacher(target: Config) -> str:
    """In words; a run that goes on has the weights of its own."""
    return f"frozen, of {target.run}" if isinstance(target, FrozenTarget) else "not frozen"


def _open(run: str) -> Checkpoint:
    try:
        return find_checkpoint(Path(run))
    except CheckpointError as error:
        raise ConfigError([f"model.target.run: {error}; a frozen teacher is a run that was trained before"]) from None


def _model_of(checkpoint: Checkpoint) -> tuple[CausalConfig | MaskedConfig, WindowConfig]:
    recipe = parse(Recipe, checkpoint.state["recipe"], where=f"{checkpoint.folder}/state.json")
    return recipe.model, recipe.window


def _with_target(recipe: Recipe, target: FrozenTarget) -> dict[str, object]:
    data = recipe.model_dump(mode="json")
    data["model"]["target"] = target.model_dump(mode="json")
    return data
