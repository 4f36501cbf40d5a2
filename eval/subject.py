"""The subject of an evaluation: a trained run, an untrained network, or a pixel baseline."""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from eval.precision import Precision, check_precision, in_precision
from eval.voe.scorers import PIXEL_BASELINES
from eval.voe.trials import TrialError
from worldmodel.checkpoint import Checkpoint, find_checkpoint, load_model
from worldmodel.config import load_config
from worldmodel.models import build_model
from worldmodel.models.pretrained.hub import find_folder
from worldmodel.models.pretrained.load import load_pretrained
from worldmodel.models.weights_hash import weights_hash
from worldmodel.models.world_model import WorldModel
from worldmodel.recipe import Recipe
from worldmodel.runs.run_data import run_folder_of
from worldmodel.storage.urls import is_url


@dataclass(frozen=True)
class Subject:
    """A model or pixel baseline that is evaluated.

    For a pixel baseline, `model` is None and `spec` is "baseline:" and the name.
    """

    spec: str
    name: str
    model: WorldModel | None
    recipe: Recipe | None  # of models that were trained here: names their training data
    step: int | None = None
    checkpoint: Checkpoint | None = None  # of a run
    precision: Precision = "fp32"  # in which the model is run

    @property
    def hash(self) -> str:
        """Digest of all weights: 16 hex digits."""
        return (
            weights_hash(self.model)
            if isinstance(self.model, nn.Module)
            else hashlib.sha256(self.spec.encode()).hexdigest()[:16]
        )


def open_subject(spec: str, device: torch.device, precision: Precision = "fp32") -> Subject:
    """Open what `--model` names, to be run in this precision.

    spec: RUN (a run or checkpoint folder), `hf:FOLDER` (or an id on the hub),
    `untrained:RECIPE.yaml` or `baseline:NAME`.

    Raises TrialError for another spec; CheckpointError, PretrainedError or ConfigError if the model
    cannot be loaded; EvalError where the device does not have the precision.
    """
    check_precision(precision, device)
    subject = _open(spec, device)
    if subject.model is None:
        return subject
    return replace(subject, model=in_precision(subject.model, precision), precision=precision)


def _open(spec: str, device: torch.device) -> Subject:
    kind, colon, rest = spec.partition(":")
    if kind == "baseline" and colon:
        if rest not in PIXEL_BASELINES:
            near = difflib.get_close_matches(rest, PIXEL_BASELINES, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise TrialError(f"{rest!r} is no pixel baseline{hint}: {', '.join(PIXEL_BASELINES)}")
        return Subject(spec, rest, None, None)
    if kind == "hf" and colon and (find_folder(rest) / "state.json").is_file():  # a model that was trained here
        checkpoint = find_checkpoint(find_folder(rest))
        trained, recipe = load_model(checkpoint.folder, device)
        return Subject(spec, Path(rest).name, trained, recipe, checkpoint.step, checkpoint)
    if kind == "hf" and colon:
        return Subject(spec, Path(rest).name, load_pretrained(rest, device), None)
    if kind == "untrained" and colon:
        recipe = load_config(Recipe, rest)
        model = untrained_copy(build_model(recipe.model, recipe.window), 0, device)
        return Subject(spec, f"{Path(rest).stem}, untrained", model, recipe)
    if not is_url(spec) and not Path(spec).exists():
        raise TrialError(f"{spec}: no such run folder; --model takes RUN, hf:FOLDER, untrained:RECIPE.yaml or baseline:NAME")
    checkpoint = find_checkpoint(spec)
    model, recipe = load_model(checkpoint.folder, device)
    return Subject(spec, run_folder_of(checkpoint).name, model, recipe, checkpoint.step, checkpoint)


def untrained_copy(like: WorldModel, seed: int, device: torch.device, precision: Precision = "fp32") -> WorldModel:
    """A copy of a model with freshly initialised weights, to be run in this precision.

    A predictor that is initialised as the identity gets random last weights. Otherwise it would equal
    the latent copy, which is another baseline.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = like.reinitialised()
        for parameter in model.parameters():
            if parameter.ndim > 1 and not parameter.any():
                nn.init.trunc_normal_(parameter, std=0.02)
    copy: WorldModel = model.to(device).eval()  # type: ignore[assignment]
    return in_precision(copy, precision)
