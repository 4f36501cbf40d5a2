"""Recipe: everything that determines a run, and the checks that span two of its parts.

    python -m worldmodel.recipe show [FILE] [a.b=value ...]     the complete recipe that would run, every field explained
    python -m worldmodel.recipe schema                          a JSON schema: editors complete, check and explain by it

Without a FILE it is the demo's recipe, as in training. What `show` prints is a recipe itself.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from worldmodel.config import Config, ConfigError, load, read, schema
from worldmodel.config.explained import explained
from worldmodel.data.augment import AugmentConfig
from worldmodel.data.loader import DataConfig
from worldmodel.data.window_config import WindowConfig
from worldmodel.health.monitor import CheckupConfig
from worldmodel.models import ModelConfig
from worldmodel.models.causal import CausalConfig
from worldmodel.models.decoder import DecoderConfig
from worldmodel.objectives import ObjectiveConfig
from worldmodel.objectives.forecast import ForecastConfig
from worldmodel.objectives.objective import Update
from worldmodel.objectives.vicreg import VICRegConfig
from worldmodel.process.streams import survive_broken_streams
from worldmodel.training.optimizer import OptimConfig

DEMO = Path(__file__).resolve().parent.parent / "configs" / "demo.yaml"


class TrainConfig(Config):
    """The loop."""

    max_steps: PositiveInt = 2000  # steps of the optimizer, each on data.batch_size windows
    grad_accum_steps: PositiveInt = 1  # an update's batch is cut into so many; the loss stays that of the whole batch
    # False: statistics of each micro-batch alone, over all ranks: saves a forward pass each, changes every loss but forecasts'
    exact_accumulation: bool = True
    precision: Literal["fp32", "bf16", "auto"] = "fp32"  # auto: bf16 where the processor computes in it, else fp32
    compile: bool = False  # torch.compile of encoder and predictor
    parallel: Literal["ddp", "fsdp2"] = "ddp"  # fsdp2: weights and moments sharded over ranks (torch fully_shard)
    # With several processes: when one gives no sign of life for so long, all end. 0 = wait for ever
    rank_timeout_s: NonNegativeFloat = 60.0
    log_every: PositiveInt = 10  # updates from one row of metrics.jsonl to the next
    trackers: tuple[Literal["tensorboard", "wandb"], ...] = ()  # beside metrics.jsonl, which is always written


class CheckpointConfig(Config):
    """When the state of a run is saved, and how much of it is kept."""

    every: PositiveInt = 500  # updates; a multiple of health.every, so that the best is known
    keep: PositiveInt = 2  # the last ones; the best is kept beside them


class DecoderRun(Config):
    """The small decoder that draws latents, trained at the end on the frozen model."""

    net: DecoderConfig = DecoderConfig()
    max_steps: NonNegativeInt = 600  # of its own training; 0 = none: a rollout then trains one when asked for
    windows: PositiveInt = 192  # of the training split, decoded once and kept in memory
    batch_size: PositiveInt = 64  # latent steps an update
    lr: float = Field(3e-3, gt=0)  # of its AdamW at the start; falls linearly to 0


class Recipe(Config):
    """One run. `python -m worldmodel.recipe show FILE` prints it with every default written out."""

    run: str = "runs/demo"  # folder of the run; starting again in it resumes
    seed: NonNegativeInt = 0  # of fresh weights, of the order of windows and of all else that is drawn
    processes: PositiveInt | None = None  # another number of processes stops the run; null = any
    init_from: str | None = None  # run or checkpoint whose weights a new run starts from
    window: WindowConfig = WindowConfig()
    data: DataConfig = DataConfig()
    augment: AugmentConfig = AugmentConfig()
    model: ModelConfig = CausalConfig()  # kind: causal (a latent sees its own frames) or masked (tokens see the whole clip)
    # By name, the terms of the loss: a forecast, and what you add to it. kind: vicreg, sigreg, visreg, barlow and info_nce keep
    # latents apart; straightening and temporal_similarity make their paths smooth.
    objectives: dict[str, ObjectiveConfig] = Field({"forecast": ForecastConfig(), "spread": VICRegConfig()}, min_length=1)
    optim: OptimConfig = OptimConfig()
    train: TrainConfig = TrainConfig()
    health: CheckupConfig = CheckupConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    decoder: DecoderRun = DecoderRun()

    @model_validator(mode="after")
    def _check(self) -> Recipe:
        problems = self.model.check(self.window)
        if self.optim.warmup_steps >= self.train.max_steps:
            problems.append(
                f"optim.warmup_steps {self.optim.warmup_steps} is not below train.max_steps {self.train.max_steps}: "
                "the learning rate would never leave its warm-up"
            )
        if self.data.batch_size % self.train.grad_accum_steps:
            problems.append(
                f"data.batch_size {self.data.batch_size} is not divisible by train.grad_accum_steps {self.train.grad_accum_steps}"
            )
        if self.processes and self.data.batch_size % (self.train.grad_accum_steps * self.processes):
            problems.append(
                f"data.batch_size {self.data.batch_size} is not divisible by train.grad_accum_steps {self.train.grad_accum_steps} "
                f"x processes {self.processes}"
            )
        if self.optim.kind == "muon" and self.train.parallel == "fsdp2":
            problems.append(
                "optim.kind muon turns whole matrices, which train.parallel fsdp2 cuts into shards; use adamw, or parallel ddp"
            )
        if self.checkpoint.every % self.health.every:
            problems.append(f"checkpoint.every {self.checkpoint.every} is not a multiple of health.every {self.health.every}")
        if not any(isinstance(objective, ForecastConfig) for objective in self.objectives.values()):
            problems.append("objectives: none of them is a forecast, so nothing would train the predictor")
        for name, objective in self.objectives.items():
            problems += [f"objectives.{name}{problem}" for problem in objective.check(self._update())]
            if isinstance(objective, ForecastConfig) and objective.distance != self.model.distance:
                problems.append(
                    f"objectives.{name}.distance is {objective.distance}, model.distance is {self.model.distance}: "
                    "surprise would be measured otherwise than the model was trained; make them equal"
                )
        problems += self._scale_problems()
        if bad := [name for name in self.objectives if not name.isidentifier()]:
            problems.append(f"objectives: {', '.join(map(repr, bad))}: a name must be letters, digits and underscores")
        side = self.model.latent_grid(self.window)
        if self.decoder.max_steps and side > self.decoder.net.size_px:
            problems.append(
                f"decoder.net.size_px {self.decoder.net.size_px} is less than the {side} places a side it would have to draw"
            )
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def against_collapse(self) -> list[str]:
        """What keeps latents of different things different, in words; empty where the forecast loss is alone."""
        found = [f"{name} ({objective.kind})" for name, objective in self.objectives.items() if objective.keeps_apart]
        if said := self.model.target.against_collapse:
            found.append(said)
        return found

    def _update(self) -> Update:
        cut = 1 if self.train.exact_accumulation else self.train.grad_accum_steps
        return Update(**vars(self.model.latents_of(self.window)), clips=self.data.batch_size // cut)

    def _scale_problems(self) -> list[str]:
        """Objectives that see correlations or angles alone let a forecast error, smallest at 0, take the scale away."""
        kept = [objective for objective in self.objectives.values() if objective.keeps_apart]
        normalised = self.model.normalised
        if not kept or self.model.target.kind != "shared" or any(objective.keeps_scale(normalised) for objective in kept):
            return []
        blind = ", ".join(sorted({objective.kind for objective in kept}))
        way = "" if normalised or "info_nce" not in blind else "set model.normalise_latents=true, or "
        return [
            f"objectives: {blind} does not see how much latents vary, and the forecast loss would shrink that to nothing; "
            f"{way}add an objective that holds it, for example {{kind: vicreg, cov_weight: 0}}"
        ]


def file_and_overrides(first: Path | str | None, overrides: Sequence[str]) -> tuple[Path | None, list[str]]:
    """A command line's positional arguments: the file may be left out, and its place then holds the first override."""
    if first is None or "=" not in str(first):
        return None if first is None else Path(first), list(overrides)
    return None, [str(first), *overrides]


