"""GoalHead: a small network on latents that names the next actions towards a goal."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from worldmodel.planning.plan import PlanningError

MAX_FEATURES = 4096  # of a latent step; larger ones are averaged over tokens


def features_of(latents: Tensor) -> Tensor:
    """[..., N, D] -> [..., F], float32."""
    flat = latents.float().flatten(-2)
    return flat if flat.shape[-1] <= MAX_FEATURES else latents.float().mean(-2)


def goal_head_inputs(now: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
    """Features of C frames one after another, and those of the goal C times: [B, C, F], [B, F] -> [B, C F] twice."""
    return now.flatten(1), goal.repeat(1, now.shape[1])


class GoalHead(nn.Module):
    """Maps the latents of now and of a goal, several steps later, to the actions of the next planned step.

    told_steps: it is also told how many steps are left, which makes it a model of inverse dynamics over several steps (Ghosh
    et al. 2021); without, it is goal-conditioned behaviour cloning. longest: the most steps to a goal that it was trained on.
    mean, std: of the features [F]. action_mean, action_std: [A]. `fit_goal_head` trains it.
    """

    mean: Tensor
    std: Tensor
    action_mean: Tensor
    action_std: Tensor

    def __init__(
        self,
        mean: Tensor,
        std: Tensor,
        action_mean: Tensor,
        action_std: Tensor,
        longest: int,
        told_steps: bool = True,
        width: int = 256,
    ) -> None:
        super().__init__()
        self.longest, self.told_steps = longest, told_steps
        for name, value in (("mean", mean), ("std", std), ("action_mean", action_mean), ("action_std", action_std)):
            self.register_buffer(name, value)
        self.network = nn.Sequential(
            nn.Linear(2 * len(mean) + told_steps, width),
            nn.GELU(),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Linear(width, len(action_mean)),
        )

    def forward(self, now: Tensor, goal: Tensor, steps_left: Tensor | float) -> Tensor:
        """Actions of the next planned step, in units of the environment: latents [B, N, D] twice -> [B, A].

        steps_left: planned steps to the goal, a number or [B]; more than `longest` count as `longest`. Raises PlanningError for
        latents of another size.
        """
        features = [features_of(latents) for latents in (now, goal)]
        for found in features:
            if found.shape[-1] != len(self.mean):
                raise PlanningError(
                    f"latents {list(now.shape)} and goals {list(goal.shape)} have {found.shape[-1]} features; this head was "
                    f"trained on {len(self.mean)}. Encode them with the model whose latents it was trained on"
                )
        left = torch.as_tensor(steps_left).to(self.mean).expand(len(now))
        normalised = self.normalised(features[0].to(self.mean), features[1].to(self.mean), left)
        return normalised * self.action_std + self.action_mean

    def normalised(self, now: Tensor, goal: Tensor, steps_left: Tensor) -> Tensor:
        """The same, of features [B, F] twice and steps [B]: normalised actions [B, A]."""
        inputs = [(now - self.mean) / self.std, (goal - self.mean) / self.std]
        if self.told_steps:
            inputs.append((steps_left.clamp(max=self.longest) / self.longest)[:, None])
        found: Tensor = self.network(torch.cat(inputs, -1))
        return found
