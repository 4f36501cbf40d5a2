"""Train one recipe in several variants, and evaluate them side by side.

    python -m eval sweep configs/sweeps/anti_collapse.yaml --out OUT     # anti-collapse methods: VoE, probes and forecasts
    python -m eval sweep configs/sweeps/augmentation.yaml --out OUT      # strength of augmentation: what and where is encoded
    python -m eval sweep mine.yaml seeds=[0,1] overrides=[train.max_steps=400] --out OUT

`kind` in the YAML file says what is varied. A shipped file is also found by its name
(anti_collapse). Every variant is trained with each seed in OUT/runs/<variant>-seed<seed>. OUT gets
sweep.json, sweep.csv, sweep.md and sweep.png. An interrupted command resumes when it is run
again.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from pathlib import Path

from eval.result_folder import result_folder
from eval.sweeps.anti_collapse.sweep import AntiCollapseConfig, sweep_methods
from eval.sweeps.augmentation.sweep import AugmentationConfig, sweep_strengths
from eval.sweeps.config import find_recipe, find_sweep
from worldmodel.config import ConfigError, load_config, read_config_file
from worldmodel.process.devices import add_device_argument

HELP = "train variants of a recipe and evaluate them side by side: anti-collapse methods, or strengths of augmentation"
RESUMES = True
KINDS: dict[str, type[AntiCollapseConfig] | type[AugmentationConfig]] = {
    "anti_collapse": AntiCollapseConfig,
    "augmentation": AugmentationConfig,
}
WRITTEN = ("sweep.json", "sweep.csv", "sweep.md", "sweep.png")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, metavar="FILE", help="YAML file of the sweep, or the name of a shipped one")
    parser.add_argument("overrides", nargs="*", metavar="a.b=value", help="overrides of the file")
    parser.add_argument("--out", required=True, type=Path, help="folder for runs, numbers, table and figure")
    add_device_argument(parser, "device of the evaluations")


def run(args: argparse.Namespace) -> int:
    """Raises ConfigError or EvalError for a sweep that cannot run, before anything is trained, or
    where a cell failed."""
    file = find_sweep(args.config)
    config = load_sweep(file, args.overrides)
    with result_folder(args.out, WRITTEN, "sweep.json"):
        recipe = find_recipe(file, config.recipe)
        if isinstance(config, AntiCollapseConfig):
            return sweep_methods(config, recipe, args.out, args.device, run_command)
        return sweep_strengths(config, recipe, args.out, args.device)


def load_sweep(file: Path, overrides: Sequence[str] = ()) -> AntiCollapseConfig | AugmentationConfig:
    """Read the YAML file of a sweep. Raises ConfigError if it is not a sweep."""
    kind = read_config_file(file).get("kind")
    if kind not in KINDS:
        raise ConfigError([f"{file}: kind is {kind!r}; the kinds of sweeps are {', '.join(KINDS)}"])
    return load_config(KINDS[kind], file, overrides)


def run_command(name: str, arguments: list[str]) -> None:
    """Run `python -m eval NAME ARGUMENTS` in this process."""
    module = importlib.import_module(f"eval.commands.{name}")
    parser = argparse.ArgumentParser(prog=f"python -m eval {name}")
    module.add_arguments(parser)
    module.run(parser.parse_args(arguments))
