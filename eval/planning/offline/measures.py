"""Measures of a model with actions on recorded episodes, without the environment.

Does the forecast use the action? Does the cost prefer the recorded actions to others?
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from data_prep.environments.tasks import Task
from eval.forecasts.skill import mean_error, others_mean
from eval.intervals import bootstrap_of_sums
from eval.planning.action_model import ActionModel
from eval.planning.offline.reach import reach
from eval.planning.offline.recorded import Recorded

Array = NDArray[np.float64]
RECORDED, SHUFFLED, FREE, COPY, MEAN = "recorded actions", "shuffled actions", "mean action", "copy last", "mean latent"
MAX_HORIZON = 32
CANDIDATES = 64  # sequences of other episodes that the recorded one is ranked among
GRID = 15
LANDSCAPES, LANDSCAPE_STEPS = 3, 5


class Windows:
    """One window of each episode that is long enough: a context and the `horizon` steps after it."""

    def __init__(self, model: ActionModel, episodes: Sequence[Recorded], context: int, horizon: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.model, self.horizon = model, horizon
        self.episodes = [episode for episode in episodes if len(episode.latents) >= context + horizon]
        self.last = [context - 1 + int(rng.integers(len(e.latents) - context - horizon + 1)) for e in self.episodes]
        self.context = context
        self.target = torch.stack([e.latents[t + 1 : t + 1 + horizon] for e, t in self._each()])  # [B, H, N, D]
        self.now = torch.stack([e.latents[t] for e, t in self._each()])  # [B, N, D]
        self.actions = torch.stack([e.actions[t : t + horizon] for e, t in self._each()])  # [B, H, A]
        self._observed: Any = None

    def _each(self) -> list[tuple[Recorded, int]]:
        return list(zip(self.episodes, self.last, strict=True))

    def observed(self, device: torch.device) -> Any:
        """The contexts of all windows. Their frames are read at the first call."""
        if self._observed is not None:
            return self._observed
        frames, actions = [], []
        for episode, t in self._each():
            assert episode.frames is not None
            frames.append(episode.frames(range(t + 1 - self.context, t + 1)))
            actions.append(episode.actions[t + 1 - self.context : t])
        between = torch.stack(actions).to(device) if self.context > 1 else None
        self._observed = self.model.observe(torch.from_numpy(np.stack(frames)).to(device), between)
        return self._observed


def windows_of(model: ActionModel, episodes: Sequence[Recorded], context: int, seed: int) -> Windows | None:
    """Windows with the longest horizon up to MAX_HORIZON that half of the episodes have; None where there are too few."""
    lengths = np.array([len(episode.latents) for episode in episodes])
    horizon = min(MAX_HORIZON, int(np.median(lengths)) - context) if len(lengths) else 0
    found = Windows(model, episodes, context, horizon, seed) if horizon >= 1 else None
    return found if found is not None and len(found.episodes) >= 2 else None


@torch.no_grad()
def forecast_errors(windows: Windows, device: torch.device) -> dict[str, Any]:
    """Mean latent error by horizon of forecasts under actions, and of baselines that see none.

    The action-free forecast is that of the same model under a constant action: the mean of the actions of these held-out
    episodes. No model is trained without actions for it.
    """
    model, actions = windows.model, windows.actions
    free = torch.cat([episode.actions for episode in windows.episodes]).mean(0).expand_as(actions)
    context = windows.observed(device)
    target = windows.target
    mean = torch.from_numpy(np.asarray(others_mean(target.double().numpy()), np.float32))
    predicted = {
        name: model.imagine(context, some[:, None].to(device))[:, 0].cpu()
        for name, some in ((RECORDED, actions), (SHUFFLED, actions.roll(1, 0)), (FREE, free))
    }
    predicted |= {COPY: windows.now[:, None].expand_as(target), MEAN: mean}
    errors = {name: _latent_distance(model, some, target) for name, some in predicted.items()}
    return {
        "horizons": list(range(1, windows.horizon + 1)),
        "episodes": len(target),
        "error": {name: mean_error(values) for name, values in errors.items()},
        "uses_actions": _less(errors[RECORDED], errors[SHUFFLED]),
    }


def _less(errors: Array, other: Array) -> dict[str, float]:
    """1 - error / other error over all horizons, with an interval over episodes; 0: the actions make no difference."""
    sums = np.stack([errors.mean(1), other.mean(1)], 1)
    value, low, high = bootstrap_of_sums(sums, lambda total: 1 - total[..., 0] / np.maximum(total[..., 1], 1e-30))
    return {"value": value, "low": low, "high": high}


def _latent_distance(model: ActionModel, latents: torch.Tensor, goal: torch.Tensor, kind: str = "latent") -> Array:
    found: Array = model.distance(latents, goal, kind=kind).double().cpu().numpy()
    return found


@torch.no_grad()
def action_ranks(windows: Windows, device: torch.device, seed: int, steps: str = "last") -> list[dict[str, Any]]:
    """By horizon: the fraction of sequences of other episodes that cost more than the recorded one. Chance: 0.5.

    The goal is the recorded latent after the horizon. steps: which steps cost, all or last, as the planner has it.
    """
    rng, context, found = np.random.default_rng(seed), windows.observed(device), []
    pool = [episode.actions for episode in windows.episodes]
    for horizon in [h for h in (1, 2, 4, 8, 16, 32) if h <= windows.horizon]:
        others = torch.stack(
            [
                torch.stack([_segment(pool, horizon, index, rng) for _ in range(CANDIDATES)])
                for index in range(len(windows.episodes))
            ]
        )
        actions = torch.cat([windows.actions[:, None, :horizon], others], 1).to(device)
        cost = windows.model.goal_cost(context, windows.target[:, horizon - 1].to(device), steps=steps)(actions)
        costs = cost.double().cpu().numpy()
        above = (costs[:, 1:] > costs[:, :1]).mean(1) + 0.5 * (costs[:, 1:] == costs[:, :1]).mean(1)
        value, low, high = bootstrap_of_sums(
            np.stack([above, np.ones(len(above))], 1), lambda total: total[..., 0] / total[..., 1]
        )
        row = {"horizon": horizon, "value": value, "low": low, "high": high}
        found.append({**row, "n": len(above), "chance": 0.5, "cost_steps": steps})
    return found


def _segment(pool: Sequence[torch.Tensor], horizon: int, but: int, rng: np.random.Generator) -> torch.Tensor:
    """Recorded actions of another episode, [horizon, A]."""
    which = (but + 1 + int(rng.integers(len(pool) - 1))) % len(pool)
    first = int(rng.integers(len(pool[which]) - horizon + 1))
    return pool[which][first : first + horizon]


@torch.no_grad()
def action_probe(windows: Windows, device: torch.device) -> dict[str, dict[str, float]]:
    """R2 of the actions that the inverse dynamics head reads from real and from predicted transitions.

    1: exact; 0: no better than the mean action. Intervals are over episodes.
    """
    model = windows.model
    predicted = model.imagine(windows.observed(device), windows.actions[:, None].to(device))[:, 0].cpu()
    true = windows.actions.double()
    scatter = (true - true.mean((0, 1))).square().sum((1, 2)).numpy()
    found = {}
    for name, after in (("real transitions", windows.target), ("predicted transitions", predicted)):
        now = torch.cat([windows.now[:, None], after[:, :-1]], 1)
        read = model.inverse(now.flatten(0, 1).to(device), after.flatten(0, 1).to(device)).cpu().double()
        error = (read.reshape(true.shape) - true).square().sum((1, 2)).numpy()
        value, low, high = bootstrap_of_sums(
            np.stack([error, scatter], 1), lambda total: 1 - total[..., 0] / np.maximum(total[..., 1], 1e-30)
        )
        found[name] = {"value": value, "low": low, "high": high}
    return found


@torch.no_grad()
def landscapes(windows: Windows, size: int, bounds: tuple[Array, Array], device: torch.device) -> list[dict[str, Any]]:
    """Cost of constant actions over a grid, of 2-D actions: pictures of the first windows.

    The last step costs, whatever the planner's cost is. The goal is the latent some steps later in the
    recording. size: numbers of a single action. bounds: its least and largest numbers, [2] each.
    """
    steps = min(LANDSCAPE_STEPS, windows.horizon)
    if size != 2:
        return []
    low, high = bounds
    axes = [np.linspace(low[axis], high[axis], GRID) for axis in range(2)]
    grid = torch.from_numpy(np.stack(np.meshgrid(*axes, indexing="xy"), -1).reshape(-1, 2)).float()  # rows: second number
    repeats = windows.actions.shape[-1] // size
    actions = grid.repeat(1, repeats)[None, :, None].expand(len(windows.episodes), -1, steps, -1).to(device)
    cost = windows.model.goal_cost(windows.observed(device), windows.target[:, steps - 1].to(device), steps="last")
    costs = cost(actions).cpu().numpy()
    recorded = windows.actions[:, :steps].reshape(len(windows.episodes), -1, size).mean(1).numpy()
    return [
        {
            "low": [float(value) for value in low],
            "high": [float(value) for value in high],
            "costs": costs[index].reshape(GRID, GRID).tolist(),
            "recorded": recorded[index].tolist(),
            "lowest": grid[int(costs[index].argmin())].tolist(),
            "steps": steps,
        }
        for index in range(min(LANDSCAPES, len(costs)))
    ]


def measure(
    model: ActionModel,
    episodes: Sequence[Recorded],
    context: int,
    task: Task | None,
    size: int,
    bounds: tuple[Array, Array],
    device: torch.device,
    seed: int = 0,
    steps: str = "last",
    report: Callable[[str], None] = lambda note: None,
) -> dict[str, Any]:
    """All offline measures, in JSON types. bounds: of a single action. steps: which steps of a plan cost, all or last."""
    if not episodes:
        report("the held-out episodes are too short: none has two planned steps; nothing was measured on them")
        return {}
    found: dict[str, Any] = {"reach": reach(model, episodes, task, device, seed)}
    windows = windows_of(model, episodes, context, seed)
    if windows is None:
        report("the held-out episodes are too short for forecasts after a context; only the reach was measured")
        return found
    found["forecast"] = forecast_errors(windows, device)
    found["action_rank"] = action_ranks(windows, device, seed, steps)
    found["landscapes"] = landscapes(windows, size, bounds, device)
    if model.has_inverse:
        found["action_probe"] = action_probe(windows, device)
    return found
