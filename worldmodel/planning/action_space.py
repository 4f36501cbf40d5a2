"""ActionSpace: bounds and scale of the actions of a plan, and blocks of several actions per planned step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange, repeat
from torch import Tensor

from worldmodel.planning.plan import PlanningError


@dataclass(frozen=True)
class ActionSpace:
    """Bounds of one action of A numbers. A planned step holds `block` actions, one after another.

    low, high: [A], may be infinite. scale: [A], the unit of standard deviations and learning rates.
    max_norm: largest Euclidean length of one action. repeated: the actions of a block are one action that is repeated; `clip`
    then replaces them by their mean first.
    """

    low: Tensor
    high: Tensor
    scale: Tensor
    block: int = 1
    max_norm: float | None = None
    repeated: bool = False

    def __post_init__(self) -> None:
        shapes = {tuple(bound.shape) for bound in (self.low, self.high, self.scale)}
        if len(shapes) != 1 or self.low.ndim != 1 or not len(self.low):
            raise PlanningError(f"low, high and scale have shapes {sorted(shapes)}; expected [A] for all three")
        if not bool((self.low <= self.high).all()):
            raise PlanningError(f"low {self.low.tolist()} is not below high {self.high.tolist()} in every dimension")
        if not bool(((self.scale > 0) & self.scale.isfinite()).all()):
            raise PlanningError(f"scale {self.scale.tolist()}: expected finite numbers above 0")
        if self.block < 1 or (self.max_norm is not None and not self.max_norm > 0):
            raise PlanningError(f"block {self.block}, max_norm {self.max_norm}: expected 1 or more, and a number above 0")

    @classmethod
    def box(cls, low: Sequence[float], high: Sequence[float], block: int = 1) -> ActionSpace:
        """Actions between finite bounds. The scale is half the distance of the bounds."""
        lowest, highest = torch.tensor(low, dtype=torch.float32), torch.tensor(high, dtype=torch.float32)
        return cls(lowest, highest, (highest - lowest) / 2, block)

    @classmethod
    def ball(cls, size: int, max_norm: float, block: int = 1) -> ActionSpace:
        """Actions of `size` numbers, at most `max_norm` long. The scale is 1."""
        unbounded = torch.full((size,), torch.inf)
        return cls(-unbounded, unbounded, torch.ones(size), block, max_norm)

    @property
    def size(self) -> int:
        """Numbers per planned step: block * A."""
        return self.block * len(self.low)

    @property
    def step_scale(self) -> Tensor:
        """The scale of all numbers of a planned step, [block * A]."""
        return repeat(self.scale, "a -> (k a)", k=self.block)

    def clip(self, steps: Tensor) -> Tensor:
        """The nearest actions within the bounds of the box, then shortened to `max_norm`: [..., block * A], same shape."""
        actions = self.split(steps)
        if self.repeated:
            actions = actions.mean(-2, keepdim=True).expand_as(actions)
        actions = actions.clamp(self.low.to(steps.device), self.high.to(steps.device))
        if self.max_norm is not None:
            length = torch.linalg.vector_norm(actions, dim=-1, keepdim=True)
            actions = torch.where(length > self.max_norm, actions * (self.max_norm / length.clamp(min=1e-30)), actions)
        return rearrange(actions, "... k a -> ... (k a)")

    def split(self, steps: Tensor) -> Tensor:
        """The single actions of planned steps: [..., block * A] -> [..., block, A]."""
        return rearrange(steps, "... (k a) -> ... k a", k=self.block)

    def sequence(self, plan: Tensor) -> Tensor:
        """The actions of a plan in the order in which they are executed: [B, H, block * A] -> [B, H * block, A]."""
        return rearrange(plan, "b h (k a) -> b (h k) a", k=self.block)

    def centre(self) -> Tensor:
        """A planned step in the middle of the bounds, or the step nearest to 0 where a bound is infinite: [block * A]."""
        middle = (self.low + self.high) / 2
        bounded = self.low.isfinite() & self.high.isfinite()
        nearest = torch.zeros_like(self.low).clamp(self.low, self.high)
        return self.clip(repeat(torch.where(bounded, middle, nearest), "a -> (k a)", k=self.block))
