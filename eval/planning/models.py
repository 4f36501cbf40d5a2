"""The runs of `--model`, as planners use them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from eval.errors import EvalError
from eval.planning.action_model import ActionModel
from eval.subject import weights_hash
from worldmodel.checkpoint import Checkpoint, find_checkpoint
from worldmodel.models.decoder import Decoder
from worldmodel.rollouts.decoder_fitting import load_decoder
from worldmodel.runs.acting import load_acting_model


@dataclass(frozen=True)
class NamedModel:
    """A model with actions, and where it comes from."""

    spec: str
    model: ActionModel
    hash: str  # of the weights
    step: int | None = None
    data: str | None = None  # manifest that it was trained on
    decoder: Decoder | None = None

    @property
    def about(self) -> dict[str, Any]:
        return {"name": Path(self.spec).name, "spec": self.spec, "step": self.step, "hash": self.hash}


def open_models(specs: Sequence[str], device: torch.device) -> list[NamedModel]:
    """Load runs with actions. Raises EvalError where they cannot be compared, CheckpointError or ConfigError for others."""
    found = []
    for spec in specs:
        acting = load_acting_model(spec, device)
        checkpoint: Checkpoint = find_checkpoint(Path(spec))
        decoder = load_decoder(checkpoint, acting.model, acting.recipe, device)
        data = acting.recipe.data.manifest
        found.append(
            NamedModel(spec, acting, weights_hash(acting.model), checkpoint.step, str(data) if data else None, decoder)
        )
    for it in found[1:]:
        sizes = [(one.model.action_size, one.model.actions_per_step, one.model.max_context) for one in (found[0], it)]
        if sizes[0] != sizes[1]:
            raise EvalError(
                f"{it.spec} and {found[0].spec} differ in size of actions, actions per step or context "
                f"({sizes[1]} and {sizes[0]}); several --model are runs of one recipe with different seeds"
            )
    return found
