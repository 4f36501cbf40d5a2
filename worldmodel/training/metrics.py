"""The training row of metrics.jsonl, and the error message for a loss that is not finite."""

from __future__ import annotations

import hashlib

from worldmodel.training.optimizer import lr_ratio_at
from worldmodel.training.pending_steps import StepValues
from worldmodel.training.setup import TrainingSetup


def training_metrics(setup: TrainingSetup, values: StepValues) -> dict[str, float | str]:
    """Columns of metrics.jsonl for a training step."""
    recipe, step = setup.recipe, values.done
    window_ids = ",".join(map(str, setup.windows.ids(step - 1)))
    return {
        "samples": step * recipe.data.batch_size,
        "loss": values.loss,
        **{f"loss/{name}": value for name, value in values.terms.items()},
        "lr": recipe.optim.lr * lr_ratio_at(step - 1, recipe.optim, recipe.train.max_steps),
        "grad_norm": values.grad_norm,
        "batch_hash": hashlib.sha256(window_ids.encode()).hexdigest()[:16],
    }


def not_finite_message(setup: TrainingSetup, values: StepValues) -> str:
    """Say in which training step the loss or the gradient is not finite, with its terms and the files of its batch."""
    files = ", ".join(setup.windows.paths(values.done - 1)[:8])
    terms = ", ".join(f"{name} {value:.4g}" for name, value in values.terms.items())
    return (
        f"step {values.done}: loss {values.loss}, gradient norm {values.grad_norm:.4g} ({terms}). The last checkpoint was "
        f"saved before. Lower optim.lr or optim.clip_norm, or inspect the videos of this batch: {files}, ..."
    )
