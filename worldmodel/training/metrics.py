"""The training row of metrics.jsonl, and the error message for a loss that is not finite."""

from __future__ import annotations

import hashlib

from torch import Tensor

from worldmodel.training.learner import Loss
from worldmodel.training.optimizer import lr_ratio_at
from worldmodel.training.setup import TrainingSetup


def training_metrics(setup: TrainingSetup, step: int, loss: Loss, grad_norm: Tensor) -> dict[str, float | str]:
    """Columns of metrics.jsonl after training step number `step` (the first is 1). Waits for the device."""
    recipe = setup.recipe
    window_ids = ",".join(map(str, setup.windows.ids(step - 1)))
    return {
        "samples": step * recipe.data.batch_size,
        "loss": loss.total.item(),
        **{f"loss/{name}": value.item() for name, value in loss.terms.items()},
        "lr": recipe.optim.lr * lr_ratio_at(step - 1, recipe.optim, recipe.train.max_steps),
        "grad_norm": grad_norm.item(),  # before clipping
        "batch_hash": hashlib.sha256(window_ids.encode()).hexdigest()[:16],
    }


def not_finite_message(setup: TrainingSetup, index: int, loss: Loss, grad_norm: Tensor) -> str:
    """Say in which training step the loss or the gradient is not finite, with its terms and the files of its batch."""
    files = ", ".join(setup.windows.paths(index)[:8])
    terms = ", ".join(f"{name} {value.item():.4g}" for name, value in loss.terms.items())
    return (
        f"step {index + 1}: loss {loss.total.item()}, gradient norm {grad_norm.item():.4g} ({terms}). The last checkpoint was "
        f"saved before. Lower optim.lr or optim.clip_norm, or inspect the videos of this batch: {files}, ..."
    )
