"""What does augmentation give to recognising what is there, and what does it cost in knowing where?

    python -m eval tradeoff --data films/mini/lawful.parquet --out OUT              # the demo's recipe, trained shortly
    python -m eval tradeoff configs/mine.yaml a.b=value --data ... --parts crop     # another recipe; crops alone

Trains the recipe under several strengths of augmentation (see eval/sweeps/strengths.py), every seed in a run folder of
its own below OUT; then reads position, shape and hue off the latents of films that are not augmented, by linear probes.
OUT gets tradeoff.json, tradeoff.csv, tradeoff.md and tradeoff.png. The same command again goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from eval.errors import EvalError
from eval.probes.gathering import PIXELS, UNTRAINED
from eval.provenance import circumstances
from eval.result_folder import result_folder
from eval.sweeps import grid, grid_probes
from eval.sweeps.grid import Cell
from eval.sweeps.grid_probes import Probes, change_since, mean_over_seeds
from eval.sweeps.strengths import USUAL, augment_at, parts_of, strengths_of
from eval.sweeps.tradeoff_figure import draw
from eval.sweeps.tradeoff_tables import WHAT, WHERE, write_tables
from worldmodel.config import load
from worldmodel.files.atomic import write_json
from worldmodel.process.arguments import count
from worldmodel.process.terminal import say
from worldmodel.recipe import Recipe
from worldmodel.runs.run_log import read_rows
from worldmodel.train import DEMO

HELP = "train under several strengths of augmentation: what is gained in telling what, and lost in telling where?"
RESUMES = True
STRENGTHS, SEEDS, UPDATES = "0,0.25,0.5,1", 2, 400
WRITTEN = ("tradeoff.json", "tradeoff.csv", "tradeoff.md", "tradeoff.png")
ASKED = (WHERE, *WHAT)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", nargs="?", help=f"YAML file of what is trained (default: {DEMO.name})")
    parser.add_argument("overrides", nargs="*", metavar="a.b=value", help="changes of the recipe")
    parser.add_argument("--out", required=True, type=Path, help="folder for runs, numbers, table and figure")
    parser.add_argument("--seeds", type=count(1), default=SEEDS, metavar="N", help=f"trainings a strength (default {SEEDS})")
    parser.add_argument("--updates", type=count(1), default=UPDATES, metavar="N", help=f"of each training (default {UPDATES})")
    grid_probes.add_arguments(parser)
    parser.add_argument("--strengths", default=STRENGTHS, metavar="A,B", help=f"0 none, 1 SimCLR's (default {STRENGTHS})")
    parser.add_argument("--parts", default=",".join(USUAL), metavar="A,B", help=f"what is varied (default {','.join(USUAL)})")


def run(args: argparse.Namespace) -> int:
    """Raises EvalError and its like for what cannot be trained or probed, before anything is trained."""
    with result_folder(args.out, WRITTEN, "tradeoff.json"):
        return tradeoff(args)


def tradeoff(args: argparse.Namespace) -> int:
    """Train and probe into OUT, which is ours."""
    strengths, parts = strengths_of(args.strengths), parts_of(args.parts)
    recipe, overrides = recipe_of(args)
    size_px = load(Recipe, recipe, overrides).window.size_px
    augments = {f"strength{strength:g}": augment_at(strength, parts, size_px) for strength in strengths}
    variants = {name: [f"augment={augment.model_dump_json()}"] for name, augment in augments.items()}
    cells = grid.cells_of(recipe, overrides, variants, range(args.seeds), args.out)
    probes = Probes.of(args, cells[0].recipe, ASKED)
    references = probes.references(cells)

    failed = grid.train_all(cells)
    trained = [cell for cell in cells if cell.name not in failed]
    readings = {name: {cell.seed: probes.of_cell(cell) for cell in trained if cell.variant == name} for name in variants}
    readings = {name: by_seed for name, by_seed in readings.items() if by_seed}
    rows: list[dict[str, Any]] = [
        {"name": name, "scores": {prop: mean_over_seeds(references[name], prop) for prop in ASKED}}
        for name in (PIXELS, UNTRAINED)
    ]
    weakest = next(iter(readings), "")
    for name, strength in zip(variants, strengths, strict=True):
        if name in readings:
            scores = {prop: mean_over_seeds(readings[name], prop) for prop in ASKED}
            if name != weakest:
                scores = {p: {**it, "change": change_since(readings[weakest], readings[name], p)} for p, it in scores.items()}
            health = {str(cell.seed): health_of(cell) for cell in trained if cell.variant == name}
            told = {"strength": strength, "augment": augments[name].model_dump(), "health": health}
            rows.append({"name": f"strength {strength:g}", **told, "scores": scores})
    found = {
        "made": circumstances(),
        "recipe": recipe.stem,
        "updates": args.updates,
        "parts": parts,
        "data": {"manifest": args.data, "split": args.split, "films": len(probes.films.clips), "folds": args.folds},
        "rows": rows,
    }
    write_json(args.out / "tradeoff.json", found)
    write_tables(args.out, found)
    draw(args.out, found)
    say((args.out / "tradeoff.md").read_text(encoding="utf-8"))
    grid.check_none_failed(failed, cells)
    return 0


def recipe_of(args: argparse.Namespace) -> tuple[Path, list[str]]:
    """The recipe's file, and what makes it as short as asked; what the user overrides comes after that. Raises EvalError."""
    if args.updates < 2:
        raise EvalError(f"--updates {args.updates}: at least 2, since a checkpoint is written half way")
    named, changes = args.recipe or str(DEMO), list(args.overrides)
    if "=" in named:
        named, changes = str(DEMO), [named, *changes]
    half = -(-args.updates // 2)  # what a kill can cost
    short = [
        f"train.max_steps={args.updates}",
        f"optim.warmup_steps={args.updates // 10}",
        f"health.every={half}",
        f"checkpoint.every={half}",
        "checkpoint.keep=1",
        "decoder.max_steps=0",
    ]
    return Path(named), [*short, *changes]


def health_of(cell: Cell) -> dict[str, Any]:
    """The doctor's last words."""
    last = read_rows(Path(cell.recipe.run) / "health.jsonl")[-1]
    return {name: last[name] for name in ("verdict", "effective_rank")}
