"""Figure and table: how long a model remembers what is hidden, and how many things.

    python -m benchmarks.memory_curve FIGURE.png demo=runs/demo/memory transfer=runs/transfer/memory

The folders are evaluations (`eval voe`) of suites of the world `memory`, in which what differs is hidden for exactly 0.5, 1 or
2 s. Pairs right in locked windows against that time, with 95 % intervals over quadruplets, one line per model. The table has
sums (quadruplets whose impossible videos have the larger sum, chance 50), baselines, and the same by the number of bodies.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.measure import markdown_table
from eval.intervals import bootstrap_mean
from eval.voe.evaluation import Evaluation, open_evaluation
from eval.voe.pairs import score_pairs
from eval.voe.scorers import ScorerId, baselines_of
from eval.voe.scores.psychometric import occlusion_s
from worldmodel.files.atomic import atomic_file
from worldmodel.files.outputs import output_file
from worldmodel.render.curves import style_axes

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
BASELINES = ("shuffled context", "masked context", "latent copy")


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval, over n trials."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.mean:.1f} [{self.low:.1f}, {self.high:.1f}]"


@dataclass(frozen=True)
class Memory:
    """The trials of one evaluation: what was asked, and by which score the pairs are right."""

    question: NDArray[np.object_]  # [trials], the property
    hidden_s: NDArray[np.float64]  # [trials]
    bodies: NDArray[np.float64]  # [trials]
    right: dict[str, NDArray[np.float64]]  # pairs of the model ("model"), its "sums", and pairs of baselines, [trials]

    def mean(self, name: str, question: str, hidden_s: float | None = None, bodies: float | None = None) -> Interval:
        """The mean of a scorer over the trials of a question, a time and a number of bodies, in percent."""
        keep = (self.question == question) & np.isfinite(self.right[name])
        for values, wanted in ((self.hidden_s, hidden_s), (self.bodies, bodies)):
            keep = keep & (values == wanted) if wanted is not None else keep
        mean, low, high = bootstrap_mean([self.right[name][keep]])
        return Interval(100 * mean, 100 * low, 100 * high, int(keep.sum()))


def read_memory(evaluation: Evaluation, scorer: ScorerId) -> Memory:
    """The scores of split test in locked windows."""
    board = evaluation.board
    trials = [index for index, trial in enumerate(evaluation.trials) if trial.split == "test"]
    scorers = {"model": scorer}
    scorers |= {it.forecaster_name: it for it in baselines_of(scorer, board.scorers("locked"))}
    chosen = [evaluation.trials[index] for index in trials]
    surprise = board.rows["locked", scorer].video_mean()
    of_four = surprise[board.first_video[trials][:, None] + np.arange(4)]  # two possible videos, then two impossible ones
    sums = score_pairs(of_four[:, :2].sum(1), of_four[:, 2:].sum(1))  # rounding noise is a tie
    return Memory(
        np.array([trial.property for trial in chosen], object),
        np.array([occlusion_s(trial) for trial in chosen], float),
        np.array([trial.magnitude for trial in chosen], float),
        {"sums": sums, **{name: board.scores("locked", it, board.main_kind)[trials] for name, it in scorers.items()}},
    )


def draw(memories: dict[str, Memory], path: Path) -> None:
    """One panel for each question."""
    first = next(iter(memories.values()))
    questions = list(dict.fromkeys(first.question))
    figure = Figure(figsize=(3.4 * len(questions), 3.2), layout="constrained")
    panels = figure.subplots(1, len(questions), sharey=True, squeeze=False)[0]
    for axes, question in zip(panels, questions, strict=True):
        times = sorted(set(first.hidden_s[first.question == question]))
        for number, ((label, memory), colour) in enumerate(zip(memories.items(), COLOURS, strict=False)):
            found = [memory.mean("model", question, hidden_s) for hidden_s in times]
            errors = [[it.mean - it.low for it in found], [it.high - it.mean for it in found]]
            x = [hidden_s * 1.03**number for hidden_s in times]  # beside each other, so that intervals can be told apart
            axes.errorbar(x, [it.mean for it in found], errors, color=colour, label=label, marker="o", markersize=4)
        axes.axhline(50, color="#888888", linewidth=0.8, linestyle="--")
        axes.set_ylim(0, 100)
        axes.set_xscale("log")
        axes.set_xticks(times, [f"{hidden_s:g}" for hidden_s in times])
        axes.minorticks_off()
        axes.set_title(question, fontsize=10)
        axes.set_xlabel("hidden, s")
        style_axes(axes)
    panels[0].set_ylabel("pairs right, %")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(memories), frameon=False)
    with output_file(path, "give another FIGURE"), atomic_file(path) as file:
        figure.savefig(file, format="png", dpi=110)


def rows(memories: dict[str, Memory]) -> list[list[str]]:
    """A row for each question and time, and one for each question and number of bodies."""
    first, found = next(iter(memories.values())), []
    for question in dict.fromkeys(first.question):
        mine = first.question == question
        cells = [(f"{hidden_s:g} s", {"hidden_s": hidden_s}) for hidden_s in sorted(set(first.hidden_s[mine]))]
        cells += [(f"of {bodies:.0f}", {"bodies": bodies}) for bodies in sorted(set(first.bodies[mine]))]
        for label, chosen in cells:
            row = [f"{question}, {label}", str(first.mean("model", question, **chosen).n)]
            for memory in memories.values():
                row += [str(memory.mean(name, question, **chosen)) for name in ("model", "sums")]
                beside = [f"{memory.mean(it, question, **chosen).mean:.1f}" for it in BASELINES if it in memory.right]
                row.append(", ".join(beside))
            found.append(row)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figure", type=Path, metavar="FIGURE")
    parser.add_argument("evaluations", nargs="+", metavar="LABEL=OUT")
    parser.add_argument("--scorer", default="adjusted", help="adjusted (default), whitened or latent distance")
    args = parser.parse_args()
    scorer = ScorerId.parse(args.scorer)
    outs = dict(it.split("=", 1) for it in args.evaluations)
    memories = {label: read_memory(open_evaluation(Path(out)), scorer) for label, out in outs.items()}
    draw(memories, args.figure)
    heads = [head for label in memories for head in (f"{label}: pairs", "sums", ", ".join(BASELINES))]
    print(markdown_table(["question", "n", *heads], rows(memories)))


if __name__ == "__main__":
    main()
