"""Our models with the interface of stable-worldmodel's solvers, in both of its versions.

The wheel 0.1.1 calls `get_cost(info, candidates)`; the main branch calls `encode(info)` and then
`rollout(info, candidates)`, and computes the cost itself. Neither is imported here: the adapter
follows the protocol. E environments, S candidates, H planned steps, T frames.

Its action candidates are normalised (z-scores), because its solvers sample around 0 with standard
deviation 1; the statistics of the run restore the units of the environment.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol

import torch
from einops import rearrange
from torch import Tensor

from worldmodel.planning.plan import Cost, PlanningError


class _Acting(Protocol):
    """The part of ActingModel that is used here."""

    @property
    def action_size(self) -> int: ...

    def observe(self, frames: Tensor, actions: Tensor | None = None) -> Any: ...

    def encode(self, frames: Tensor) -> Tensor: ...

    def imagine(self, context: Any, actions: Tensor) -> Tensor: ...

    def goal_cost(self, context: Any, goal: Tensor, steps: Literal["all", "last"] = "all") -> Cost: ...


class StableWorldModelAdapter(torch.nn.Module):
    """A run as the `model` of a solver of stable-worldmodel.

    info["pixels"] and info["goal"] are uint8 or float in [0, 1]: [E, S, T, C, h, w], equal for all
    candidates, or [E, T, C, h, w]. `get_cost` takes T = 1 alone. `rollout` takes all frames as the context where
    info["action_history"] has the actions between them, [E, S, T - 1, A] or [E, T - 1, A], and the newest frame otherwise.
    restore: normalised actions [..., A] -> units of the environment, by the statistics of the run: `acting.actions.restore`.
    Each frame is encoded by itself, so models with tubelets of several frames are not supported.
    """

    def __init__(
        self,
        model: _Acting,
        restore: Callable[[Tensor], Tensor],
        steps: Literal["all", "last"] = "last",
    ) -> None:
        super().__init__()
        self._model, self._restore, self._steps = model, restore, steps

    @torch.no_grad()
    def get_cost(self, info_dict: dict[str, Any], action_candidates: Tensor) -> Tensor:
        """Cost of candidates [E, S, H, block * A] -> [E, S] (interface of the wheel).

        Raises PlanningError for more than one frame of context: of the candidates of the wheel, the first T - 1 are then the
        actions between these frames, and only the others are planned.
        """
        frames = _frames(info_dict["pixels"])
        if frames.shape[1] > 1:
            raise PlanningError(
                f"get_cost was given {frames.shape[1]} frames of context; expected 1. In stable-worldmodel 0.1.1 the first "
                f"{frames.shape[1] - 1} steps of all candidates are then the actions between these frames, not planned ones. "
                "Give the newest frame alone (pixels[:, :, -1:]); then every step of a candidate is planned"
            )
        context = self._model.observe(frames)
        goal = self._model.encode(_newest(info_dict["goal"]))[:, -1]
        cost = self._model.goal_cost(context, goal, steps=self._steps)
        return cost(self._checked(action_candidates))

    @torch.no_grad()
    def encode(self, info: dict[str, Any]) -> dict[str, Any]:
        """Write `emb` [E, T, D] (interface of the main branch)."""
        frames = _frames(info["pixels"])
        latents = torch.cat([self._model.encode(frames[:, [t]]) for t in range(frames.shape[1])], 1)
        info["emb"] = rearrange(latents, "e t n d -> e t (n d)")
        return info

    @torch.no_grad()
    def rollout(self, info: dict[str, Any], action_candidates: Tensor) -> dict[str, Any]:
        """Write `predicted_emb` [E, S, T + H, D]: the latents of the context, then those of each planned step."""
        frames = _frames(info["pixels"])
        if "emb" not in info:
            self.encode(info)
        history = info.get("action_history")
        if history is None or frames.shape[1] == 1:
            context = self._model.observe(frames[:, -1:])
        else:
            history = history[:, 0] if history.ndim == 4 else history  # equal for all candidates
            context = self._model.observe(frames, self._restore(history))
        predicted = self._model.imagine(context, self._checked(action_candidates))
        ahead = rearrange(predicted, "e s h n d -> e s h (n d)")
        before = info["emb"][:, None].expand(-1, ahead.shape[1], -1, -1)
        info["predicted_emb"] = torch.cat([before, ahead], 2)
        return info

    def _checked(self, candidates: Tensor) -> Tensor:
        if candidates.ndim != 4 or candidates.shape[-1] != self._model.action_size:
            raise PlanningError(
                f"candidates of shape {list(candidates.shape)}; expected [E, S, H, {self._model.action_size}]: all actions of "
                "a planned step (action_block of the solver times the numbers of an action)"
            )
        return self._restore(candidates)


def _frames(pixels: Tensor) -> Tensor:
    """[E, S, T, C, h, w], where all S are equal, or [E, T, C, h, w] -> uint8 [E, T, h, w, C]."""
    if pixels.ndim == 6:
        pixels = pixels[:, 0]
    if pixels.ndim != 5:
        raise PlanningError(f"pixels of shape {list(pixels.shape)}; expected [E, S, T, C, h, w] or [E, T, C, h, w]")
    if pixels.is_floating_point():
        if pixels.min() < 0 or pixels.max() > 1:
            raise PlanningError(
                f"pixels are float from {pixels.min():.3g} to {pixels.max():.3g}; expected uint8, or float from 0 to 1: the "
                "model normalises them itself"
            )
        pixels = (pixels * 255).round().to(torch.uint8)
    return rearrange(pixels, "e t c h w -> e t h w c")


def _newest(pixels: Tensor) -> Tensor:
    return _frames(pixels)[:, -1:]
