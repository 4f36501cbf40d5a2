"""The YAML file of a sweep: the common fields of all kinds, and the search for its recipe."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, NonNegativeInt

from eval.errors import EvalError
from worldmodel.config import Config
from worldmodel.config.shipped import shipped_configs


class SweepConfig(Config):
    """Fields of all kinds of sweeps."""

    recipe: str
    """YAML file of the recipe: relative to the folder of this file, to its parent folder, or to the working
    directory"""
    overrides: tuple[str, ...] = ()
    """overrides of the recipe in all trainings, such as train.max_steps=400"""
    seeds: tuple[NonNegativeInt, ...] = Field((0, 1, 2), min_length=1)
    """seeds of the trainings; every variant is trained with each"""


def find_sweep(path: Path) -> Path:
    """The file itself; if it does not exist, the shipped sweep of that name, such as `anti_collapse`."""
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
