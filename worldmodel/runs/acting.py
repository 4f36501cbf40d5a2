"""A finished run as planners use it: pictures and actions of the environment in, predicted latents and costs out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from worldmodel.checkpoint import find_checkpoint, load_into, load_model
from worldmodel.config import ConfigError
from worldmodel.models import build_model
from worldmodel.models.blocks.layers import init_linear
from worldmodel.models.causal import CausalWorldModel
from worldmodel.models.condition import ActionInput
from worldmodel.models.pixels import standardise_, to_float
from worldmodel.models.targets import FrozenTarget
from worldmodel.objectives import OBJECTIVES_WITH_HEADS, build_objective
from worldmodel.objectives.idm import InverseDynamics
from worldmodel.objectives.objective import Objective
from worldmodel.objectives.steps_to_go import StepsToGo
from worldmodel.planning import Context, Cost, PlanningError, goal_distance
from worldmodel.recipe import Recipe
from worldmodel.signals import SignalStatistics
from worldmodel.video.geometry import square_pictures

DistanceName = Literal["auto", "latent", "steps"]


@dataclass(frozen=True)
class ActingModel:
    """A model that takes actions. All actions are in units of the environment; they are normalised inside.

    Every frame has a latent step of its own, so models with tubelets of several frames are not supported.
    """

    model: CausalWorldModel
    recipe: Recipe
    actions: ActionInput
    inverse_head: InverseDynamics | None
    steps_head: StepsToGo | None

    @property
    def statistics(self) -> SignalStatistics:
        """Means and deviations of the train split."""
        values = self.actions.statistics.model_dump()
        return SignalStatistics(**{name: value for name, value in values.items() if name != "actions_per_step"})

    @property
    def actions_per_step(self) -> int:
        """Recorded actions in one planned step."""
        return self.actions.statistics.actions_per_step

    @property
    def action_size(self) -> int:
        """Numbers of one planned step: all its actions, one after another."""
        return self.actions.size

    @property
    def max_context(self) -> int:
        """Frames that `observe` uses at most. A predictor without blocks sees the last frame alone."""
        return 1 if self.model.config.predictor.depth == 0 else self.model.max_context

    @property
    def takes_state_differences(self) -> bool:
        """Whether its actions are changes of the state (`model.condition.actions`), which no environment executes."""
        condition = self.model.config.condition
        return condition is not None and condition.actions == "state_difference"

    @property
    def has_inverse(self) -> bool:
        return self.inverse_head is not None

    @property
    def has_steps(self) -> bool:
        return self.steps_head is not None

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Tensor:
        """Latents of pictures as the environment or a camera gives them: uint8 [B, T, H, W, 3] -> [B, T, N, D].

        Pictures of another size are resized as in training, and of a wide or tall one the middle square is used. Latents are
        those of the trained encoder, because predictor and heads were trained on these and not on the teacher's.
        """
        size = self.model.size_px
        if frames.shape[2:4] != (size, size):
            squares = square_pictures(frames.flatten(0, 1).cpu().numpy(), size)
            frames = torch.from_numpy(squares).unflatten(0, frames.shape[:2])
        return self.model.encode_context(standardise_(to_float(frames.to(self.actions.mean.device))))

    def observe(self, frames: Tensor, actions: Tensor | None = None) -> Context:
        """The context of a plan, from pictures uint8 [B, T, H, W, 3] and the actions between them, [B, T - 1, A].

        Earlier steps than the model can use are left out. Raises PlanningError for actions that do not fit.
        """
        latents = self.encode(frames[:, -self.max_context :])
        steps = latents.shape[1]
        if steps == 1:
            return Context(latents, None)
        if actions is None or actions.shape[1] < steps - 1:
            given = "none" if actions is None else str(actions.shape[1])
            raise PlanningError(f"{steps} frames were observed, so {steps - 1} actions between them are needed; got {given}")
        return Context(latents, self._checked(actions[:, 1 - steps :]))

    def imagine(self, context: Context, actions: Tensor) -> Tensor:
        """Predict latents: actions [B, S, H, A] -> [B, S, H, N, D]. Differentiable with respect to actions."""
        return self.model.imagine(context.latents, actions.shape[2], self._checked(actions), context.before)

    def distance(self, latents: Tensor, goal: Tensor, kind: DistanceName = "auto") -> Tensor:
        """Distance of latents to a goal: [..., N, D], [..., N, D] -> [...]. The leading axes broadcast.

        latent: mean squared difference. steps: steps to go, by the head of the objective steps_to_go. auto: steps where
        the run has that head. Raises PlanningError where it has none.
        """
        if kind == "steps" and self.steps_head is None:
            raise PlanningError("this run has no objective steps_to_go, so it cannot tell the steps to a goal; use 'latent'")
        if kind == "latent" or self.steps_head is None:
            return (latents - goal).square().mean((-1, -2))
        return self.steps_head(latents, goal)

    def goal_cost(
        self, context: Context, goal: Tensor, steps: Literal["all", "last"] = "all", kind: DistanceName = "auto"
    ) -> Cost:
        """The cost of action sequences: distance of predicted latents to goals [B, N, D], summed or of the last step."""

        def cost(actions: Tensor) -> Tensor:
            predicted = self.imagine(context, actions)
            if kind == "latent" or (kind == "auto" and self.steps_head is None):
                return goal_distance(predicted, goal, steps)
            distances = self.distance(predicted[:, :, -1:] if steps == "last" else predicted, goal[:, None, None], kind)
            return distances.sum(-1)

        return cost

    @torch.no_grad()
    def inverse(self, now: Tensor, later: Tensor) -> Tensor:
        """The action that leads from latents [B, N, D] to latents one step later: [B, A]. PlanningError without a head."""
        if self.inverse_head is None:
            raise PlanningError("this run has no objective idm, so it has no inverse dynamics")
        return self.actions.restore(self.inverse_head(now, later))

    def untrained(self, seed: int = 0) -> ActingModel:
        """The same architecture with initial weights, without heads. torch's global generator is not changed."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = build_model(self.recipe.model, self.recipe.window)
            assert isinstance(model, CausalWorldModel)
            assert model.action_input is not None
            # Some layers of a new predictor are zero, so it copies the last latent. All plans would cost the same,
            # and the baseline would be "do nothing". Random weights make a forecast that depends on actions.
            for layer in model.predictor.zero_layers():
                init_linear(layer)
            if model.config.frozen_encoder is not None:  # it was not trained by this run
                model.encoder.load_state_dict(self.model.encoder.state_dict())
        device = self.actions.mean.device
        _freeze(model, device)
        return replace(self, model=model, actions=model.action_input, inverse_head=None, steps_head=None)

    def _checked(self, actions: Tensor) -> Tensor:
        if actions.shape[-1] != self.action_size:
            block = f"{self.actions_per_step} actions of {len(self.actions.statistics.action_mean)}"
            raise PlanningError(
                f"actions of {actions.shape[-1]} numbers per planned step; this model takes {self.action_size} ({block}: "
                f"{', '.join(self.actions.statistics.action_names)})"
            )
        return actions.to(self.actions.mean)


