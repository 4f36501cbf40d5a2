"""The objects that the training loop uses, and how they are built."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import nn

from worldmodel.data.augmentation.augment import UNIFORMS_PER_SAMPLE
from worldmodel.data.batch_reader import BatchReader
from worldmodel.data.loader import Batch, WindowDataset, training_batches
from worldmodel.data.token_masks.drawing import MaskRule
from worldmodel.models import TrainedModel, build_model
from worldmodel.models.masked import MaskedConfig
from worldmodel.objectives import build_objective
from worldmodel.recipe import Recipe
from worldmodel.training.fine_tuning import freeze
from worldmodel.training.learner import Learner
from worldmodel.training.optimizer import Optimizers
from worldmodel.training.parallel import compile_model, parallelise, unwrap, warm_up_ddp


@dataclass(frozen=True)
class TrainingSetup:
    """The objects that every training step uses. They are built once, before the loop."""

    recipe: Recipe
    accelerator: Accelerator
    windows: WindowDataset  # of the training split
    learner: nn.Module  # a Learner, wrapped by DDP or sharded by FSDP2
    optimizers: Optimizers
    reader: BatchReader | None = None  # of the data workers; None: `batches` starts its own

    @property
    def model(self) -> TrainedModel:
        return unwrap(self.learner).model

    def precision_of_health_checks(self) -> AbstractContextManager[None]:
        """That of training on CUDA, where float32 would take several times longer, and with weights that FSDP2 gathers in it;
        float32 elsewhere."""
        sharded = self.recipe.train.parallel == "fsdp2" and self.accelerator.num_processes > 1
        return self.accelerator.autocast() if sharded or self.accelerator.device.type == "cuda" else nullcontext()

    def batches(self, first: int, report: Callable[[str], None], stop_requested: Callable[[], bool]) -> Iterator[list[Batch]]:
        """Yield this rank's micro-batches of each training step, from step `first` on; see `training_batches`."""
        return training_batches(
            self.windows,
            first,
            self.recipe.train.max_steps,
            rank=self.accelerator.process_index,
            world_size=self.accelerator.num_processes,
            micro_batches=self.recipe.train.grad_accum_steps,
            pin=self.accelerator.device.type == "cuda",
            report=report,
            stop_requested=stop_requested,
            reader=self.reader,
            masks=mask_rule_of(self.recipe),
        )


def mask_rule_of(recipe: Recipe) -> MaskRule | None:
    """The rule by which data workers draw masks; None for models without masks."""
    model, window = recipe.model, recipe.window
    if not isinstance(model, MaskedConfig):
        return None
    return model.mask_rule(window.frames // model.encoder.tubelet_size, model.token_grid(window))


def build_learner(recipe: Recipe) -> Learner:
    """Build model and objectives with freshly initialised weights, drawn from torch's global generator."""
    model = build_model(recipe.model, recipe.window)
    freeze(model, recipe.optim.frozen)
    if recipe.train.compile:
        compile_model(model, by_block=recipe.train.parallel == "fsdp2")
    sizes = recipe.model.latent_sizes(recipe.window)
    objectives = {name: build_objective(config, sizes) for name, config in recipe.objectives.items()}
    return Learner(model, objectives, recipe.augment)


def distribute(
    learner: Learner, recipe: Recipe, windows: WindowDataset, accelerator: Accelerator, reader: BatchReader
) -> TrainingSetup:
    """Move the learner to the device, distribute it over processes, and build its optimizers."""
    wrapped, optimizers = parallelise(learner, recipe.optim, accelerator, recipe.train.parallel)
    return TrainingSetup(recipe, accelerator, windows, wrapped, optimizers, reader)


def warm_up(setup: TrainingSetup) -> None:
    """With several processes, run passes on black frames that fix the order of DDP's sums; see `warm_up_ddp`."""
    recipe, accelerator = setup.recipe, setup.accelerator
    if accelerator.num_processes == 1:
        return
    count = recipe.data.batch_size // (accelerator.num_processes * recipe.train.grad_accum_steps)
    frames = torch.zeros(count, recipe.window.frames, *setup.windows.frame_px, 3, dtype=torch.uint8)
    sizes, actions = setup.windows.signals, None
    if sizes is not None:
        actions = torch.zeros(count, recipe.window.frames - 1, sizes.actions_per_step * sizes.action)
    batch = Batch(frames, torch.rand(count, UNIFORMS_PER_SAMPLE), torch.arange(count), actions=actions).to(accelerator.device)
    with accelerator.autocast():
        warm_up_ddp(setup.learner, batch)
