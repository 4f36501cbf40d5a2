"""Latents for tests of single objectives, and the loss of an objective on them."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from worldmodel.models.latents import Latents
from worldmodel.objectives import build_objective
from worldmodel.objectives.objective import ObjectiveBase
from worldmodel.objectives.statistics import Statistics, global_centers, loss_gradients, with_exact_gradient


def _of_context(context: Tensor, mask: Tensor | None = None, step_seed: int = 0) -> Latents:
    """No forecasts: [B, T, N, D]."""
    whole, none = torch.zeros(0, dtype=torch.int64), context.new_zeros(0, context.shape[-1])
    visible = torch.ones(context.shape[:3], dtype=torch.bool) if mask is None else mask
    return Latents(context, visible, none, none, whole, whole, whole, whole, whole.bool(), step_seed=step_seed)


def _of_rows(
    predicted: Tensor, target: Tensor, clip: list[int], time: list[int] | None = None, token: list[int] | None = None
) -> Latents:
    """Forecasts [R, D] of horizon 1; by default of one clip, time step and spatial token."""
    count, features = predicted.shape
    whole = torch.zeros(count, dtype=torch.int64)
    context = predicted.new_zeros(max(clip) + 1, 1, 1 + max(token or [0]), features)
    of = lambda numbers: whole if numbers is None else torch.tensor(numbers)  # noqa: E731
    return Latents(
        context, torch.ones(context.shape[:3], dtype=torch.bool), predicted, target,
        torch.tensor(clip), of(time), of(token), whole + 1, whole.bool(),
    )  # fmt: skip


def _loss(config: ObjectiveBase, *micro_batches: Latents) -> tuple[Tensor, dict[str, float]]:
    """The loss of a global batch made of these micro-batches, with its gradient, and its terms."""
    objective = build_objective(config)
    centers = global_centers(micro_batches[0])
    parts = [Statistics(objective.sums(latents, centers), objective.rows(latents)) for latents in micro_batches]
    gradients_of_parts = loss_gradients(objective, parts)
    losses = [with_exact_gradient(part, own) for part, own in zip(parts, gradients_of_parts, strict=True)]
    # each has the value of the whole and its own part of the gradient
    gradient = torch.stack([loss - loss.detach() for loss in losses]).sum()
    return losses[0].detach() + gradient, {name: term.item() for name, term in gradients_of_parts[0].terms.items()}


def _micro_batch(latents: Latents, clips: list[int]) -> Latents:
    """Some clips of a batch and their rows, with new indices."""
    number = torch.full((len(latents.context),), -1)
    number[clips] = torch.arange(len(clips))
    rows = (number[latents.clip] >= 0).nonzero()[:, 0]
    columns = ("predicted", "target", "clip", "time", "token", "horizon", "is_rollout")
    cut = {name: getattr(latents, name)[rows] for name in columns}
    cut["clip"] = number[cut["clip"]]
    return replace(
        latents,
        context=latents.context[clips],
        context_mask=latents.context_mask[clips],
        window_ids=latents.window_ids[clips],
        **cut,
    )


@pytest.fixture
def of_context() -> Callable[..., Latents]:
    return _of_context


@pytest.fixture
def of_rows() -> Callable[..., Latents]:
    return _of_rows


@pytest.fixture
def loss() -> Callable[..., tuple[Tensor, dict[str, float]]]:
    return _loss


@pytest.fixture
def micro_batch() -> Callable[..., Latents]:
    return _micro_batch
