"""Ways against collapse side by side: each is trained and evaluated on the same films with the same updates.

    python -m eval ablate --out runs/ablation                       # configs/ablation.yaml
    python -m eval ablate mine.yaml seeds=[0,1] overrides=[train.max_steps=400] --out OUT

A cell is a way and a seed: `worldmodel/train.py`, then `eval physics`, `probe` and `forecast` on the last checkpoint, as
anyone would run them, in OUT/runs/<way>-seed<seed>. The same command again goes on where it stopped. After every cell OUT has
ablation.json, ablation.csv, ablation.md and ablation.png of all that are whole.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import Field, NonNegativeInt, field_validator

from eval.errors import EvalError
from eval.result_folder import result_folder
from eval.sweeps.ablation import agreement, read_cell, summary
from eval.sweeps.ablation_tables import write_all
from eval.sweeps.grid import Cell, cells_of, check_none_failed, train
from worldmodel.config import Config, load
from worldmodel.files.atomic import write_json
from worldmodel.process.commit import commit
from worldmodel.process.devices import add_device
from worldmodel.process.terminal import say
from worldmodel.recipe import file_and_overrides
from worldmodel.runs.progress import duration

HELP = "train and evaluate ways against collapse side by side"
RESUMES = True
MADE = {"physics": "scores.json", "probe": "probe.json", "forecast": "forecast.json"}  # what each evaluation leaves
WRITTEN = ("ablation.json", "ablation.csv", "ablation.md", "ablation.png")
DEFAULT = Path(__file__).resolve().parents[2] / "configs" / "ablation.yaml"


class SuiteConfig(Config):
    """Films of the physics world that all cells are evaluated on."""

    films: str  # folder with suite.parquet and lawful.parquet
    make: tuple[str, ...] = ()  # arguments of `python -m data_prep` that make them where they are missing


class AblationConfig(Config):
    """What is compared, and on what."""

    recipe: str  # YAML file of what is trained: beside this one, in the folder above it, or in the working directory
    overrides: tuple[str, ...] = ()  # of the recipe, in all cells
    seeds: tuple[NonNegativeInt, ...] = Field((0, 1, 2), min_length=1)
    horizons_s: tuple[float, ...] = Field((0.33, 0.67, 1.0), min_length=1)  # of forecasts, seconds after the context
    folds: int = Field(5, ge=2)  # parts that films are divided into, for probes
    suite: SuiteConfig
    ways: dict[str, tuple[str, ...]] = Field(min_length=1)  # by name, further overrides of the recipe

    @field_validator("ways")
    @classmethod
    def _check_names(cls, ways: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        if bad := [name for name in ways if not name.isidentifier()]:
            raise ValueError(f"{', '.join(map(repr, bad))}: a name must be letters, digits and underscores; folders bear it")
        return ways


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", nargs="?", type=Path, help=f"YAML file (default: {DEFAULT.name})")
    parser.add_argument("overrides", nargs="*", metavar="a.b=value")
    parser.add_argument("--out", required=True, type=Path, help="folder for runs, numbers and figure")
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    """Raises ConfigError for an ablation or a recipe that cannot run, before any work; EvalError where a cell failed."""
    named, overrides = file_and_overrides(args.config, args.overrides)
    file = named or DEFAULT
    config = load(AblationConfig, file, overrides)
    with result_folder(args.out, WRITTEN, "ablation.json"):
        return ablate(args, config, file)


def ablate(args: argparse.Namespace, config: AblationConfig, file: Path) -> int:
    """Train and evaluate into OUT, which is ours."""
    cells = cells_of(recipe_of(file, config.recipe), config.overrides, config.ways, config.seeds, args.out)
    make_films(config.suite)
    began, failed = time.monotonic(), {}
    for number, cell in enumerate(cells, 1):
        say(f"\n[{number} of {len(cells)}] {cell.name}", flush=True)
        if why := train(cell) or evaluate(config, cell, args.device):
            failed[cell.name] = why  # the others still run
        conclude(config, cells, args.out)
        spent_s = time.monotonic() - began
        say(f"{duration(spent_s)}, about {duration(spent_s / number * (len(cells) - number))} left", flush=True)
    if (said := args.out / "ablation.md").exists():
        say("\n" + said.read_text(encoding="utf-8"))
    check_none_failed(failed, cells)
    return 0


def recipe_of(file: Path, name: str) -> Path:
    """The recipe that a file names, wherever one stands. Raises EvalError where it is in none of the places."""
    folder = file.absolute().parent
    places = (folder, folder.parent, Path.cwd())
    for place in places:
        if (place / name).is_file():
            return place / name
    looked = ", ".join(map(str, dict.fromkeys(places)))
    raise EvalError(f"{file}: its recipe {name} is in none of {looked}; name it relative to one of them")


def make_films(suite: SuiteConfig) -> None:
    """Where they are missing."""
    if all((Path(suite.films) / name).exists() for name in ("suite.parquet", "quads.parquet", "lawful.parquet")):
        return
    if not suite.make:
        raise EvalError(f"{suite.films} has no suite.parquet; make it by `python -m data_prep synthesize`, or say suite.make")
    if subprocess.run([sys.executable, "-m", "data_prep", *suite.make], check=False).returncode:
        raise EvalError(f"`python -m data_prep {' '.join(suite.make)}` failed; see its message above")


def evaluate(config: AblationConfig, cell: Cell, device: str) -> str:
    """The three evaluations of the last checkpoint (equal updates, whatever the doctor thinks of them); those that stand
    are kept. Their words go to evaluation.log. Why one failed, empty where none did."""
    last = cell.checkpoint()
    assert last is not None
    folder = Path(cell.recipe.run)
    films, model = config.suite.films, ["--model", str(last.folder), "--device", device]
    lawful = ["--data", f"{films}/lawful.parquet", "--folds", str(config.folds)]
    horizons = ",".join(f"{horizon:g}" for horizon in config.horizons_s)
    asked = {
        "physics": ["--suite", f"builtin:{films}", "--untrained-seeds", "1"],
        "probe": [*lawful, "--horizons", horizons, "--only", "position"],  # seconds; all of them take minutes
        "forecast": lawful,
    }
    for command, made in MADE.items():
        out = folder / command
        if not (out / made).exists():
            with said_to(folder / "evaluation.log"):
                try:
                    call(command, [*model, *asked[command], "--out", str(out)])
                except EvalError as error:
                    return f"eval {command}: {error}"
    return ""


def call(command: str, arguments: list[str]) -> None:
    """`python -m eval COMMAND ...`, in this process."""
    module = importlib.import_module(f"eval.{command}")
    parser = argparse.ArgumentParser(prog=f"python -m eval {command}")
    module.add_arguments(parser)
    module.run(parser.parse_args(arguments))


@contextlib.contextmanager
def said_to(log: Path) -> Iterator[None]:
    """What is printed inside goes to the end of a file; progress bars, on standard error, stay."""
    words = io.StringIO()
    try:
        with contextlib.redirect_stdout(words):
            yield
    finally:
        with log.open("a", encoding="utf-8") as file:
            file.write(words.getvalue())


def conclude(config: AblationConfig, cells: Sequence[Cell], out: Path) -> None:
    """OUT/ablation.json, .csv, .md and .png, of the cells that are trained and evaluated."""
    rows = []
    for cell in cells:
        folder = Path(cell.recipe.run)
        if all((folder / command / made).exists() for command, made in MADE.items()):
            rows.append({"way": cell.variant, "seed": cell.seed, **read_cell(folder, config.horizons_s)})
    if not rows:
        return
    found = {
        "command": "python -m eval " + shlex.join(sys.argv[1:]),
        "commit": commit(),
        "config": config.model_dump(mode="json"),
        "cells": rows,
        "ways": summary(rows),
        "agreement": agreement(rows),
    }
    write_json(out / "ablation.json", found)
    write_all(out, found)
