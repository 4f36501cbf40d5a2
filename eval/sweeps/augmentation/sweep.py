"""Train the recipe at several strengths of augmentation, and probe position, shape and hue in the
latents.

Augmentation is assumed to make the kind of an object easier and its position harder to read. Every
strength is trained with each seed, in OUT/runs/strength<strength>-seed<seed>. Linear probes read
the properties from videos that are not augmented.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field, field_validator

from eval.errors import EvalError
from eval.probes.dataset import PIXELS, UNTRAINED
from eval.provenance import environment
from eval.sweeps.augmentation.figure import sweep_figure
from eval.sweeps.augmentation.results import WHAT, WHERE, CellHealth, Row, SweepResults
from eval.sweeps.augmentation.strengths import PARTS, augment_at
from eval.sweeps.augmentation.tables import write_tables
from eval.sweeps.cell_probes import CellProbes, ProbeDataConfig, ScoresBySeed, SeedScores, change_since, mean_over_seeds
from eval.sweeps.config import SweepConfig
from eval.sweeps.grid import Cell, check_none_failed, make_cells, train_all
from worldmodel.config import load_config
from worldmodel.files.atomic import write_json
from worldmodel.files.log_rows import read_rows
from worldmodel.process.terminal import print_escaped
from worldmodel.recipe import Recipe
from worldmodel.render import save_figure

PROPERTIES = (WHERE, *WHAT)


class AugmentationConfig(SweepConfig):
    """Sweep over the strength of augmentation."""

    kind: Literal["augmentation"] = "augmentation"
    max_steps: int = Field(400, ge=2)
    """training steps of each training; a checkpoint is written half way"""
    strengths: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field((0.0, 0.25, 0.5, 1.0), min_length=2)
    """0 is no augmentation, 1 that of SimCLR"""
    parts: tuple[str, ...] = Field(tuple(PARTS), min_length=1)
    """parts of augmentation that are varied; the others are left out"""
    data: ProbeDataConfig
    """the videos that are probed"""

    @field_validator("strengths")
    @classmethod
    def _sort(cls, strengths: tuple[float, ...]) -> tuple[float, ...]:
        if len(found := sorted(set(strengths))) < 2:
            raise ValueError("at least two different strengths are needed, each from 0 (none) to 1 (SimCLR's)")
        return tuple(found)

    @field_validator("parts")
    @classmethod
    def _check_parts(cls, parts: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [part for part in parts if part not in PARTS]:
            raise ValueError(f"{', '.join(unknown)} is not one of {', '.join(PARTS)}")
        return tuple(dict.fromkeys(parts))


def sweep_strengths(config: AugmentationConfig, recipe: Path, out: Path, device: str) -> int:
    """Train and probe all cells into OUT, whose lock is held.

    Raises EvalError where a cell failed, after all others.
    """
    overrides = [*short_training(config.max_steps), *config.overrides]
    size_px = load_config(Recipe, recipe, overrides).window.size_px
    augments = {f"strength{it:g}": augment_at(it, config.parts, size_px) for it in config.strengths}
    variants = {name: [f"augment={augment.model_dump_json()}"] for name, augment in augments.items()}
    cells = make_cells(recipe, overrides, variants, config.seeds, out)
    probes = CellProbes.create(config.data, cells[0].recipe, PROPERTIES, torch.device(device))
    baselines = probes.baselines(cells)

    failed = train_all(cells)
    trained = {name: [cell for cell in cells if cell.variant == name and cell.name not in failed] for name in variants}
    by_variant = {name: {cell.seed: probes.of_cell(cell) for cell in some} for name, some in trained.items() if some}
    rows: list[Row] = [{"name": name, "scores": mean_scores(baselines[name])} for name in (PIXELS, UNTRAINED)]
    weakest = next(iter(by_variant), "")
    for name, strength in zip(variants, config.strengths, strict=True):
        if name in by_variant:
            scores = mean_scores(by_variant[name])
            if name != weakest:
                for prop, score in scores.items():
                    score["change"] = change_since(by_variant[weakest], by_variant[name], prop)
            rows.append(
                {
                    "name": f"strength {strength:g}",
                    "strength": strength,
                    "augment": augments[name].model_dump(),
                    "health": {str(cell.seed): last_health(cell) for cell in trained[name]},
                    "scores": scores,
                }
            )
    found: SweepResults = {
        "kind": config.kind,
        "made": environment(),
        "recipe": recipe.stem,
        "max_steps": config.max_steps,
        "parts": list(config.parts),
        "data": {
            "manifest": config.data.manifest,
            "split": config.data.split,
            "videos": len(probes.data.clips),
            "folds": config.data.folds,
        },
        "rows": rows,
    }
    write_json(out / "sweep.json", found)
    write_tables(out, found)
    save_figure(sweep_figure(found), out / "sweep.png")
    print_escaped((out / "sweep.md").read_text(encoding="utf-8"))
    check_none_failed(failed, cells)
    return 0


def short_training(max_steps: int) -> list[str]:
    """Overrides that shorten a recipe to `max_steps`.

    A training that is killed loses at most half of its steps.
    """
    half = -(-max_steps // 2)
    return [
        f"train.max_steps={max_steps}",
        f"optim.warmup_steps={max_steps // 10}",
        f"health.every={half}",
        f"checkpoint.every={half}",
        "checkpoint.keep=1",
        "decoder.max_steps=0",
    ]


def mean_scores(by_seed: ScoresBySeed) -> dict[str, SeedScores]:
    return {prop: mean_over_seeds(by_seed, prop) for prop in PROPERTIES}


def last_health(cell: Cell) -> CellHealth:
    """Verdict and effective rank at the last health check of a training.

    Raises EvalError where it has none.
    """
    rows = read_rows(cell.folder / "health.jsonl")
    if not rows:
        raise EvalError(f"{cell.folder / 'health.jsonl'} has no row; remove the folder and run the same command again")
    return {"verdict": rows[-1]["verdict"], "effective_rank": rows[-1]["effective_rank"]}
