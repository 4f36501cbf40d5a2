"""Interface of an objective: a config, statistics of the latents, and a loss as a function of those statistics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from torch import Tensor, nn

from worldmodel.config import Config
from worldmodel.models.latents import Latents, LatentSizes

Sums = dict[str, Tensor]  # added over rows, micro-batches and ranks
Rows = dict[str, Tensor]  # [M, ...] each; concatenated over micro-batches and ranks, all in the same order
Terms = dict[str, Tensor]  # weighted scalars whose sum is the loss


@dataclass(frozen=True)
class BatchSizes(LatentSizes):
    """Sizes of the latents that statistics are computed of. They are known before training starts."""

    clips: int = field(kw_only=True)  # of the global batch; without exact accumulation, of one micro-batch on all ranks


def dropped_token_problems(batch: BatchSizes) -> list[str]:
    """The problem of an objective that compares successive time steps of a token, where training drops tokens at random."""
    if batch.tokens_kept == 1:
        return []
    return [
        f" compares successive time steps of a token, and model.tokens_kept {batch.tokens_kept:g} drops most of them; "
        "set it to 1, or remove this objective"
    ]


@dataclass(frozen=True)
class Centers:
    """Means at every spatial token, without gradient. All micro-batches of a training step share them.

    Second moments are computed about them: about zero, float32 loses a standard deviation of 1e-3 beside a mean of 1.
    """

    context: Tensor  # [N, D]
    predicted: Tensor | None = None  # [N, D], over rows; None where no objective uses them
    target: Tensor | None = None  # [N, D], over rows


class ObjectiveBase(Config):
    """Base of the configs of all objectives."""

    @property
    def prevents_collapse(self) -> bool:
        """Whether the objective keeps latents of different inputs different."""
        return False

    def preserves_scale(self, normalised: bool) -> bool:
        """Whether the objective also keeps the differences between latents large. A forecast error makes them shrink.

        `normalised`: latents have a fixed norm (model.normalise_latents), so that they differ in angle only.
        """
        return False

    def check(self, batch: BatchSizes) -> list[str]:
        """Return why the objective cannot work with such latents, each to be appended to "objectives.<name>"."""
        return []


class Objective(nn.Module, ABC):
    """One term of the training loss. statistics.py makes it exact on any number of ranks and micro-batches."""

    uses_row_centers = False  # whether `sums` uses the means of forecasts and targets

    def sums(self, latents: Latents, centers: Centers) -> Sums:
        """Compute additive statistics, with gradient. Second moments are about `centers`."""
        return {}

    def rows(self, latents: Latents) -> Rows:
        """Return the statistics that are needed row by row, with gradient where they are floating point.

        All tensors have the same number of rows. `value` must not depend on their order.
        """
        return {}

    @abstractmethod
    def value(self, totals: dict[str, Tensor]) -> Terms:
        """Compute the weighted terms of the loss from the sums and rows of the global batch, by name."""
