"""What an objective is: a config, statistics of the latents it looks at, and a value of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from torch import Tensor, nn

from worldmodel.config import Config
from worldmodel.models.latents import Extent, Latents

Sums = dict[str, Tensor]  # added up over rows, micro-batches and ranks
Rows = dict[str, Tensor]  # [M, ...] each: strung together over micro-batches and ranks, all in the same order
Terms = dict[str, Tensor]  # weighted scalars that add up to a loss


@dataclass(frozen=True)
class Update(Extent):
    """The latents that statistics are taken of, in numbers, as a recipe can know them before it runs."""

    clips: int = field(kw_only=True)  # of an update, over all ranks; where exact accumulation is given up, of one micro-batch


@dataclass(frozen=True)
class Centers:
    """Means at every place, without gradient, the same for all micro-batches of an update.

    Second moments are taken about them: about zero, float32 loses a standard deviation of 1e-3 beside a mean of 1.
    """

    context: Tensor  # [N, D]
    predicted: Tensor  # [N, D], of rows
    target: Tensor  # [N, D], of rows


class ObjectiveBase(Config):
    """What the config of every objective answers."""

    @property
    def keeps_apart(self) -> bool:
        """Whether it keeps latents of different things different: the pressure against collapse."""
        return False

    def keeps_scale(self, normalised: bool) -> bool:
        """Whether it also keeps their differences large, which a forecast error would rather have vanish.

        `normalised`: latents are of one length (as by model.normalise_latents), so that they differ by angles alone.
        """
        return False

    def check(self, update: Update) -> list[str]:
        """Why it cannot work with such latents: endings of "objectives.<name>", one line each."""
        return []


class Objective(nn.Module, ABC):
    """One idea of what latents should be like; statistics.py makes it exact on any number of ranks and micro-batches."""

    def sums(self, latents: Latents, centers: Centers) -> Sums:
        """Additive statistics, with gradient; second moments about `centers`."""
        return {}

    def rows(self, latents: Latents) -> Rows:
        """What must be kept as it is because no sum will do, with gradient where it is floating point.

        The same number of rows in each tensor. `value` must not depend on their order.
        """
        return {}

    @abstractmethod
    def value(self, totals: dict[str, Tensor]) -> Terms:
        """The terms of the loss, weighted, from the sums and the rows of the whole global batch, by name."""
