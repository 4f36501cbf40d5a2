"""One training step of the causal family at any size: the model of `configs/vit_s.yaml`, its rollouts included."""

from __future__ import annotations

from collections.abc import Callable

import torch

from worldmodel.data.augmentation.augment import UNIFORMS_PER_SAMPLE
from worldmodel.data.batch import Batch
from worldmodel.process.devices import multiplies_bfloat16
from worldmodel.recipe import DEMO_RECIPE, Recipe, read_recipe
from worldmodel.training.learner import Learner
from worldmodel.training.optimizer import build_optimizers, clip_gradients
from worldmodel.training.setup import build_learner

HEAD_WIDTH = 64


def fast_precision() -> str:
    """bf16, or fp32 where the processor emulates bf16."""
    return "bf16" if multiplies_bfloat16(torch.device("cpu")) else "fp32"


def causal_recipe(frames: int = 16, size_px: int = 128, width: int = 192, batch: int = 1) -> Recipe:
    """vit_s at another number of frames, size and width, without checkpointing of activations and `compile`."""
    patch_px, heads = 16, width // HEAD_WIDTH
    return read_recipe(
        DEMO_RECIPE.with_name("vit_s.yaml"),
        [
            f"window.frames={frames}",
            f"window.size_px={size_px}",
            f"data.batch_size={batch}",
            f"model.encoder.width={width}",
            f"model.encoder.heads={heads}",
            f"model.encoder.latent_grid={size_px // patch_px}",
            f"model.predictor.width={width}",
            f"model.predictor.heads={heads}",
            "model.activation_checkpointing=false",
            "train.compile=false",
        ],
    )


def build_causal_step(recipe: Recipe, precision: str) -> Callable[[], float]:
    """Each call of the result runs one training step of a new model on the same random frames, and returns its loss."""
    torch.manual_seed(0)
    return step_of(build_learner(recipe), recipe, precision)


def step_of(learner: Learner, recipe: Recipe, precision: str) -> Callable[[], float]:
    """As `build_causal_step`, of a model that exists."""
    optimizers = build_optimizers(learner, recipe.optim)
    clips, size_px = recipe.data.batch_size, recipe.window.size_px
    source = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (clips, recipe.window.frames, size_px, size_px, 3), dtype=torch.uint8, generator=source)
    batch = Batch(frames, torch.rand(clips, UNIFORMS_PER_SAMPLE, generator=source), torch.arange(clips), 0)

    def step() -> float:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = learner(batch).total
        loss.backward()
        clip_gradients(learner, recipe.optim.clip_norm)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return step
