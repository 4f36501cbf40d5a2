"""Quality against compute of algorithms with less work: dropped tokens, and targets of a frozen teacher that are computed once.

    python -m benchmarks.less_compute OUT --manifest data/demo/train.parquet --suite data/mini

Each variant trains with the FLOPs that `--steps` steps with all tokens take, and is evaluated half-way and at the end. The
variants are those of the demo's recipe, or of a small V-JEPA (`--family masked`). OUT gets a file per variant and seed,
results.json, a table in results.md and the figure curve.png. The same command again continues with the missing cells.

FLOPs are those of matrix products and attention, forward and backward, as worldmodel.estimate counts them. CPU time is that of
the steps, with augmentation and masks; videos are decoded once and lie in memory. The compute of a frozen teacher is included:
its own training, and its targets, once for each window with other pixels.
"""

from __future__ import annotations

import argparse
import functools
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from benchmarks.less_compute_quality import PROBED, PROPERTIES, PhysicsQuality, Sizes
from benchmarks.measure import describe_machine, markdown_table, write_results
from benchmarks.transfer_training import read_videos, train
from worldmodel.data.augmentation.augment import UNIFORMS_PER_SAMPLE
from worldmodel.data.batch import Batch
from worldmodel.estimate.trace import StepMeter
from worldmodel.files.atomic import atomic_file, write_json, write_text
from worldmodel.files.outputs import record_outputs
from worldmodel.models.masked import MaskedWorldModel
from worldmodel.process.arguments import positive_number, whole_number
from worldmodel.process.devices import multiplies_bfloat16
from worldmodel.recipe import Recipe, read_recipe
from worldmodel.render.curves import style_axes
from worldmodel.training.learner import Learner, Loss
from worldmodel.training.setup import build_learner
from worldmodel.training.target_cache import TargetCache

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
ENCODER = "{patch_px: 8, tubelet_size: 4, width: 64, depth: 3, heads: 4}"
SMALL = (  # of the masked family
    f"model.encoder={ENCODER}",
    "model.predictor={width: 48, depth: 1, heads: 4}",
    "model.target={kind: ema, momentum: 0.99, momentum_end: 0.99}",
    "data.batch_size=16",
    "optim.schedule=constant",
    "decoder.max_steps=0",
)
PIXELS = (
    *SMALL,
    "model.target={kind: pixels}",
    "model.distance=l2",
    "objectives.forecast.distance=l2",
    "model.tokens_kept=0.25",
)
FROZEN = f"model.target={{kind: frozen, run: teacher, encoder: {ENCODER}}}"
TEACHER_SHARE = 0.2  # of the FLOPs of a variant with a frozen teacher, for the training of that teacher
POINTS = (0.5, 1.0)  # of a training, at which it is evaluated
MOST_STEPS = 3  # times the steps of the variant with all tokens
METERED_STEPS = 4
PRECISION = "bf16" if multiplies_bfloat16(torch.device("cpu")) else "fp32"
COLOURS = ("#222222", "#0072b2", "#009e73", "#e69f00", "#d55e00", "#cc79a7")


@dataclass(frozen=True)
class Variant:
    """A way to train."""

    name: str
    tokens_kept: float = 1.0
    frozen: bool = False  # targets of a frozen teacher that was trained on pixels, instead of a teacher that is trained along
    family: str = "masked"

    @property
    def overrides(self) -> tuple[str, ...]:
        small = SMALL if self.family == "masked" else ()
        return (*small, f"model.tokens_kept={self.tokens_kept:g}", *((FROZEN,) if self.frozen else ()))


VARIANTS = {
    "causal": (
        Variant("all tokens", family="causal"),
        Variant("1/2 of the tokens", 0.5, family="causal"),
        Variant("1/4 of the tokens", 0.25, family="causal"),
        Variant("1/8 of the tokens", 0.125, family="causal"),
    ),
    "masked": (
        Variant("all tokens"),
        Variant("1/2 of the tokens", 0.5),
        Variant("1/4 of the tokens", 0.25),
        Variant("1/10 of the tokens", 0.1),
        Variant("frozen teacher, all tokens", frozen=True),
        Variant("frozen teacher, 1/4 of the tokens", 0.25, frozen=True),
    ),
}
RECIPES = {"causal": "demo.yaml", "masked": "masked.yaml"}


