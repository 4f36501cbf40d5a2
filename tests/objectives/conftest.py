"""Latents of which only what an objective looks at matters, and what an objective makes of them."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from worldmodel.models.latents import Latents
from worldmodel.objectives import build_objective
from worldmodel.objectives.objective import ObjectiveBase
from worldmodel.objectives.statistics import Statistics, evaluate, shared_centers, with_exact_gradient


def _of_context(context: Tensor, mask: Tensor | None = None, chance: int = 0) -> Latents:
    """No forecasts: [B, T, N, D]."""
    whole, none = torch.zeros(0, dtype=torch.int64), context.new_zeros(0, context.shape[-1])
    seen = torch.ones(context.shape[:3], dtype=torch.bool) if mask is None else mask
    return Latents(context, seen, none, none, whole, whole, whole, whole, whole.bool(), chance=chance)


def _of_rows(
    predicted: Tensor, target: Tensor, clip: list[int], time: list[int] | None = None, place: list[int] | None = None
) -> Latents:
    """Forecasts [R, D] of horizon 1; one clip, one moment and one place where nothing else is said."""
    count, features = predicted.shape
    whole = torch.zeros(count, dtype=torch.int64)
    context = predicted.new_zeros(max(clip) + 1, 1, 1 + max(place or [0]), features)
    of = lambda numbers: whole if numbers is None else torch.tensor(numbers)  # noqa: E731
    return Latents(
        context, torch.ones(context.shape[:3], dtype=torch.bool), predicted, target,
        torch.tensor(clip), of(time), of(place), whole + 1, whole.bool(),
    )  # fmt: skip


def _loss(config: ObjectiveBase, *micros: Latents) -> tuple[Tensor, dict[str, float]]:
    """The loss of an update made of these micro-batches, with its gradient, and its terms."""
    objective = build_objective(config)
    centers = shared_centers(micros[0])
    parts = [Statistics(objective.sums(latents, centers), objective.rows(latents)) for latents in micros]
    told = evaluate(objective, parts)
    losses = [with_exact_gradient(part, slopes) for part, slopes in zip(parts, told, strict=True)]
    # each has the value of the whole and its own share of the gradient
    gradient = torch.stack([loss - loss.detach() for loss in losses]).sum()
    return losses[0].detach() + gradient, {name: term.item() for name, term in told[0].terms.items()}


def _micro_batch(latents: Latents, clips: list[int]) -> Latents:
    """Some clips of a batch and the rows of these, numbered anew."""
    number = torch.full((len(latents.context),), -1)
    number[clips] = torch.arange(len(clips))
    rows = (number[latents.sample] >= 0).nonzero()[:, 0]
    columns = ("predicted", "target", "sample", "time", "place", "horizon", "imagined")
    cut = {name: getattr(latents, name)[rows] for name in columns}
    cut["sample"] = number[cut["sample"]]
    return replace(
        latents, context=latents.context[clips], context_mask=latents.context_mask[clips], ids=latents.ids[clips], **cut
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
