"""The recipe: all settings of a run, and the checks that concern several of its parts.

    python -m worldmodel.recipe show [FILE] [a.b=value ...]   print the complete recipe with a description of each field
    python -m worldmodel.recipe schema                        print a JSON schema for completion and checks in editors

Without FILE, the recipe of the demo is used, as in training. The output of `show` is a valid recipe.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from worldmodel.config import Config, ConfigError, json_schema, load_config, read_config_file
from worldmodel.config.explain import explain
from worldmodel.config.shipped import find_config, shipped_configs
from worldmodel.data.augmentation.augment import AugmentConfig
from worldmodel.data.loader import DataConfig
from worldmodel.data.window_config import WindowConfig
from worldmodel.health.monitor import HealthMonitorConfig
from worldmodel.models import ModelConfig
from worldmodel.models.causal import CausalConfig
from worldmodel.objectives import ObjectiveConfig
from worldmodel.objectives.forecast import ForecastConfig
from worldmodel.objectives.objective import BatchSizes
from worldmodel.objectives.vicreg import VICRegConfig
from worldmodel.process.streams import survive_broken_streams
from worldmodel.storage.secrets import texts_of
from worldmodel.storage.urls import UrlError, is_url, is_writable_url, refuse_secrets, split_url
from worldmodel.training.config import CheckpointConfig, DecoderTrainingConfig, TrainConfig
from worldmodel.training.optimizer import OptimConfig

DEMO_RECIPE = shipped_configs() / "demo.yaml"


class Recipe(Config):
    """All settings of a run. `python -m worldmodel.recipe show FILE` prints them with all defaults."""

    run: str = "runs/demo"
    """run folder, or URL (s3://bucket/folder); training resumes where it has checkpoints"""
    upload_to: str | None = None
    """URL to which the run folder is uploaded while training goes on; a run that is a URL sets it"""
    seed: NonNegativeInt = 0
    """seed of initial weights, of the order of windows and of all other random numbers"""
    processes: PositiveInt | None = None
    """training with another number of processes is refused; null = any number"""
    init_from: str | None = None
    """initial weights of a new run: a run folder or checkpoint, or hf:FOLDER or hf:OWNER/NAME of a V-JEPA 2"""
    window: WindowConfig = WindowConfig()
    data: DataConfig = DataConfig()
    augment: AugmentConfig = AugmentConfig()
    model: ModelConfig = CausalConfig()
    """kind: causal (a latent sees its own frames) or masked (tokens see the whole clip)"""
    objectives: dict[str, ObjectiveConfig] = Field({"forecast": ForecastConfig(), "spread": VICRegConfig()}, min_length=1)
    """terms of the loss by name: a forecast, and others that you add. vicreg, sigreg, visreg, barlow
    and info_nce prevent collapse; straightening and temporal_similarity smooth latent trajectories"""
    optim: OptimConfig = OptimConfig()
    train: TrainConfig = TrainConfig()
    health: HealthMonitorConfig = HealthMonitorConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    decoder: DecoderTrainingConfig = DecoderTrainingConfig()

    @model_validator(mode="after")
    def _check(self) -> Recipe:
        if problems := self._secret_problems():
            raise ValueError("\n".join(problems))  # before other messages, which may repeat URLs
        problems = [*self._url_problems(), *self.model.check(self.window)]
        batch_size, accumulation = self.data.batch_size, self.train.grad_accum_steps
        if self.optim.warmup_steps >= self.train.max_steps:
            problems.append(
                f"optim.warmup_steps {self.optim.warmup_steps} is not below train.max_steps {self.train.max_steps}: "
                "the warm-up of the learning rate would never end; lower it"
            )
        indivisible = f"data.batch_size {batch_size} is not divisible by train.grad_accum_steps {accumulation}"
        if batch_size % accumulation:
            problems.append(indivisible)
        if self.processes and batch_size % (accumulation * self.processes):
            problems.append(f"{indivisible} x processes {self.processes}")
        if self.checkpoint.every % self.health.every:
            problems.append(f"checkpoint.every {self.checkpoint.every} is not a multiple of health.every {self.health.every}")
        if not any(isinstance(objective, ForecastConfig) for objective in self.objectives.values()):
            problems.append("objectives: none of them is a forecast, so nothing would train the predictor; add kind: forecast")
        for name, objective in self.objectives.items():
            problems += [f"objectives.{name}{problem}" for problem in objective.check(self._batch_sizes())]
            if isinstance(objective, ForecastConfig) and objective.distance != self.model.distance:
                problems.append(
                    f"objectives.{name}.distance is {objective.distance}, model.distance is {self.model.distance}: "
                    "surprise would use another distance than training; make them equal"
                )
        problems += self._scale_problems()
        if bad := [name for name in self.objectives if not name.isidentifier()]:
            problems.append(f"objectives: {', '.join(map(repr, bad))}: a name must be letters, digits and underscores")
        side = self.model.latent_grid(self.window)
        if self.decoder.max_steps and side > self.decoder.net.size_px:
            problems.append(
                f"decoder.net.size_px {self.decoder.net.size_px} is less than the {side} latent tokens per side of a frame"
            )
        if getattr(self.model, "condition", None) is not None and self.augment.hflip_prob:
            problems.append(
                "augment.hflip_prob: recorded actions are wrong in mirrored pictures; set it to 0 for a model.condition"
            )
        problems += self._outside_weights_problems()
        if getattr(self.model.target, "cache", None) is not None and not self.augment.repeats:
            problems.append(
                "model.target.cache: crops, colours or blur of augment give a window new pixels in every epoch, so stored "
                "targets would never be read; set augment={crop_area_min: 1, crop_aspect_max: 1}, or remove the cache"
            )
        if self.decoder.max_steps and self.window.width_px not in (None, self.window.size_px):
            problems.append("decoder.max_steps: the decoder draws squares only, and window.width_px is set; set it to 0")
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def anti_collapse_methods(self) -> list[str]:
        """The terms of the loss and the targets that prevent collapse; empty for a forecast loss alone."""
        found = [f"{name} ({objective.kind})" for name, objective in self.objectives.items() if objective.prevents_collapse]
        if method := self.model.target.anti_collapse_method:
            found.append(method)
        if getattr(self.model, "frozen_encoder", None) is not None:
            found.append("frozen encoder")
        return found

    def _outside_weights_problems(self) -> list[str]:
        """Problems of a frozen encoder and of adapters with other parts of the recipe."""
        problems = []
        frozen, lora = getattr(self.model, "frozen_encoder", None), self.model.lora
        if frozen is not None:
            useless = [name for name, objective in self.objectives.items() if objective.prevents_collapse]
            if useless:
                problems.append(f"objectives: {', '.join(useless)} would train the encoder, which is frozen; remove it")
            if self.train.parallel == "fsdp2":
                problems.append("model.frozen_encoder: train.parallel fsdp2 shards trained encoders only; use parallel ddp")
            if self.optim.encoder_steps is not None:
                problems.append("optim.encoder_steps: model.frozen_encoder is never trained; remove it")
            if frozen.cache is not None and not self.augment.repeats:
                problems.append(
                    "model.frozen_encoder.cache: augmentation gives a frame new pixels in every epoch, so stored latents would "
                    "never be read; set augment={crop_area_min: 1, crop_aspect_max: 1}, or remove the cache"
                )
        if lora is not None:
            if self.init_from is None:
                problems.append("model.lora adapts weights that were trained before; set init_from, or remove it")
            if frozen is not None:
                problems.append("model.lora and model.frozen_encoder exclude each other: frozen weights have no adapters")
            if self.optim.frozen:
                problems.append("optim.frozen: with model.lora only adapters are trained; remove it")
            if self.optim.kind == "muon":
                problems.append("optim.kind muon is for whole matrices; adapters of model.lora need adamw")
            if self.train.parallel == "fsdp2":
                problems.append("model.lora: train.parallel fsdp2 cannot gather adapted weights; use parallel ddp")
        return problems

    def _secret_problems(self) -> list[str]:
        """Problems of the URLs in any field: those with secrets, since a recipe is written to files and logs."""
        problems = []
        for name, value in texts_of(self.model_dump(mode="json")):
            try:
                refuse_secrets([value])
                if is_url(value):
                    split_url(value)
            except UrlError as error:
                problems.append(f"{name}: {error}")
        return problems

    def _url_problems(self) -> list[str]:
        """Problems of URLs to which the run would be written."""
        problems = []
        if self.upload_to is not None and not is_writable_url(self.upload_to):
            problems.append(f"upload_to: {self.upload_to} cannot be written; expected s3://bucket/folder or gs://bucket/folder")
        if is_url(self.run) and (not is_writable_url(self.run) or self.upload_to not in (None, self.run)):
            problems.append(f"run: {self.run} is a URL; expected s3:// or gs://, without another upload_to")
        return problems

    def _batch_sizes(self) -> BatchSizes:
        """Sizes of the batch over which an objective computes its statistics."""
        parts = 1 if self.train.exact_accumulation else self.train.grad_accum_steps
        return BatchSizes(**vars(self.model.latent_sizes(self.window)), clips=self.data.batch_size // parts)

    def _scale_problems(self) -> list[str]:
        """The problem of objectives that do not constrain the scale of latents.

        They use correlations or angles alone, and the forecast error is smallest for latents of scale 0.
        """
        preventing = [objective for objective in self.objectives.values() if objective.prevents_collapse]
        normalised = self.model.normalised
        is_preserved = any(objective.preserves_scale(normalised) for objective in preventing)
        if not preventing or self.model.target.kind != "shared" or is_preserved:
            return []
        kinds = ", ".join(sorted({objective.kind for objective in preventing}))
        option = "" if normalised or "info_nce" not in kinds else "set model.normalise_latents=true, or "
        return [
            f"objectives: {kinds} does not constrain the scale of latents, and the forecast loss would shrink it to 0; "
            f"{option}add an objective that constrains it, for example {{kind: vicreg, cov_weight: 0}}"
        ]


def split_file_and_overrides(first: str | None, overrides: Sequence[str]) -> tuple[Path | None, list[str]]:
    """Separate the positional arguments of a command line, where the file may be omitted."""
    if first is None or "=" not in first:
        return None if first is None else Path(first), list(overrides)
    return None, [first, *overrides]


def read_recipe(file: Path | None, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and apply overrides; None is the recipe of the demo. Raises ConfigError.

    For the recipe.yaml of a run folder, `run` is the present location of that folder, unless an
    override sets it.
    """
    path = DEMO_RECIPE if file is None else find_config(file)
    if read_config_file(path).keys() >= {"kind", "recipe"}:
        raise ConfigError(
            [f"{path}: this is a file of `python -m eval sweep`, which trains variants of the recipe that it names"]
        )
    folder = path.parent
    is_run_recipe = path.name == "recipe.yaml" and (folder / "checkpoints").is_dir()
    recipe = load_config(Recipe, path, overrides, accept_old_keys=is_run_recipe)
    if not is_run_recipe or any(text.partition("=")[0].strip() == "run" for text in overrides):
        return recipe
    if os.path.realpath(recipe.run) == os.path.realpath(folder):
        return recipe
    return recipe.model_copy(update={"run": os.path.abspath(folder)})


def changed_fields(old: Recipe, new: Recipe) -> list[str]:
    """Fields that differ, as "path: old -> new", without those that do not change the result (such as data.workers)."""
    ignored = {
        "checkpoint.asynchronous",
        "checkpoint.format",
        "checkpoint.keep",
        "run",
        "upload_to",
        "processes",
        "data.manifest",
        "data.make",
        "data.workers",
        "data.prefetch",
        "data.worker_timeout_s",
        "data.storage_wait_s",
        "data.max_failed_fraction",
        "model.target.cache",
        "model.target.cache_gb",
        "model.frozen_encoder.cache",
        "model.frozen_encoder.cache_gb",
        "train.rank_timeout_s",
        "train.threads",
        "train.log_every",
        "train.trackers",
    }
    before, after = _flat(old.model_dump(mode="json")), _flat(new.model_dump(mode="json"))
    absent = "nothing"
    return [
        f"{key}: {before.get(key, absent)} -> {after.get(key, absent)}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key, absent) != after.get(key, absent) and key not in ignored
    ]


def _flat(node: object, path: str = "") -> dict[str, object]:
    if isinstance(node, dict) and node:
        return {k: v for key, child in node.items() for k, v in _flat(child, f"{path}.{key}" if path else str(key)).items()}
    return {path: node}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m worldmodel.recipe", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("show", "schema"), help="what to print")
    parser.add_argument("recipe", nargs="?", metavar="FILE", help=f"YAML file (default: {DEMO_RECIPE.name})")
    parser.add_argument("overrides", nargs="*", metavar="a.b=value", help="override of a field; several are applied in order")
    args = parser.parse_args(argv)
    if args.what == "schema":
        print(json.dumps(json_schema(Recipe), indent=2))
        return 0
    file, overrides = split_file_and_overrides(args.recipe, args.overrides)
    if file is None:
        print(f"no recipe given; using {DEMO_RECIPE}", file=sys.stderr)
    try:
        print(explain(read_recipe(file, overrides)), end="")
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    survive_broken_streams()
    sys.exit(main())
