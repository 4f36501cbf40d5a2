"""One table of several trainings that `eval voe` scored in the same worlds, with the mean over them.

    python -m benchmarks.transfer_seeds OUT_0 OUT_1 OUT_2 --baselines "shuffled context" "motion change"

OUT_...: folders with a worlds.json of `eval voe` or `eval worlds`. The table shows percent of pairs of each training, their
mean with its 95 % t interval over trainings, which does not include videos, and the mean of the baselines.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import t as student

from benchmarks.measure import markdown_table
from eval.result_folder import read_result

Rows = dict[tuple[str, str], dict[str, float]]
"""Of one training, by world and property: its pairs under "model", and those of the baselines; fractions."""


def read_rows(folder: Path, scorer: str) -> Rows:
    """What worlds.json has of a scorer."""
    worlds = read_result(folder / "worlds.json")["worlds"]
    return {
        (world["name"], row["name"]): {"model": row["value"], **row["baselines"]}
        for world in worlds
        for row in world["rows"][scorer]
    }


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean over trainings with its 95 % t interval, within 0 and 1; a single training has no interval."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, float("nan"), float("nan")
    half = float(student.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5)
    return mean, max(0.0, mean - half), min(1.0, mean + half)


def table(trainings: dict[str, Rows], baselines: Sequence[str]) -> str:
    """Markdown; rows that a training lacks are left out."""
    first, *others = trainings.values()
    rows: list[list[object]] = []
    for key, of_first in first.items():
        found = [of_first, *(other[key] for other in others if key in other)]
        if len(found) < len(trainings):
            continue
        mean, low, high = (100 * value for value in interval([it["model"] for it in found]))
        shown = [f"{100 * np.mean([it[name] for it in found]):.1f}" if name in of_first else "-" for name in baselines]
        rows.append([*key, *(f"{100 * it['model']:.1f}" for it in found), f"{mean:.1f} [{low:.0f}, {high:.0f}]", *shown])
    return markdown_table(["world", "property", *trainings, "mean [95 %]", *baselines], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("evaluations", nargs="+", type=Path, metavar="OUT")
    parser.add_argument("--scorer", default="adjusted", help="default: adjusted")
    parser.add_argument("--baselines", nargs="*", default=["shuffled context"], metavar="NAME")
    args = parser.parse_args()
    print(table({folder.name: read_rows(folder, args.scorer) for folder in args.evaluations}, args.baselines))


if __name__ == "__main__":
    main()