def read_recipe(file: Path | None, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in a file, None being the demo's, with overrides. Raises ConfigError.

    The recipe.yaml of a run folder means that run wherever the folder lies now, unless an override names another.
    """
    path = file or DEMO
    if read(path).keys() >= {"recipe", "ways"}:
        raise ConfigError(
            [f"{path}: this is a file of `python -m eval ablate`, which trains the recipe that it names in many ways"]
        )
    recipe, folder = load(Recipe, path, overrides), path.parent
    is_of_a_run = path.name == "recipe.yaml" and (folder / "checkpoints").is_dir()
    if not is_of_a_run or any(text.partition("=")[0].strip() == "run" for text in overrides):
        return recipe
    if os.path.realpath(recipe.run) == os.path.realpath(folder):
        return recipe
    return recipe.model_copy(update={"run": os.path.abspath(folder)})


def changed_fields(old: Recipe, new: Recipe) -> list[str]:
    """Dotted paths and values of what differs, leaving out what cannot change the result (folders, workers, logging)."""
    free = {
        "run",
        "processes",
        "data.manifest",
        "data.make",
        "data.workers",
        "data.prefetch",
        "data.worker_timeout_s",
        "data.storage_wait_s",
        "data.max_failed_fraction",
        "train.rank_timeout_s",
        "train.log_every",
        "train.trackers",
    }
    free.add("checkpoint.keep")
    before, after = _flat(old.model_dump(mode="json")), _flat(new.model_dump(mode="json"))
    absent = "nothing"
    return [
        f"{key}: {before.get(key, absent)} -> {after.get(key, absent)}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key, absent) != after.get(key, absent) and key not in free
    ]


def _flat(node: object, path: str = "") -> dict[str, object]:
    if isinstance(node, dict) and node:
        return {k: v for key, child in node.items() for k, v in _flat(child, f"{path}.{key}" if path else str(key)).items()}
    return {path: node}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m worldmodel.recipe", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("show", "schema"))
    parser.add_argument("recipe", nargs="?", metavar="FILE", help=f"YAML file (default: {DEMO.name})")
    parser.add_argument("overrides", nargs="*", metavar="a.b=value", help="fields to change, in order")
    args = parser.parse_args(argv)
    if args.what == "schema":
        print(json.dumps(schema(Recipe), indent=2))
        return 0
    file, overrides = file_and_overrides(args.recipe, args.overrides)
    if file is None:
        print(f"no recipe given: this is {DEMO}", file=sys.stderr)
    try:
        print(explained(read_recipe(file, overrides)), end="")
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    survive_broken_streams()
    sys.exit(main())
