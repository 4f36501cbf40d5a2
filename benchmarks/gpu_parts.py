"""The measurements of `benchmarks/gpu.py`. Each function runs in a process of its own and returns JSON values."""

from __future__ import annotations

import statistics
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from worldmodel.data.augmentation.augment import UNIFORMS_PER_SAMPLE
from worldmodel.data.loader import Batch, decode_size_px, open_windows, training_batches
from worldmodel.data.token_masks.stacked import draw_batch
from worldmodel.estimate.hardware import PROCESSORS, Processor
from worldmodel.estimate.reckoning import Assumptions, estimate
from worldmodel.manifest import Clip, write_manifest
from worldmodel.process.cores import usable_cores
from worldmodel.recipe import Recipe, read_recipe
from worldmodel.train import step
from worldmodel.training.parallel import parallelise
from worldmodel.training.pending_steps import PendingSteps
from worldmodel.training.setup import TrainingSetup, build_learner, mask_rule_of
from worldmodel.video import inspect_video, write_video

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
_WARM_UP = 4  # steps before a measurement: compilation, allocation, choice of kernels
_MINIATURE: dict[str, dict[str, Any]] = {  # overrides of the model by family
    "causal": {
        "encoder": {"patch_px": 8, "tubelet_size": 2, "width": 24, "depth": 1, "heads": 2, "latent_grid": 4, "latent_dim": 8},
        "predictor": {"width": 24, "depth": 1, "heads": 2, "horizons": 4},
    },
    "masked": {
        "encoder": {"patch_px": 8, "tubelet_size": 2, "width": 24, "depth": 1, "heads": 2},
        "predictor": {"width": 24, "depth": 1, "heads": 2},
    },
}