@dataclass(frozen=True)
class Work:
    """FLOPs of one training step."""

    step: float  # without the targets of a frozen teacher
    targets: float  # of a frozen teacher, in one step


@dataclass(frozen=True)
class Teacher:
    """A trained frozen teacher and what its training took."""

    weights: Mapping[str, torch.Tensor]
    flops: float
    cpu_s: float


@dataclass(frozen=True)
class Inputs:
    """What all cells share."""

    out: Path
    videos: NDArray[np.uint8]
    quality: PhysicsQuality
    budget: float  # FLOPs
    full_steps: int
    batch_size: int
    scores_pairs: bool  # whether quadruplets are scored, not only probes


def recipe_of(family: str, overrides: Sequence[str], steps: int, seed: int) -> Recipe:
    """The recipe of a training of so many steps."""
    every = [f"train.max_steps={max(steps, 21)}", f"seed={seed}", f"train.precision={PRECISION}", "optim.warmup_steps=20"]
    return read_recipe(CONFIGS / RECIPES[family], [*overrides, *every])


@functools.cache
def measure_work(family: str, overrides: tuple[str, ...]) -> Work:
    """Count the FLOPs of a variant on black videos, mean over several steps, whose masks differ."""
    recipe = recipe_of(family, overrides, 100, 0)
    learner, batch_size, window = build_learner(recipe), recipe.data.batch_size, recipe.window
    frames = torch.zeros(batch_size, window.frames, window.size_px, window.size_px, 3, dtype=torch.uint8)
    uniforms, targets = torch.zeros(batch_size, UNIFORMS_PER_SAMPLE), 0.0
    if recipe.model.target.kind == "frozen":
        model = _masked(learner)
        pixels = model.normalise(frames)
        with StepMeter() as meter:
            stored = model.encode(pixels)
        targets = float(meter.flops)
        model.target_cache = lambda _frames, _compute: stored
    with StepMeter() as meter:
        for step_seed in range(METERED_STEPS):
            learner(Batch(frames, uniforms, torch.arange(batch_size), step_seed)).total.backward()
    return Work(meter.flops / METERED_STEPS, targets)


def train_teacher(inputs: Inputs, seed: int) -> Teacher:
    """Train a teacher on pixels (SALT, stage 1), or read the one that was trained before."""
    file = inputs.out / "teachers" / f"{seed}.safetensors"
    note = file.with_suffix(".json")
    if not note.exists():
        flops = measure_work("masked", PIXELS).step
        steps = max(22, round(TEACHER_SHARE * inputs.budget / flops))
        recipe = recipe_of("masked", PIXELS, steps, seed)
        torch.manual_seed(seed)
        learner, start = build_learner(recipe), time.process_time()
        train(learner, recipe, inputs.videos, steps, np.random.default_rng(seed), lambda _step, _loss: None)
        cpu_s = time.process_time() - start
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file(_masked(learner).encoder.state_dict(), file)
        write_json(note, {"flops": flops * steps, "cpu_s": cpu_s, "steps": steps})
    made = json.loads(note.read_text())
    return Teacher(load_file(file), made["flops"], made["cpu_s"])


