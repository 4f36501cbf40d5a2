"""Pairs of finished evaluations by adjusted surprise with other slopes of the control variate.

    python -m benchmarks.transfer_slopes OUT/flat OUT/lookaway OUT/mini --slopes 0,1

OUT/...: folders that `eval voe` wrote. Adjusted surprise is whitened surprise minus a slope times the whitened surprise of the
same model without memory. `eval voe` fits the slope on possible videos by least squares. Slope 0 is whitened surprise. Slope 1
is the logarithm of a likelihood ratio, of errors with and without memory that are Gaussian with the two fitted covariances (in
units of half the number of features, up to a constant). The slope has no effect on pairs with the same outcome.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from benchmarks.measure import markdown_table
from eval.intervals import bootstrap_mean
from eval.result_folder import read_result
from eval.voe.pairs import score_pairs
from eval.voe.scorers import ScorerId
from eval.voe.scores.scoreboard import Scoreboard
from eval.voe.surprise.traces import Traces
from eval.voe.trials import read_trials

WHITENED, WITHOUT_MEMORY = ScorerId(distance="whitened"), ScorerId("masked context", "whitened")


def of_slopes(folder: Path, slopes: list[float]) -> list[list[object]]:
    """A row for every property and the mean, with the score by the fitted and by the given slopes."""
    protocol = read_result(folder / "protocol.json")
    board = Scoreboard(read_trials(folder / "trials.json"), Traces.open(folder / "traces.parquet"), protocol)
    surprise, control = (board.rows["locked", it].video_mean() for it in (WHITENED, WITHOUT_MEMORY))
    fitted = float(protocol["control_slope"])
    by_slope = [board.by_trial("both", surprise - slope * control, score_pairs) for slope in (fitted, *slopes)]
    kinds = [
        [board.by_trial(kind, surprise - slope * control, score_pairs) for slope in (fitted, *slopes)]
        for kind in ("same context", "same outcome")
    ]
    members: dict[str, list[int]] = {}
    for index, trial in enumerate(board.trials):
        if trial.split in ("test", "ood") and np.isfinite(by_slope[0][index]):
            members.setdefault(trial.property, []).append(index)
    rows: list[list[object]] = []
    for name, those in [*members.items(), ("mean", [])]:
        groups = [those] if those else list(members.values())
        cells = []
        for number, scores in enumerate(by_slope):
            mean, low, high = (100 * value for value in bootstrap_mean([scores[group] for group in groups]))
            halves = [100 * np.mean([kind[number][group].mean() for group in groups]) for kind in kinds]
            cells.append(f"{mean:.1f} [{low:.1f}, {high:.1f}] ({halves[0]:.0f}, {halves[1]:.0f})")
        rows.append([folder.name, name, sum(map(len, groups)), *cells])
    rows[-1][1] = f"**mean** (fitted slope {fitted:.2f})"
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("evaluations", nargs="+", type=Path, metavar="OUT")
    parser.add_argument("--slopes", default="0,1", help="separated by commas (default 0,1)")
    args = parser.parse_args()
    slopes = [float(text) for text in args.slopes.split(",")]
    rows = [row for folder in args.evaluations for row in of_slopes(folder, slopes)]
    print("Percent of pairs right, locked windows [95 % interval] (pairs of the same context, of the same outcome)\n")
    print(markdown_table(["evaluation", "property", "n", "fitted slope", *(f"slope {slope:g}" for slope in slopes)], rows))


if __name__ == "__main__":
    main()
