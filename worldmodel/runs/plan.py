"""What a run will really do, said before it begins; and the checks that need the data to be there."""

from __future__ import annotations

import numpy as np

from worldmodel.config import ConfigError
from worldmodel.data.loader import Windows
from worldmodel.training.learner import Learner, inexact_layers
from worldmodel.recipe import Recipe


def check_plan(recipe: Recipe, train: Windows, ranks: int) -> None:
    """Raise ConfigError for what cannot work with this data on so many processes."""
    problems = []
    batch, micros = recipe.data.batch_size, recipe.train.grad_accum_steps
    if recipe.processes is not None and ranks != recipe.processes:
        problems.append(
            f"the recipe names processes: {recipe.processes}, but {ranks} run. On CPUs start several with "
            f"`torchrun --nproc_per_node {recipe.processes}` (accelerate launch --cpu starts one); or set processes=null"
        )
    if batch % (micros * ranks):
        problems.append(f"data.batch_size {batch} is not divisible by train.grad_accum_steps {micros} x {ranks} processes")
    if len(train) < batch:
        problems.append(
            f"{', '.join(recipe.data.manifests)}: {len(train)} training windows are fewer than one batch of {batch}; "
            "lower data.batch_size or window.frames, or add films"
        )
    if problems:
        raise ConfigError(problems)


def check_layers(learner: Learner, recipe: Recipe, ranks: int) -> None:
    """Raise ConfigError where a layer would make the loss depend on how an update's batch is cut up."""
    micros = recipe.train.grad_accum_steps if recipe.train.exact_accumulation else 1
    if names := inexact_layers(learner, micros, ranks):
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        raise ConfigError(
            [
                f"{shown}: what it gives out depends on how a batch is cut, so the loss is not exact on {ranks} process(es) x "
                f"{micros} micro-batch(es). Take LayerNorm or GroupNorm, no dropout; or one process and train.grad_accum_steps=1"
            ]
        )


def described(recipe: Recipe, train: Windows, held_out: int, learner: Learner, ranks: int, device: str) -> str:
    """Updates, samples, tokens, epochs, parameters: the run in numbers, one line each."""
    updates, batch, window = recipe.train.max_steps, recipe.data.batch_size, recipe.window
    model, micros = recipe.model, recipe.train.grad_accum_steps
    tokens = model.tokens(window)
    samples = updates * batch
    places, features = learner.model.latent_shape
    count = {name: sum(p.numel() for p in part.parameters()) for name, part in learner.model.named_children()}
    sizes = ", ".join(f"{name} {number / 1e6:.2f} M" for name, number in count.items())
    sampled = f"{window.fps:g} fps" if window.stride_frames is None else f"every {window.stride_frames} frames of the file"
    alone = f"batch {batch} = {ranks} process(es) x {micros} micro-batch(es) x {batch // (ranks * micros)} windows"
    aims = ", ".join(f"{name} ({objective.kind})" for name, objective in recipe.objectives.items())
    kept = ", ".join(recipe.against_collapse()) or "nothing; the forecast loss is smallest where all latents are one"
    cut = ""
    if micros > 1 and not recipe.train.exact_accumulation:
        cut = f"\n          train.exact_accumulation is off: statistics are those of {batch // micros} windows, not of {batch}"
    short = _short_sides_px(train)
    small = int((short < window.size_px).sum())
    said = (
        f"{small:,} of {len(short):,} clips are smaller than these {window.size_px} px: they are enlarged, and gain no detail"
    )
    enlarged = f"\n          {said}" if small else ""
    skipped = f" ({train.too_short} clips too short for one are left out)" if train.too_short else ""
    return "\n".join(
        (
            f"run       {recipe.run} on {device}, {recipe.train.precision}",
            f"data      {len(train):,} training windows{skipped}, {held_out} held-out",
            f"          a window is {window.frames} frames at {sampled}, {window.size_px} px{enlarged}",
            f"model     {sizes}; a latent step is {places} place(s) x {features} features",
            f"losses    {aims}; against collapse: {kept}",
            f"training  {updates:,} updates, {recipe.optim.warmup_steps} of them warm-up; {alone}",
            f"          {samples:,} samples = {samples / len(train):.1f} epochs, {samples * tokens:,} tokens{cut}",
        )
    )


def _short_sides_px(train: Windows) -> np.ndarray:
    """Of every clip of the split, as its manifest says: two columns of numbers, however many clips."""
    sides = [
        np.minimum(source.manifest.column("width"), source.manifest.column("height"))[source.manifest.rows(source.split)]
        for source in train.sources
    ]
    return np.concatenate([np.zeros(0, np.int64), *sides])