def load_acting_model(path: Path | str, device: torch.device | str = "cpu") -> ActingModel:
    """Load the model of a run folder or checkpoint with its heads. Weights have no gradient.

    Raises CheckpointError where there is no checkpoint, ConfigError for a model that cannot plan: one that takes no actions,
    encodes several frames together, or forecasts the latents of a frozen teacher.
    """
    checkpoint = find_checkpoint(path)
    model, recipe = load_model(checkpoint.folder, device)
    if not isinstance(model, CausalWorldModel) or model.action_input is None:
        raise ConfigError([f"{path} was trained without actions (model.condition is null), so it cannot plan"])
    if model.tubelet_size > 1:
        f = model.tubelet_size
        raise ConfigError(
            [f"{path}: model.encoder.tubelet_size is {f}; planning encodes single frames, so train a model with tubelet_size 1"]
        )
    if isinstance(model.config.target, FrozenTarget):
        raise ConfigError(
            [
                f"{path}: model.target.kind is frozen, so it forecasts latents of the teacher, which the heads of this "
                "run do not know; planning needs a model with target kind shared or ema"
            ]
        )
    _freeze(model, device)
    sizes, tensors = recipe.model.latent_sizes(recipe.window), checkpoint.tensors("objectives")
    heads: dict[type[Objective], Objective] = {}
    for name, config in recipe.objectives.items():
        if type(config) in OBJECTIVES_WITH_HEADS:
            head = build_objective(config, sizes)
            own = {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
            load_into(head, own, checkpoint.folder)
            _freeze(head, device)
            heads.setdefault(type(head), head)
    inverse, steps = heads.get(InverseDynamics), heads.get(StepsToGo)
    assert inverse is None or isinstance(inverse, InverseDynamics)
    assert steps is None or isinstance(steps, StepsToGo)
    return ActingModel(model, recipe, model.action_input, inverse, steps)


def _freeze(module: nn.Module, device: torch.device | str) -> None:
    module.to(device).eval().requires_grad_(False)
