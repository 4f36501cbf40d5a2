"""The YAML file of a sweep: what all kinds have in common, and where the recipe that it names
lies."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, NonNegativeInt

from eval.errors import EvalError
from worldmodel.config import Config
from worldmodel.config.shipped import shipped_configs


class SweepConfig(Config):
    """What is trained."""

    recipe: str
    """YAML file of the recipe: beside this file, in the folder above it, or in the working
    directory"""
    overrides: tuple[str, ...] = ()
    """overrides of the recipe in all trainings, such as train.max_steps=400"""
    seeds: tuple[NonNegativeInt, ...] = Field((0, 1, 2), min_length=1)
    """seeds of the trainings; every variant is trained with each"""


def find_sweep(path: Path) -> Path:
    """The file itself, or the shipped sweep of that name where there is no such file:
    `anti_collapse`."""
    shipped = shipped_configs() / "sweeps" / path.with_suffix(".yaml").name
    return shipped if shipped.is_file() and not path.exists() else path


def find_recipe(sweep_file: Path, name: str) -> Path:
    """The recipe that a sweep names. Raises EvalError where it is in none of the folders."""
    folder = sweep_file.absolute().parent
    folders = (folder, folder.parent, Path.cwd())
    for candidate in folders:
        if (candidate / name).is_file():
            return candidate / name
    searched = ", ".join(map(str, dict.fromkeys(folders)))
    raise EvalError(f"{sweep_file}: its recipe {name} is in none of {searched}; name it relative to one of them")
