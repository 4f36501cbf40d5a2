"""The runs of `--model`, as planners use them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from eval.errors import EvalError
from eval.planning.action_model import ActionModel
from eval.subject import weights_hash
from worldmodel.checkpoint import Checkpoint, find_checkpoint
from worldmodel.models.causal import CausalConfig
from worldmodel.models.decoder import Decoder
from worldmodel.recipe import Recipe, changed_fields
from worldmodel.rollouts.decoder_fitting import load_decoder
from worldmodel.runs.acting import load_acting_model
from worldmodel.runs.run_data import find_data

Sizes = tuple[int, int, int]  # of actions, actions per step, context
# fields that may differ between training seeds, besides those that `changed_fields` leaves out: the seed, the places of
# weights, of which each seed has its own, and when a run is checked and saved. The decoder draws pictures only
_MAY_DIFFER = ("seed:", "init_from:", "model.frozen_encoder.source:", "model.target.run:", "decoder.", "health.", "checkpoint.")


@dataclass(frozen=True)
class NamedModel:
    """A model with actions, and where it comes from."""

    spec: str
    model: ActionModel
    hash: str  # of the weights of the model, as in other evaluations
    step: int | None = None
    data: str | None = None  # manifest that it was trained on, the first one of a mixture; None if it was not found
    decoder: Decoder | None = None
    heads_hash: str = ""  # of the weights of the heads, which are part of the cost
    missing: str = ""  # which manifest of the run was not found, and why
    more_data: tuple[str, ...] = ()  # the other manifests of a mixture that were found
    recipe: Recipe | None = None

    @property
    def about(self) -> dict[str, Any]:
        return {"name": Path(self.spec).name, "spec": self.spec, "step": self.step, "hash": self.hash}

    @property
    def sizes(self) -> Sizes:
        return self.model.action_size, self.model.actions_per_step, self.model.max_context

    @property
    def size_px(self) -> int | None:
        """Side of the square frames that it was trained on; None where that is not known."""
        return None if self.recipe is None else self.recipe.window.size_px

    @property
    def trained_steps(self) -> int | None:
        """The most planned steps that it was trained to predict; None where that is not known."""
        if self.recipe is None or not isinstance(self.recipe.model, CausalConfig):
            return None
        return max(self.recipe.model.rollout_steps, self.recipe.model.predictor.horizons)


def open_models(specs: Sequence[str], device: torch.device) -> list[NamedModel]:
    """Load runs with actions. Raises EvalError where they cannot be compared, CheckpointError or ConfigError for others."""
    found = []
    for spec in specs:
        acting = load_acting_model(spec, device)
        if acting.takes_state_differences:
            names = ", ".join(acting.statistics.action_names)
            raise EvalError(
                f"{spec}: its actions are changes of the state ({names}; model.condition.actions is state_difference), which "
                "an environment does not execute; train with actions: recorded to evaluate plans"
            )
        checkpoint: Checkpoint = find_checkpoint(spec)
        decoder = load_decoder(checkpoint, acting.model, acting.recipe, device)
        trained_on = find_data(acting.recipe, checkpoint)
        data, *more = trained_on.manifests
        heads = nn.ModuleDict(
            {name: head for name, head in (("inverse", acting.inverse_head), ("steps", acting.steps_head)) if head is not None}
        )
        found.append(
            NamedModel(
                spec,
                acting,
                weights_hash(acting.model),
                checkpoint.step,
                None if data is None else str(data),
                decoder,
                weights_hash(heads),
                next(iter(trained_on.missing), ""),
                tuple(str(path) for path in more if path is not None),
                acting.recipe,
            )
        )
    for it in found[1:]:
        check_comparable(found[0].sizes, found[0].spec, it)
        check_same_recipe(found[0], it)
    return found


def check_comparable(sizes: Sizes, spec: str, it: NamedModel) -> None:
    """Raise EvalError unless a model has the sizes of the first one."""
    if it.sizes != sizes:
        raise EvalError(
            f"{it.spec} and {spec} differ in size of actions, actions per step or context "
            f"({it.sizes} and {sizes}); several --model are runs of one recipe with different seeds"
        )


def check_same_recipe(first: NamedModel, it: NamedModel) -> None:
    """Raise EvalError unless two runs are of one recipe: they differ in the seed, places of files and output alone."""
    different = [] if first.recipe is None or it.recipe is None else changed_fields(first.recipe, it.recipe)
    different = [field for field in different if not field.startswith(_MAY_DIFFER)]
    before, now = first.model.statistics, it.model.statistics
    if not different and (before.action_mean, before.action_std) != (now.action_mean, now.action_std):
        old, new = ((some.action_mean, some.action_std) for some in (before, now))
        different = [f"mean and standard deviation of its actions: {old} -> {new}"]
    if different:
        raise EvalError(
            f"{it.spec} is no other training seed of {first.spec}: {different[0][:300]}; several --model are runs of one "
            "recipe with different seeds"
        )


def notes_on_models(models: Sequence[NamedModel], horizon: int) -> list[str]:
    """What to tell: training data that pairs were not compared with, and plans beyond what the first model was trained for."""
    notes = [f"{it.spec}: {it.missing}; pairs were not compared with these training episodes" for it in models if it.missing]
    trained = models[0].trained_steps if models else None
    if trained is not None and horizon > trained:
        notes.append(
            f"--horizon {horizon} is more than the {trained} steps that {models[0].spec} was trained to predict "
            f"(model.rollout_steps); later forecasts of a plan may be wrong, so try --horizon {trained} or less"
        )
    return notes