def run_cell(inputs: Inputs, variant: Variant, seed: int) -> None:
    """Train and evaluate one variant with one seed; write its file."""
    teacher = train_teacher(inputs, seed) if variant.frozen else None
    before = (teacher.flops, teacher.cpu_s) if teacher else (0.0, 0.0)
    work = measure_work(variant.family, variant.overrides)
    steps = steps_within(inputs, work, inputs.budget - before[0])
    recipe = recipe_of(variant.family, variant.overrides, steps, seed)
    torch.manual_seed(seed)
    learner = build_learner(recipe)
    model, points = learner.model, list[dict[str, float]]()
    due = {max(1, round(share * steps)) for share in POINTS}
    with tempfile.TemporaryDirectory(dir=inputs.out) as folder:
        cache = TargetCache(Path(folder))
        if teacher is not None and model.teacher is not None and isinstance(model, MaskedWorldModel):
            model.teacher.load_state_dict(teacher.weights)
            model.target_cache = cache
        spent, start = 0.0, time.process_time()

        def after_step(step: int, _loss: Loss) -> None:
            nonlocal spent, start
            if step not in due:
                return
            spent += time.process_time() - start
            targets = work.targets * cache.computed / recipe.data.batch_size
            point = {"step": step, "flops": before[0] + work.step * step + targets, "cpu_s": before[1] + spent}
            if teacher is not None:
                uncached = before[0] + (work.step + work.targets) * step
                point |= {"flops_without_cache": uncached, "computed": cache.computed, "found": cache.found}
            points.append({**point, **inputs.quality(model, inputs.scores_pairs)})
            print(f"{variant.name}, seed {seed}: {points[-1]}", flush=True)
            start = time.process_time()

        train(learner, recipe, inputs.videos, steps, np.random.default_rng(seed), after_step)
    write_json(
        cell_file(inputs.out, variant, seed), {"variant": variant.name, "seed": seed, "work": asdict(work), "points": points}
    )


def steps_within(inputs: Inputs, work: Work, budget: float) -> int:
    """Steps that take so many FLOPs, with the targets of each video and of its mirror image computed once."""
    steps, most = budget / (work.step + work.targets), 2 * len(inputs.videos) / inputs.batch_size
    if steps > most:
        steps = (budget - most * work.targets) / work.step
    return min(round(steps), MOST_STEPS * inputs.full_steps)


def cell_file(out: Path, variant: Variant, seed: int) -> Path:
    """The file of the results of one variant and seed."""
    words = variant.name.replace("/", "_of_").replace(",", "").replace(" ", "_")
    return out / "cells" / f"{words}_{seed}.json"