def one_process(name: str, miniature: bool, **train: object) -> Recipe:
    """The recipe of one of its processes; in miniature, a model of the same family that takes milliseconds.

    `train.parallel` stays: it decides whether a model is compiled as a whole or by block.
    """
    recipe = read_recipe(CONFIGS / f"{name}.yaml")
    changed = recipe.model_dump(mode="json")
    changed["data"] |= {"batch_size": recipe.data.batch_size // (recipe.processes or 1), "workers": 0}
    changed["processes"] = None
    changed["train"] |= train
    if miniature:
        changed["data"]["batch_size"] = 4
        changed["window"] |= {"frames": 16, "size_px": 32}
        changed["train"]["compile"] = False
        changed["decoder"]["max_steps"] = 0
        for part, values in _MINIATURE[recipe.model.kind].items():
            changed["model"][part] |= values
    return Recipe.model_validate(changed)


def device_facts(device: str) -> dict[str, Any]:
    """Name, memory and software of the device."""
    if device == "cpu":
        return {"name": "CPU", "memory_gb": None, "torch": torch.__version__}
    properties = torch.cuda.get_device_properties(0)
    return {
        "name": properties.name,
        "memory_gb": properties.total_memory / 1e9,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "capability": f"{properties.major}.{properties.minor}",
        "processors": properties.multi_processor_count,
    }


@dataclass(frozen=True)
class Expected:
    """What `worldmodel.estimate` says of a training step."""

    model_flops: float
    memory_gb: float


def expected_of(name: str, device: str, miniature: bool, **train: object) -> dict[str, Any]:
    """The estimate of a recipe. It takes half a minute of a processor, no GPU, and belongs to no measured time."""
    found = estimate(one_process(name, miniature, **train), PROCESSORS["h100" if device == "cuda" else "cpu"], 1, Assumptions())
    return {"expected": Expected(found.model_flops, (found.peak_bytes - found.reserve) / 1e9)}


def throughput(
    name: str, device: str, miniature: bool, seconds: float, expected: Expected | None = None, **train: object
) -> dict[str, Any]:
    """Time, utilisation and memory of training steps of a recipe on random frames, with the copy to the device."""
    recipe = one_process(name, miniature, **train)
    processor = processor_of(device)
    setup = setup_of(recipe, device)
    batches = batches_of(recipe, device, count=2)
    pending = PendingSteps(str, deferred=device == "cuda")
    done = 0

    def run(steps: int) -> float:
        nonlocal done
        started = time.perf_counter()
        for _ in range(steps):
            one_step(setup, pending, done, next(batches))
            done += 1
        wait(device)
        return (time.perf_counter() - started) / steps

    run(_WARM_UP)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    chunk = max(1, min(20, round(seconds / 5 / max(run(1), 1e-3))))
    times = [run(chunk) for _ in range(5)]
    pending.read()
    step_s = statistics.median(times)
    flops_per_s = expected.model_flops / step_s if expected else None
    peak = processor.peak_flops_per_s(recipe.train.precision) if processor else None
    return {
        "step_ms": 1e3 * step_s,
        "clips_per_s": recipe.data.batch_size / step_s,
        "tflops_per_s": flops_per_s / 1e12 if flops_per_s else None,
        "mfu": flops_per_s / peak if flops_per_s and peak else None,
        "peak_gb": torch.cuda.max_memory_allocated() / 1e9 if device == "cuda" else None,
        "reserved_gb": torch.cuda.max_memory_reserved() / 1e9 if device == "cuda" else None,
        "estimated_gb": expected.memory_gb if expected else None,
        "precision": recipe.train.precision,
        "compile": recipe.train.compile,
        "checkpointing": recipe.model.activation_checkpointing,
    }


def synchronisations(name: str, device: str, miniature: bool, steps: int = 20) -> dict[str, Any]:
    """How often so many steps, one of which has a row of metrics, wait for the device, and where."""
    recipe = one_process(name, miniature, compile=False)
    setup, batches = setup_of(recipe, device), batches_of(recipe, device, count=2)
    rows: list[object] = []
    pending = PendingSteps(str, deferred=True)
    for index in range(_WARM_UP):
        one_step(setup, pending, index, next(batches))
    pending.read()
    ready = [next(batches) for _ in range(2)]
    wait(device)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if device == "cuda":
            torch.cuda.set_sync_debug_mode("warn")
        for index in range(steps):
            write_row = rows.append if index == steps // 2 else None
            one_step(setup, pending, _WARM_UP + index, ready[index % 2], write_row)
        if device == "cuda":
            torch.cuda.set_sync_debug_mode("default")
    found = [f"{Path(w.filename).name}:{w.lineno}" for w in caught if "synchronizing" in str(w.message)]
    return {"steps": steps, "waits": len(found) if device == "cuda" else None, "where": sorted(set(found)), "rows": len(rows)}


def loss_equality(name: str, device: str, steps: int = 20) -> dict[str, Any]:
    """Largest relative difference of the loss between this device and the CPU, float32, same weights and batches."""
    recipe = one_process(name, True, precision="fp32")
    losses = []
    for where in ("cpu", device):
        setup = setup_of(recipe, where)
        batches = batches_of(recipe, where, count=steps)
        losses.append([step(setup, index, [next(batches).to(torch.device(where))])[0].total.item() for index in range(steps)])
    differences = [abs(a - b) / max(abs(a), 1e-12) for a, b in zip(*losses, strict=True)]
    return {"steps": steps, "first": differences[0], "largest": max(differences)}


def feed_rate(name: str, miniature: bool, seconds: float) -> dict[str, Any]:
    """Windows per second that the data workers of all usable cores decode, from transcoded videos made here."""
    recipe = one_process(name, miniature)
    workers = max(1, usable_cores() - 1)
    size = decode_size_px(recipe.data, recipe.window, recipe.augment.crops)
    with tempfile.TemporaryDirectory() as folder:
        manifest = _write_videos(Path(folder), size, count=2 if miniature else 6, duration_s=recipe.window.duration_s + 4)
        data = recipe.data.model_copy(update={"manifest": str(manifest), "workers": workers, "batch_size": 4})
        windows, _ = open_windows(data, recipe.window, 0, recipe.augment.crops)
        batches = training_batches(windows, 0, 10**6)
        for _ in range(2 * workers):
            next(batches)
        started, count = time.perf_counter(), 0
        while time.perf_counter() - started < seconds:
            count += sum(len(batch.frames) for batch in next(batches))
        rate = count / (time.perf_counter() - started)
        batches.close()
    return {"workers": workers, "short_side_px": size, "clips_per_s": rate, "clips_per_s_and_worker": rate / workers}


def processor_of(device: str) -> Processor | None:
    """The processor with its peak speed; None for a GPU whose peak is not in the table."""
    if device == "cpu":
        return PROCESSORS["cpu"]
    name = torch.cuda.get_device_name(0)
    for key, word in (("h100", "H100"), ("h200", "H200"), ("a100", "A100"), ("rtx4090", "4090")):
        if word in name:
            return PROCESSORS[key]
    return None


def setup_of(recipe: Recipe, device: str) -> TrainingSetup:
    """The recipe's learner and optimizers on a device; the weights follow from its seed."""
    mixed = "no" if recipe.train.precision == "fp32" else "bf16"
    AcceleratorState._reset_state(reset_partial_state=True)  # else the first accelerator of a process decides for all
    accelerator = Accelerator(mixed_precision=mixed, cpu=device == "cpu", dynamo_backend="no")
    torch.manual_seed(recipe.seed)
    learner, optimizers = parallelise(build_learner(recipe), recipe.optim, accelerator, "ddp")
    return TrainingSetup(recipe, accelerator, None, learner, optimizers)  # type: ignore[arg-type]


def batches_of(recipe: Recipe, device: str, count: int) -> Iterator[Batch]:
    """`count` different random micro-batches in pinned memory, again and again."""
    size, clips = decode_size_px(recipe.data, recipe.window, recipe.augment.crops), recipe.data.batch_size
    source, rule = torch.Generator().manual_seed(0), mask_rule_of(recipe)
    made = []
    for number in range(count):
        frames = torch.randint(0, 256, (clips, recipe.window.frames, size, size, 3), dtype=torch.uint8, generator=source)
        uniforms = torch.rand(clips, UNIFORMS_PER_SAMPLE, generator=source)
        ids = torch.arange(clips) + number * clips
        masks = None if rule is None else draw_batch(rule, ids.tolist(), number)
        made.append(Batch(frames.pin_memory() if device == "cuda" else frames, uniforms, ids, step_seed=number, masks=masks))
    while True:
        yield from made


def one_step(setup: TrainingSetup, pending: PendingSteps, index: int, batch: Batch, write_row: Any = None) -> None:
    """One training step as in worldmodel.train.loop."""
    loss, grad_norm = step(setup, index, [batch.to(setup.accelerator.device)])
    setup.model.update_teacher(0.5)
    pending.add(index + 1, loss, grad_norm, write_row)


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _write_videos(folder: Path, short_px: int, count: int, duration_s: float) -> Path:
    """Moving noise, 16:9, 30 fps; the last video is held out. Returns the manifest."""
    rng = np.random.default_rng(0)
    height, width = short_px // 2 * 2, short_px * 16 // 9 // 2 * 2
    clips = []
    for number in range(count):
        coarse = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
        image = coarse.repeat(8, 0).repeat(8, 1)[:height, :width]
        frames = np.stack([np.roll(image, (t, 2 * t), (0, 1)) for t in range(round(30 * duration_s))])
        path = folder / f"{number}.mp4"
        write_video(path, frames, 30)
        info = inspect_video(path)
        split = "val" if number == count - 1 else "train"
        size = (info.width, info.height, info.rotation, info.codec)
        clips.append(
            Clip(f"{number:016d}", str(path), None, 0.0, info.duration_s, info.fps, info.frames, *size, split, None, None,
                 "benchmark", f"{number:016d}")
        )  # fmt: skip
    write_manifest(folder / "videos.parquet", clips, command="benchmarks.gpu", config={})
    return folder / "videos.parquet"
