"""The frozen teacher of a run (`model.target: {kind: frozen, run: RUN}`): its architecture and its weights."""

from __future__ import annotations

from worldmodel.checkpoint import Checkpoint, CheckpointError, find_checkpoint, load_into
from worldmodel.config import Config, ConfigError, parse_config
from worldmodel.data.window_config import WindowConfig
from worldmodel.models import TrainedModel
from worldmodel.models.causal import CausalConfig
from worldmodel.models.masked import MaskedConfig
from worldmodel.models.targets import EmaTarget, FrozenTarget
from worldmodel.recipe import Recipe


def with_teacher(recipe: Recipe, last: Checkpoint | None) -> Recipe:
    """Return the recipe with `model.target.encoder` filled in if its targets are frozen.

    It is read from the teacher's run, or, when resuming, from the last checkpoint of this run. Raises ConfigError if the
    teacher's run is missing or does not fit.
    """
    target = recipe.model.target
    before = None
    if last is not None:
        before = parse_config(Recipe, last.state["recipe"], source=f"{last.folder}/state.json").model.target
    if before is not None and _describe(before) != _describe(target):
        raise ConfigError(
            [
                f"model.target: the teacher of this run is {_describe(before)}, that of the recipe is {_describe(target)}; "
                "start another run (run=FOLDER)"
            ]
        )
    if not isinstance(target, FrozenTarget):
        return recipe
    encoder = before.encoder if isinstance(before, FrozenTarget) else _teacher_encoder(recipe, target)
    if target.encoder not in (None, encoder):
        raise ConfigError([f"model.target.encoder is not the encoder of {target.run}; remove it, training fills it in"])
    data = recipe.model_dump(mode="json")
    data["model"]["target"] = target.model_copy(update={"encoder": encoder}).model_dump(mode="json")
    return parse_config(Recipe, data, source="the recipe with its frozen teacher")


def load_teacher(model: TrainedModel, recipe: Recipe) -> None:
    """Load the weights of the frozen teacher into a new model, strictly. Models without one are left unchanged."""
    target = recipe.model.target
    if model.teacher is None or not isinstance(target, FrozenTarget):
        return
    checkpoint = _open(target.run)
    tensors = checkpoint.tensors("ema")  # if that run's own targets came from a teacher, that teacher is used
    if not isinstance(_model_of(checkpoint)[0].target, EmaTarget | FrozenTarget):
        weights = checkpoint.tensors("model")
        tensors = {key.removeprefix("encoder."): value for key, value in weights.items() if key.startswith("encoder.")}
    load_into(model.teacher, tensors, checkpoint.folder)


def _teacher_encoder(recipe: Recipe, target: FrozenTarget) -> Config | None:
    """The encoder config of the teacher's run. Raises ConfigError where it does not fit the student."""
    student = recipe.model
    teacher, window = _model_of(_open(target.run))
    if teacher.kind != student.kind:
        raise ConfigError(
            [f"model.target.run {target.run} is a {teacher.kind} model; a {student.kind} model needs a teacher of its own kind"]
        )
    if teacher.lora is not None and not isinstance(teacher.target, EmaTarget | FrozenTarget):
        raise ConfigError(
            [
                f"model.target.run {target.run} has LoRA adapters; export it with `python -m worldmodel.export {target.run} "
                "--to model:FOLDER`, and set model.target.run=FOLDER"
            ]
        )
    names = [name for name in ("normalise_latents", "tiled_rotary") if hasattr(student, name)]
    for name, theirs, ours in (
        ("window.size_px", window.size_px, recipe.window.size_px),
        *((f"model.{name}", getattr(teacher, name), getattr(student, name)) for name in names),
    ):
        if theirs != ours:
            raise ConfigError([f"{name} is {ours}, that of model.target.run {target.run} is {theirs}; make them equal"])
    return teacher.target.encoder if isinstance(teacher.target, FrozenTarget) else teacher.encoder


def _describe(target: Config) -> str:
    return f"frozen, of {target.run}" if isinstance(target, FrozenTarget) else "not frozen"


def _open(run: str) -> Checkpoint:
    try:
        return find_checkpoint(run)
    except CheckpointError as error:
        raise ConfigError([f"model.target.run: {error}; a frozen teacher needs a run that was trained before"]) from None


def _model_of(checkpoint: Checkpoint) -> tuple[CausalConfig | MaskedConfig, WindowConfig]:
    recipe = parse_config(Recipe, checkpoint.state["recipe"], source=f"{checkpoint.folder}/state.json")
    return recipe.model, recipe.window
