"""What a run will really do, said before it begins; and the checks that need the data to be there."""

from __future__ import annotations

from worldmodel.config import ConfigError
from worldmodel.data.loader import Windows
from worldmodel.learner import Learner
from worldmodel.recipe import Recipe


def check_plan(recipe: Recipe, train: Windows, ranks: int) -> None:
    """Raise ConfigError for what cannot work with this data on so many processes."""
    problems = []
    batch, micros = recipe.data.batch_size, recipe.train.micro_batches
    if recipe.processes is not None and ranks != recipe.processes:
        problems.append(
            f"the recipe names processes: {recipe.processes}, but {ranks} run. On CPUs start several with "
            f"`torchrun --nproc_per_node {recipe.processes}` (accelerate launch --cpu starts one); or set processes=null"
        )
    if batch % (micros * ranks):
        problems.append(f"data.batch_size {batch} is not divisible by train.micro_batches {micros} x {ranks} processes")
    if len(train) < batch:
        problems.append(
            f"{', '.join(recipe.data.manifests)}: {len(train)} training windows are fewer than one batch of {batch}; "
            "lower data.batch_size or window.frames, or add films"
        )
    if problems:
        raise ConfigError(problems)


def described(recipe: Recipe, train: Windows, held_out: int, learner: Learner, ranks: int, device: str) -> str:
    """Updates, samples, tokens, epochs, parameters: the run in numbers, one line each."""
    updates, batch, window = recipe.train.updates, recipe.data.batch_size, recipe.window
    model, micros = recipe.model, recipe.train.micro_batches
    tokens = model.tokens(window)
    samples = updates * batch
    places, features = learner.model.latent_shape
    count = {name: sum(p.numel() for p in part.parameters()) for name, part in learner.model.named_children()}
    sizes = ", ".join(f"{name} {number / 1e6:.2f} M" for name, number in count.items())
    sampled = f"{window.fps:g} fps" if window.stride_frames is None else f"every {window.stride_frames} frames of the file"
    alone = f"batch {batch} = {ranks} process(es) x {micros} micro-batch(es) x {batch // (ranks * micros)} windows"
    skipped = f" ({train.too_short} clips too short for one are left out)" if train.too_short else ""
    return "\n".join(
        (
            f"run       {recipe.run} on {device}, {recipe.train.precision}",
            f"data      {len(train):,} training windows{skipped}, {held_out} held-out",
            f"          a window is {window.frames} frames at {sampled}, {window.size_px} px",
            f"model     {sizes}; a latent step is {places} place(s) x {features} features",
            f"training  {updates:,} updates, {recipe.optim.warmup_updates} of them warm-up; {alone}",
            f"          {samples:,} samples = {samples / len(train):.1f} epochs, {samples * tokens:,} tokens",
        )
    )
