"""Training steps of a recipe on random frames, with the `worldmodel` on PYTHONPATH: run by benchmarks/steps/against.py.

Each line on standard input asks for some steps; the answer is a line with the CPU seconds of one and the last loss.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch

from worldmodel.config import load_config
from worldmodel.data.loader import Batch
from worldmodel.recipe import Recipe
from worldmodel.training.optimizer import build_optimizers, clip_gradients
from worldmodel.training.setup import build_learner


def main(recipe_file: str, precision: str) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    recipe = load_config(Recipe, Path(recipe_file))
    learner = build_learner(recipe)
    optimizers = build_optimizers(learner, recipe.optim)
    size, clips = recipe.window.size_px, recipe.data.batch_size
    source = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (clips, recipe.window.frames, size, size, 3), dtype=torch.uint8, generator=source)
    batch = Batch(frames, torch.rand(clips, 10, generator=source), torch.arange(clips), step_seed=3)
    print("ready", flush=True)
    for line in sys.stdin:
        start, steps = time.process_time(), int(line)
        for _ in range(steps):
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                loss = learner(batch).total
            loss.backward()
            clip_gradients(learner, recipe.optim.clip_norm)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            learner.model.update_teacher(0.0)
        print((time.process_time() - start) / steps, loss.item(), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
