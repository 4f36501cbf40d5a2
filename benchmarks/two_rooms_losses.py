"""Two Rooms without one of the losses that train its latents: how often plans then succeed, over several seeds.

    python -m benchmarks.two_rooms_losses OUT --data data/two_rooms/episodes.parquet --seeds 3

Each variant is trained by configs/two_rooms.yaml without one loss (or two), and then by configs/two_rooms_planning.yaml as it
is. Both trainings are shorter than those of the recipes. All variants plan for the same pairs. "Minus all" is the difference
to all losses over the same pairs and seeds, with its interval over both. OUT gets the runs, a folder of `eval plan` per
variant, results.json and results.md. An interrupted command continues when it is given again. Finished trainings and plans are
not made again, also where the code has changed: give another OUT then.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from benchmarks.measure import describe_machine, markdown_table
from data_prep.environments.making import find_task
from eval.__main__ import main as eval_main
from eval.npz_files import load_arrays
from eval.planning.episodes import Episodes
from eval.planning.pairs import read_pairs
from eval.planning.scoring import difference, success
from worldmodel.config.shipped import shipped_configs
from worldmodel.files.atomic import write_json, write_text
from worldmodel.files.outputs import record_outputs
from worldmodel.process.arguments import whole_number

PLANNER = ("--horizon", "4", "--repeat-actions", "--executed", "4", "--samples", "64", "--elites", "8", "--iterations", "4")
ENVIRONMENT = "TwoRooms-v0"
MODEL_ALONE = ("--env", ENVIRONMENT, "--seeds", "1", "--policies", "model", "--no-offline")
CRITERION = "moderate"
HEALTH = {"effective_rank": "effective rank", "std_min": "lowest standard deviation of a feature", "skill": "skill"}
"""Numbers of the health monitor at the end of the training of the latents, means over seeds."""


@dataclass(frozen=True)
class Variant:
    """The recipe of the latents without one loss."""

    label: str
    without: tuple[str, ...] = ()  # objectives that are left out
    overrides: tuple[str, ...] = ()


VARIANTS = {
    "all": Variant("all losses"),
    "variance": Variant("without variance over the batch", overrides=("objectives.spread.std_weight=0",)),
    "covariance": Variant("without covariance", overrides=("objectives.spread.cov_weight=0",)),
    "time": Variant(
        "without variance over time",
        overrides=("objectives.spread.temporal_std_weight=0", "objectives.spread.temporal_features=null"),
    ),
    "actions": Variant("without inverse dynamics", without=("actions",)),
    "steps": Variant("without steps to go", without=("steps",)),
    "actions_steps": Variant("without inverse dynamics and steps to go", without=("actions", "steps")),
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder of runs and results")
    parser.add_argument("--data", type=Path, required=True, metavar="MANIFEST", help="episodes of Two Rooms")
    parser.add_argument("--seeds", type=whole_number(1), default=3, help="trainings of each variant (default 3)")
    parser.add_argument("--steps", type=whole_number(1), default=1500, help="training steps of each stage (default 1500)")
    parser.add_argument("--count", type=whole_number(2), default=100, help="pairs of start and goal (default 100)")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), help="only these (default: all)")
    args = parser.parse_args(arguments)
    with record_outputs(args.out, ["results.json", "results.md", *(f"{name}.yaml" for name in args.variants)]):
        for seed in range(args.seeds):
            for name in args.variants:
                _train(args, name, seed)
        rows = [_plan(args, name) for name in args.variants]
        if "all" in args.variants:
            reached = {name: _reached(args, name) for name in args.variants}
            for name, row in zip(args.variants, rows, strict=True):
                if name != "all":
                    row["minus_all"] = difference(reached[name], reached["all"], models=args.seeds)
        found = {"steps": args.steps, "machine": describe_machine().line(), "rows": rows}
        write_json(args.out / "results.json", found)
        write_text(args.out / "results.md", _table(rows))
    print(_table(rows))
    return 0


def _run(args: argparse.Namespace, name: str, seed: int) -> Path:
    return Path(args.out / "runs" / f"{name}-{args.steps}steps-seed{seed}")


def _train(args: argparse.Namespace, name: str, seed: int) -> None:
    """Train latents without the loss, then dynamics and distance on them. Finished trainings are not repeated."""
    variant, run = VARIANTS[name], _run(args, name, seed)
    recipe = yaml.safe_load((shipped_configs() / "two_rooms.yaml").read_text(encoding="utf-8"))
    recipe["objectives"] = {key: value for key, value in recipe["objectives"].items() if key not in variant.without}
    file = args.out / f"{name}.yaml"
    write_text(file, yaml.safe_dump(recipe, sort_keys=False))
    common = [f"seed={seed}", f"data.manifest={args.data.absolute()}", f"train.max_steps={args.steps}"]
    common += [f"health.every={args.steps}", f"checkpoint.every={args.steps}"]
    latents = f"{run}-latents"
    _call([str(file), f"run={latents}", "data.make=null", *variant.overrides, *common])
    second = str(shipped_configs() / "two_rooms_planning.yaml")
    _call([second, f"run={run}", f"model.frozen_encoder.source={latents}", *common])


def _call(arguments: Sequence[str]) -> None:
    if subprocess.run([sys.executable, "-m", "worldmodel.train", *arguments]).returncode:
        raise SystemExit(f"training failed: {' '.join(arguments)}")


def _plan_folder(args: argparse.Namespace, name: str) -> Path:
    return Path(args.out / f"plan-{name}-{args.seeds}x{args.steps}x{args.count}")


def _reached(args: argparse.Namespace, name: str) -> NDArray[np.float64]:
    """Whether the goals of one variant were reached: [seeds, pairs] as 0 and 1."""
    out = _plan_folder(args, name)
    pairs, arrays = read_pairs(out / "pairs.json", ENVIRONMENT), load_arrays(out / "episodes.npz")
    parts = [{key: arrays[f"model/{seed}/{key}"] for key in ("states", "actions", "length")} for seed in range(args.seeds)]
    episodes = [Episodes(**part, spent=np.zeros((len(pairs.pairs), 3))) for part in parts]
    return success(find_task(ENVIRONMENT, {}), episodes, pairs.goals_array)[CRITERION]


def _plan(args: argparse.Namespace, name: str) -> dict[str, Any]:
    """The success of one variant over all its seeds, by `eval plan`."""
    out = _plan_folder(args, name)
    runs = [str(_run(args, name, seed)) for seed in range(args.seeds)]
    given = ["--out", str(out), "--count", str(args.count), *MODEL_ALONE, *PLANNER]
    if not (out / "plan.json").exists() and eval_main(["plan", "--model", *runs, *given]) != 0:
        raise SystemExit(f"eval plan failed for {name}")
    found = json.loads((out / "plan.json").read_text(encoding="utf-8"))
    health = [_health(Path(f"{run}-latents")) for run in runs]
    means = {key: statistics.fmean(it[key] for it in health) for key in HEALTH}
    return {"variant": VARIANTS[name].label, **found["policies"]["model"]["scores"][CRITERION], **means}


def _health(run: Path) -> dict[str, float]:
    """The last record of the health monitor of a training."""
    lines = (run / "health.jsonl").read_text(encoding="utf-8").splitlines()
    found: dict[str, float] = json.loads(lines[-1])
    return found


def _table(rows: Sequence[dict[str, Any]]) -> str:
    cells = [
        [
            it["variant"],
            _percent(it),
            _percent(it["minus_all"]) if "minus_all" in it else "",
            *(f"{it[key]:.2f}" for key in HEALTH),
        ]
        for it in rows
    ]
    return markdown_table(
        [f"losses ({rows[0]['seeds']} seeds, {rows[0]['n']} pairs)", "success, %", "minus all", *HEALTH.values()], cells
    )


def _percent(found: dict[str, Any]) -> str:
    return f"{100 * found['value']:.1f} [{100 * found['low']:.1f}, {100 * found['high']:.1f}]"


if __name__ == "__main__":
    raise SystemExit(main())
