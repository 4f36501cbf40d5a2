"""Summary of a run before it starts, and checks of the recipe that need the data, the model or the other hosts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator

from worldmodel.config import ConfigError
from worldmodel.data.loader import WindowDataset
from worldmodel.files.folder_lock import FolderLock
from worldmodel.process.devices import multiplies_bfloat16
from worldmodel.ranks.shared_folder import all_see_folder
from worldmodel.recipe import Recipe
from worldmodel.training.learner import Learner, batch_dependent_layers


def check_run_folder(recipe: Recipe, lock: FolderLock | None, accelerator: Accelerator) -> None:
    """Raise ConfigError on every rank where ranks are to write one checkpoint together, but a host has another run folder.

    lock: of the run folder; None on all processes but the main one.
    """
    if recipe.checkpoint.format == "single" or accelerator.num_processes == 1:
        return
    if not all_see_folder(Path(recipe.run), lock, accelerator):
        raise ConfigError(
            [
                f"checkpoint.format sharded: all hosts must see the same run folder {recipe.run}; use format single, or a run "
                "folder on shared storage"
            ]
        )


def check_plan(recipe: Recipe, train: WindowDataset, ranks: int) -> None:
    """Raise ConfigError where the recipe does not fit the data or the number of processes."""
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
            "lower data.batch_size or window.frames, or add videos"
        )
    if problems:
        raise ConfigError(problems)


def check_layers(learner: Learner, recipe: Recipe, ranks: int) -> None:
    """Raise ConfigError where a layer would make the loss depend on how a batch is divided."""
    micros = recipe.train.grad_accum_steps if recipe.train.exact_accumulation else 1
    if names := batch_dependent_layers(learner, micros, ranks):
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        raise ConfigError(
            [
                f"{shown}: the output depends on how a batch is divided, so the loss is not exact on {ranks} process(es) x "
                f"{micros} micro-batch(es). Use LayerNorm or GroupNorm and no dropout, or one process and "
                "train.grad_accum_steps=1"
            ]
        )


def describe_run(recipe: Recipe, train: WindowDataset, held_out: int, learner: Learner, ranks: int, device: str) -> str:
    """Summary of a run: steps, samples, tokens, epochs and parameters, one line each."""
    max_steps, batch, window = recipe.train.max_steps, recipe.data.batch_size, recipe.window
    micros = recipe.train.grad_accum_steps
    samples = max_steps * batch
    tokens = samples * recipe.model.num_tubelets(window)
    tokens_per_step, features = learner.model.latent_shape
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in learner.model.named_children()}
    sizes = ", ".join(f"{name} {count / 1e6:.2f} M" for name, count in counts.items() if count)
    sampled = f"{window.fps:g} fps" if window.stride_frames is None else f"every {window.stride_frames} frames of the file"
    division = f"batch {batch} = {ranks} process(es) x {micros} micro-batch(es) x {batch // (ranks * micros)} windows"
    losses = ", ".join(f"{name} ({objective.kind})" for name, objective in recipe.objectives.items())
    methods = ", ".join(recipe.anti_collapse_methods()) or "nothing; the forecast loss is smallest where all latents are equal"
    skipped = f" ({train.too_short} clips are shorter than a window and are left out)" if train.too_short else ""
    height, width = window.frame_px
    size = f"{height} px" if height == width else f"{width} x {height} px"
    lines = [
        f"run       {recipe.run} on {device}, {recipe.train.precision}",
        f"data      {len(train):,} training windows{skipped}, {held_out} held-out",
        f"          a window is {window.frames} frames at {sampled}, {size}",
        f"model     {sizes}; {tokens_per_step} latent token(s) x {features} features per time step",
        f"losses    {losses}; against collapse: {methods}",
        f"training  {max_steps:,} steps, {recipe.optim.warmup_steps} of them warm-up; {division}",
        f"          {samples:,} samples = {samples / len(train):.1f} epochs, {tokens:,} tokens",
    ]
    condition = getattr(recipe.model, "condition", None)
    if condition is not None and condition.statistics is not None:
        names, count = ", ".join(condition.statistics.action_names), condition.statistics.actions_per_step
        lines.insert(
            3, f"          {count} actions ({names}) between two frames, normalised by {condition.statistics.clips} clips"
        )
    short_sides = _short_sides_px(train)
    if small := int((short_sides < min(window.frame_px)).sum()):
        enlarged = f"{small:,} of {len(short_sides):,} clips are smaller than {size} and are enlarged"
        lines.insert(3, f"          {enlarged}, which adds no detail")
    if recipe.train.precision == "bf16" and not multiplies_bfloat16(torch.device(device)):
        lines.append(
            f"          train.precision bf16: this {device} has no instructions for it, so training is several times slower "
            "than with fp32; set train.precision=auto"
        )
    if micros > 1 and not recipe.train.exact_accumulation:
        statistics = f"statistics are those of {batch // micros} windows, not of {batch}"
        lines.append(f"          train.exact_accumulation is off: {statistics}")
    return "\n".join(lines)


def _short_sides_px(train: WindowDataset) -> np.ndarray:
    """The shorter side of every clip of the training split, from the manifest."""
    sides = [
        np.minimum(source.manifest.column("width"), source.manifest.column("height"))[source.manifest.rows(source.split)]
        for source in train.sources
    ]
    return np.concatenate([np.zeros(0, np.int64), *sides])
