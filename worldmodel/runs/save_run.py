"""Saving of a training: its recipe before the first step, and its checkpoints."""

from __future__ import annotations

import os
from pathlib import Path

from torch import Tensor

from worldmodel import checkpoint
from worldmodel.checkpoint import CheckpointError
from worldmodel.config import save_config
from worldmodel.process.machine import describe_machine
from worldmodel.ranks.launch import run_on_main_process
from worldmodel.recipe import Recipe
from worldmodel.runs.held_out import save_held_out
from worldmodel.runs.run_log import RunLog
from worldmodel.runs.session import Session
from worldmodel.training.setup import TrainingSetup


def save_recipe(recipe: Recipe, held_out_frames: Tensor, session: Session) -> None:
    """Write recipe.yaml and held_out.npz into the run folder; on the main process only."""
    if session.lock is None:
        return
    run = Path(recipe.run)
    session.lock.check()
    save_config(recipe, run / "recipe.yaml")
    save_held_out(run, held_out_frames)


def save(setup: TrainingSetup, step: int, log: RunLog) -> Path:
    """Write a checkpoint, update best.json, and remove old checkpoints; return the folder. Every rank must call it."""
    tensors = checkpoint.gather_tensors(setup.learner, setup.optimizers)  # collective: sharded weights are gathered
    run = Path(setup.recipe.run)

    def write() -> None:
        log.check_folder()
        log.sync()
        checkpoint.save_checkpoint(run, tensors, _state(setup, step, log))
        try:
            checkpoint.write_best(run)
        except OSError as error:
            raise CheckpointError(checkpoint.write_failure_message(run / "best.json", error, run)) from error
        checkpoint.prune(run, setup.recipe.checkpoint.keep, step)

    run_on_main_process(setup.accelerator, write)
    return run / "checkpoints" / f"{step:08d}"


def _state(setup: TrainingSetup, step: int, log: RunLog) -> checkpoint.State:
    recipe, accelerator = setup.recipe, setup.accelerator
    return {
        "step": step,
        "samples": step * recipe.data.batch_size,
        "seconds": log.seconds,
        "skill": log.skill_at(step),
        "windows": setup.windows.sizes,
        "data": setup.windows.digests,
        "rows": log.rows,
        "machine": describe_machine(accelerator.device, accelerator.num_processes),
        "recipe": recipe.model_dump(mode="json"),
        "run_folder": os.path.abspath(recipe.run),
        "random": "no state is saved: all random numbers are functions of the recipe's seed and the training step",
    }
