"""Who is evaluated: a trained run, a network that never trained, or a scorer that knows nothing."""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from eval.voe.scorers import BLIND
from eval.voe.trials import TrialError
from worldmodel.checkpoint import Checkpoint, find_checkpoint, load_model
from worldmodel.config import load
from worldmodel.models import build_model
from worldmodel.models.pretrained.load import load_pretrained
from worldmodel.models.world_model import WorldModel
from worldmodel.recipe import Recipe


@dataclass(frozen=True)
class Subject:
    """What is evaluated. `model` is None for a blind scorer, whose name then is `spec` after "blind:"."""

    spec: str
    name: str
    model: WorldModel | None
    recipe: Recipe | None  # of our own models: says what they were trained on
    update: int | None = None
    checkpoint: Checkpoint | None = None  # of a run

    @property
    def hash(self) -> str:
        """Of all weights: 16 hex digits."""
        return (
            weights_hash(self.model)
            if isinstance(self.model, nn.Module)
            else hashlib.sha256(self.spec.encode()).hexdigest()[:16]
        )


def open_subject(spec: str, device: torch.device) -> Subject:
    """From RUN (a run or checkpoint folder), `hf:FOLDER` (or an id on the hub), `untrained:RECIPE.yaml` or `blind:NAME`.

    Raises TrialError for what is none of these, CheckpointError, PretrainedError or ConfigError for what cannot be loaded.
    """
    kind, colon, rest = spec.partition(":")
    if kind == "blind" and colon:
        if rest not in BLIND:
            near = difflib.get_close_matches(rest, BLIND, 1)
            raise TrialError(f"{rest!r} is no blind scorer{f'; did you mean {near[0]!r}?' if near else ''}: {', '.join(BLIND)}")
        return Subject(spec, rest, None, None)
    if kind == "hf" and colon:
        return Subject(spec, Path(rest).name, load_pretrained(rest, device), None)
    if kind == "untrained" and colon:
        recipe = load(Recipe, rest)
        return Subject(
            spec, f"{Path(rest).stem}, untrained", untrained(build_model(recipe.model, recipe.window), 0, device), recipe
        )
    if not Path(spec).exists():
        raise TrialError(f"{spec}: no such run folder; --model takes RUN, hf:FOLDER, untrained:RECIPE.yaml or blind:NAME")
    checkpoint = find_checkpoint(Path(spec))
    model, recipe = load_model(checkpoint.folder, device)
    return Subject(spec, checkpoint.folder.parent.parent.name, model, recipe, checkpoint.update, checkpoint)


def untrained(like: WorldModel, seed: int, device: torch.device) -> WorldModel:
    """A model of the same architecture with the weights it is born with. A predictor that is born as a copy is given random
    last weights: else it would be the copy, which stands beside it anyway."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = like.reborn()
        for parameter in model.parameters():
            if parameter.ndim > 1 and not parameter.any():
                nn.init.trunc_normal_(parameter, std=0.02)
    born: WorldModel = model.to(device).eval()  # type: ignore[assignment]
    return born


def weights_hash(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(
            tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes() if tensor.ndim else str(tensor).encode()
        )
    return digest.hexdigest()[:16]
