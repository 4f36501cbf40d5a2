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
from worldmodel.models.decoder import Decoder
from worldmodel.rollouts.decoder_fitting import load_decoder
from worldmodel.runs.acting import load_acting_model
from worldmodel.runs.run_data import find_data

Sizes = tuple[int, int, int]  # of actions, actions per step, context


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
    missing: str = ""  # why `data` was not found

    @property
    def about(self) -> dict[str, Any]:
        return {"name": Path(self.spec).name, "spec": self.spec, "step": self.step, "hash": self.hash}

    @property
    def sizes(self) -> Sizes:
        return self.model.action_size, self.model.actions_per_step, self.model.max_context


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
        data = trained_on.manifests[0]
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
                "" if data is not None else trained_on.missing[0],
            )
        )
    for it in found[1:]:
        check_comparable(found[0].sizes, found[0].spec, it)
    return found


def check_comparable(sizes: Sizes, spec: str, it: NamedModel) -> None:
    """Raise EvalError unless a model has the sizes of the first one."""
    if it.sizes != sizes:
        raise EvalError(
            f"{it.spec} and {spec} differ in size of actions, actions per step or context "
            f"({it.sizes} and {sizes}); several --model are runs of one recipe with different seeds"
        )