def scores(points: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """Position, velocity and mean VoE of the same point of several seeds."""
    found = {name: [point[name] for point in points] for name in PROBED}
    voe = [100 * mean(point[name] for name in PROPERTIES) for point in points if PROPERTIES[0] in point]
    return {**found, "VoE": voe}


def table(cells: Mapping[str, Sequence[Mapping[str, object]]]) -> str:
    """Mean over seeds and range of every point, in Markdown."""
    headers = [
        "variant", "seeds", "steps", "TFLOP", "TFLOP, no cache", "CPU s", "position R2", "velocity R2", "VoE, % of pairs",
    ]  # fmt: skip
    rows: list[list[object]] = []
    for name, runs in cells.items():
        for points in zip(*(run["points"] for run in runs), strict=True):
            found = scores(points)
            flops = [mean(p.get(key, p["flops"]) for p in points) / 1e12 for key in ("flops", "flops_without_cache")]
            work = [*(f"{value:.2f}" for value in flops), f"{mean(p['cpu_s'] for p in points):.0f}"]
            cells_of = [_with_range(found[key], digits) for key, digits in (("position", 2), ("velocity", 2), ("VoE", 1))]
            rows.append([name, len(runs), points[0]["step"], *work, *cells_of])
    return markdown_table(headers, rows)


def draw(cells: Mapping[str, Sequence[Mapping[str, object]]], path: Path) -> None:
    """Quality against FLOPs and against CPU time: mean over seeds, and a dot for each seed."""
    each_point = (point for runs in cells.values() for point in zip(*(run["points"] for run in runs), strict=True))
    scored = any(scores(point)["VoE"] for point in each_point)
    panels = (("VoE", "VoE, % of pairs"), ("position", "position, R2"))[not scored :]
    panels = panels if scored else (*panels, ("velocity", "velocity, R2"))
    figure = Figure(figsize=(8.6, 6.2), layout="constrained")
    rows = figure.subplots(2, len(panels))
    for axes_row, (quantity, label, unit) in zip(rows, (("flops", "TFLOP", 1e12), ("cpu_s", "CPU s", 1.0)), strict=True):
        for axes, (key, title) in zip(axes_row, panels, strict=True):
            for (name, runs), colour in zip(cells.items(), COLOURS, strict=False):
                points = list(zip(*(run["points"] for run in runs), strict=True))
                x = [mean(p[quantity] for p in point) / unit for point in points]
                y = [mean(scores(point)[key]) for point in points]
                axes.plot(x, y, color=colour, label=name, linewidth=1.6)
                if quantity == "flops" and "flops_without_cache" in points[0][0]:
                    without = [mean(p["flops_without_cache"] for p in point) / unit for point in points]
                    axes.plot(without, y, color=colour, label=f"{name}, without the cache", linewidth=1.2, linestyle="--")
                for point in points:
                    values = [p[quantity] / unit for p in point]
                    axes.scatter(values, scores(point)[key], color=colour, s=7, alpha=0.6, linewidths=0)
            axes.set_xscale("log")
            axes.set_xlabel(label)
            axes.set_ylabel(title)
            style_axes(axes)
    figure.legend(*rows[0][0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    with atomic_file(path) as file:
        figure.savefig(file, format="png", dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--family", choices=VARIANTS, default="causal", help="default causal: the recipe of the demo")
    parser.add_argument("--manifest", type=Path, required=True, help="training videos, all as long as a window")
    parser.add_argument("--suite", type=Path, required=True, help="folder of a suite of the same world")
    parser.add_argument("--videos", type=whole_number(16), default=1500, help="training videos in memory (default 1500)")
    parser.add_argument("--steps", type=whole_number(22), default=100, help="of the variant with all tokens (default 100)")
    parser.add_argument("--seeds", type=whole_number(1), default=3, help="default 3")
    parser.add_argument("--quadruplets", type=whole_number(2), default=20, help="per property (default 20)")
    parser.add_argument("--variants", nargs="+", metavar="NAME", help="of the family (default: all)")
    parser.add_argument("--probes-only", action="store_true", help="score no quadruplets, which takes most of an evaluation")
    parser.add_argument("--minutes", type=positive_number("minutes"), default=1e6, help="start no cell after so many minutes")
    args = parser.parse_args()
    torch.set_num_threads(1)
    start, machine = time.monotonic(), describe_machine()
    first, names = VARIANTS[args.family][0], [variant.name for variant in VARIANTS[args.family]]
    if unknown := [name for name in args.variants or () if name not in names]:
        parser.error(f"--variants {unknown[0]!r}: the family {args.family} has {', '.join(names)}")
    variants = [variant for variant in VARIANTS[args.family] if not args.variants or variant.name in args.variants]
    with record_outputs(args.out, ["results.md", "results.json", "curve.png"], "give another OUT"):
        full = recipe_of(args.family, first.overrides, 100, 0)
        budget = measure_work(args.family, first.overrides).step * args.steps
        wanted = [(variant, seed) for seed in range(args.seeds) for variant in variants]
        missing = [cell for cell in wanted if not cell_file(args.out, *cell).exists()]
        if missing:
            window = full.window
            videos, _ = read_videos([args.manifest], args.videos, window.frames, window.fps, window.size_px)
            quality = PhysicsQuality(args.suite, build_learner(full).model, Sizes(quadruplets=args.quadruplets))
            inputs = Inputs(args.out, videos, quality, budget, args.steps, full.data.batch_size, not args.probes_only)
            (args.out / "cells").mkdir(parents=True, exist_ok=True)
            for variant, seed in missing:
                if time.monotonic() - start < 60 * args.minutes:
                    run_cell(inputs, variant, seed)
        found: dict[str, list[Mapping[str, object]]] = {}
        for variant, seed in sorted(wanted, key=lambda cell: variants.index(cell[0])):
            if (file := cell_file(args.out, variant, seed)).exists():
                found.setdefault(variant.name, []).append(json.loads(file.read_text()))
        text = f"{machine.line()} {PRECISION}.\n\n{table(found)}\n"
        print(text)
        write_text(args.out / "results.md", text)
        write_results(args.out / "results.json", machine, {"budget_flops": budget, "precision": PRECISION, "cells": found})
        draw(found, args.out / "curve.png")


def _masked(learner: Learner) -> MaskedWorldModel:
    assert isinstance(learner.model, MaskedWorldModel)
    return learner.model


def _with_range(values: Sequence[float], digits: int) -> str:
    if not values:
        return ""
    text = f"{mean(values):.{digits}f}"
    return text if len(values) == 1 else f"{text} [{min(values):.{digits}f}, {max(values):.{digits}f}]"


if __name__ == "__main__":
    main()
