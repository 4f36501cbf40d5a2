"""How a training starts: from the last checkpoint of its run folder, from the weights of another run, or untrained."""

from __future__ import annotations

from pathlib import Path

from accelerate import Accelerator

from worldmodel import checkpoint
from worldmodel.checkpoint import Checkpoint, CheckpointError, find_checkpoint
from worldmodel.config import ConfigError, parse_config
from worldmodel.data.loader import WindowDataset
from worldmodel.models.targets import FrozenTarget
from worldmodel.process.machine import describe_machine, environment_changes
from worldmodel.ranks.agree_on_checkpoint import agreed_checkpoint
from worldmodel.ranks.launch import run_on_main_process
from worldmodel.ranks.same_weights import require_same_weights
from worldmodel.recipe import Recipe, changed_fields
from worldmodel.runs.initial_weights import load_initial_weights
from worldmodel.runs.missing_videos import make_missing_videos
from worldmodel.runs.run_data import require_data, resolve_paths
from worldmodel.runs.session import Session
from worldmodel.storage.transfer import folder_url
from worldmodel.training.setup import TrainingSetup
from worldmodel.uploads.identity import fetch_uploaded


def last_checkpoint(recipe: Recipe, accelerator: Accelerator, session: Session) -> Checkpoint | None:
    """Return the checkpoint that training resumes from, the same on all ranks; None for a new run."""
    if recipe.upload_to is not None and accelerator.num_processes > 1:
        if accelerator.is_local_main_process and not accelerator.is_main_process:
            fetch_uploaded(Path(recipe.run), folder_url(recipe.upload_to))  # this host may have a run folder of its own
        accelerator.wait_for_everyone()
    # that all hosts see the same folder was checked for this format
    last = agreed_checkpoint(Path(recipe.run), accelerator, one_folder=recipe.checkpoint.format == "sharded")
    if last is not None:
        last.require(*checkpoint.RESUME_FIELDS)
        session.monitor.set_checkpoint(last.folder)
    return last


def find_training_data(recipe: Recipe, last: Checkpoint | None, accelerator: Accelerator) -> Recipe:
    """Return the recipe with absolute paths of its manifests; missing videos are made if the recipe has data.make.

    Raises ManifestError if the data of a run that resumes is missing, CheckpointError if `init_from` has no checkpoint.
    """
    recipe = resolve_paths(recipe, last)
    run_on_main_process(accelerator, lambda: make_missing_videos(recipe.data))
    require_data(recipe, last)
    return recipe


def check_same_recipe(recipe: Recipe, last: Checkpoint, windows: WindowDataset, allow_changed: bool) -> list[str]:
    """Raise ConfigError if recipe or data differ from those that the run began with, unless `allow_changed`.

    Returns warnings.
    """
    warnings = []
    original = parse_config(Recipe, last.state["recipe"], source=f"{last.folder}/state.json")
    changes = changed_fields(original, recipe)
    if (before := last.state["windows"]) != (now := windows.sizes):
        changes.append(f"training windows: {before} -> {now}")
    elif "data" not in last.state:
        warnings.append(
            f"{last.folder} was written by an earlier version, which recorded the number of training windows but not their "
            "content: it cannot be checked whether the data are those that the run began with"
        )
    elif last.state["data"] != windows.digests:
        changes.append(f"data: the clips of {', '.join(recipe.data.manifests)} are not those that the run began with")
    if changes and not allow_changed:
        raise ConfigError(
            [
                f"{recipe.run} was started with different settings: {'; '.join(changes)}. Give another run=FOLDER, "
                "or resume with the change by --allow-changed-recipe"
            ]
        )
    return warnings


def restore(setup: TrainingSetup, last: Checkpoint | None) -> checkpoint.State:
    """Load the last checkpoint, or the weights of `init_from`, into the setup; return the state to start from."""
    recipe, accelerator = setup.recipe, setup.accelerator
    if last is not None:
        checkpoint.restore_checkpoint(setup.learner, setup.optimizers, last)
        run_on_main_process(accelerator, lambda: repair_checkpoints(Path(recipe.run), last.step, recipe.checkpoint.keep))
        now = describe_machine(accelerator.device, accelerator.num_processes)
        accelerator.print(f"resuming {recipe.run} after step {last.step}")
        if changes := environment_changes(last.state.get("machine", {}), now):
            accelerator.print(
                f"the environment has changed since this checkpoint was saved ({', '.join(changes)}); results may differ in "
                "the last digits"
            )
        return last.state
    target = recipe.model.target
    if isinstance(target, FrozenTarget) and recipe.train.parallel == "fsdp2":  # DDP has copied the teacher of rank 0
        require_same_weights(find_checkpoint(target.run).folder, accelerator, "model.target.run")
    if recipe.init_from:
        source = load_initial_weights(setup.learner, recipe)
        require_same_weights(source, accelerator)
        accelerator.print(f"weights from {source}")
    return {"step": 0, "seconds": 0.0}


def repair_checkpoints(run: Path, step: int, keep: int) -> None:
    """Complete what an interrupted save left undone, before training resumes after `step`.

    Later checkpoints, which are damaged, are set aside; best.json names an existing checkpoint; all but the last `keep` and
    the best are removed.
    """
    try:
        for folder in checkpoint.set_aside_later(run, step):
            number = folder.name.rpartition("-")[2]
            print(f"checkpoint {number} was renamed to {folder}; it is removed when the run has passed that step")
        checkpoint.write_best(run)  # the process may have been killed between the checkpoint and best.json,
        checkpoint.prune(run, keep, step)  # or between best.json and this
    except OSError as error:
        raise CheckpointError(checkpoint.write_failure_message(run / "checkpoints", error, run)) from error
