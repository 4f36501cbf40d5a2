"""A model of Two Rooms that is exact where no wall is: its latent is the position of the dot, read from the picture."""

from __future__ import annotations

import torch

from worldmodel.planning import Context, goal_distance
from worldmodel.signals import SignalStatistics

STATISTICS = SignalStatistics((0.0, 0.0), (1.0, 1.0), (), (), ("dx", "dy"), (), 1, ())


class PositionModel:
    """Implements eval.planning.action_model.ActionModel. gain: by which it overestimates the effect of actions."""

    action_size, actions_per_step, max_context = 2, 1, 2
    has_inverse, has_steps, statistics = True, False, STATISTICS

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = gain

    def encode(self, frames):
        red = frames[..., 0].double()
        places = torch.arange(red.shape[-1], dtype=torch.float64)
        total = red.sum((-1, -2))
        x, y = (red * places).sum((-1, -2)) / total, (red * places[:, None]).sum((-1, -2)) / total
        return torch.stack([x, y], -1)[..., None, :].float()  # [B, T, 1, 2]

    def observe(self, frames, actions=None):
        assert frames.shape[1] == 1 or actions.shape[1] == frames.shape[1] - 1
        return Context(self.encode(frames)[:, -1:])

    def imagine(self, context, actions):
        now = context.last[:, None, None]
        return now + self.gain * actions.cumsum(2)[..., None, :].to(now)

    def distance(self, latents, goal, kind="auto"):
        return (latents - goal).square().mean((-1, -2))

    def goal_cost(self, context, goal, steps="all", kind="auto"):
        return lambda actions: goal_distance(self.imagine(context, actions), goal, steps)

    def inverse(self, now, later):
        return (later - now)[:, 0] / self.gain

    def untrained(self, seed):
        return PositionModel(gain=-1.0)  # each action leads the other way
