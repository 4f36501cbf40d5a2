"""Success at planning against the permanence score, over the checkpoints of a run.

    python -m benchmarks.permanence_success runs/hidden_object --out results/permanence --count 100

Every checkpoint is evaluated by `eval plan` on the same pairs, with its memory and with one frame alone. OUT gets a folder of
`eval plan` per checkpoint, results.json, results.md and the figure permanence.png. The same command again continues with the
missing checkpoints. Other arguments, other weights or other code evaluate a checkpoint again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from benchmarks.measure import markdown_table
from eval.__main__ import main as eval_main
from eval.cache.keys import content_digest, digest_of, source_digest
from eval.result_folder import read_json
from worldmodel.files.atomic import atomic_file, write_json, write_text
from worldmodel.files.outputs import record_outputs
from worldmodel.process.arguments import whole_number
from worldmodel.render.curves import style_axes

ENVIRONMENT = "HiddenObject-v0"
PLANNER = (
    *("--planner", "icem", "--horizon", "6", "--executed", "12", "--cost-steps", "last"),
    *("--samples", "400", "--elites", "20", "--std", "4", "--proposals", "recorded", "--proposal-count", "1000"),
)
KEY_FILE = "permanence_key.json"
"""In the folder of a checkpoint: the digest of what plan.json was made from."""
COLOURS = {"model": "#0072b2", "memoryless": "#d55e00"}
LABELS = {"model": "with memory", "memoryless": "one frame"}
"""Of the policies of `eval plan`."""


def main(arguments: Sequence[str] | None = None) -> int:
    args = _arguments(arguments)
    folders = sorted(path for run in args.runs for path in (run / "checkpoints").iterdir() if (path / "state.json").exists())
    if len(folders) < 2:
        raise SystemExit(f"{args.runs[0]}: {len(folders)} checkpoints; train with checkpoint.keep=20 to keep them")
    with record_outputs(args.out, ["results.json", "results.md", "permanence.png"]):
        rows = [_row(folder, args) for folder in folders]
        write_json(args.out / "results.json", {"rows": rows, "spearman": rank_correlation(rows)})
        write_text(args.out / "results.md", _table(rows))
        with atomic_file(args.out / "permanence.png") as part:
            _figure(rows).savefig(part, format="png", dpi=150)
    print(_table(rows))
    return 0


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="run folders with several checkpoints, such as runs/hidden_object")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of results")
    parser.add_argument("--count", type=whole_number(2), default=100, help="pairs of start and goal (default 100)")
    parser.add_argument("--seeds", type=whole_number(1), default=1, help="planning seeds (default 1)")
    parser.add_argument("--last", type=whole_number(1), metavar="STEP", help="leave out checkpoints of later steps")
    return parser.parse_args(arguments)


def _row(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """The numbers of one checkpoint, by `eval plan`; its results are used again for the same weights, arguments and code."""
    run, step = folder.parent.parent.name, int(folder.name)
    out = args.out / f"{run}-{step:08d}"
    policies = ("--policies", ",".join(LABELS), "--seeds", str(args.seeds), "--count", str(args.count))
    given = ["--model", str(folder), "--env", ENVIRONMENT, "--out", str(out), *PLANNER, *policies]
    # state.json has the digests of all files of the checkpoint
    key = {"key": digest_of([given, content_digest(folder / "state.json"), source_digest()])}
    if read_json(out / KEY_FILE) != key or not (out / "plan.json").exists():
        (out / KEY_FILE).unlink(missing_ok=True)
        if eval_main(["plan", *given]) != 0:
            raise SystemExit(f"eval plan failed for {folder}")
        write_json(out / KEY_FILE, key)
    found = json.loads((out / "plan.json").read_text(encoding="utf-8"))
    criterion = found["criteria"][0]["name"]
    scores = found["offline"]["permanence"]
    with_memory, one_frame = scores[max(scores, key=int)], scores["1"]
    return {
        "run": run,
        "step": step,
        "success": {name: found["policies"][name]["scores"][criterion] for name in LABELS},
        "permanence": {"model": with_memory["accuracy"], "memoryless": one_frame["accuracy"]},
        "effect": {"model": with_memory["effect"], "memoryless": one_frame["effect"]},
    }


def rank_correlation(rows: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """Spearman's correlation of success with both forms of the score, over checkpoints; None where one of them is constant."""

    def values(key: str) -> list[float]:
        return [row[key]["model"]["value"] for row in rows]

    def correlation(key: str) -> float | None:
        both = values(key), values("success")
        return float(spearmanr(*both)[0]) if all(len(set(it)) > 1 for it in both) else None

    return {key: correlation(key) for key in ("permanence", "effect")}


def _table(rows: Sequence[dict[str, Any]]) -> str:
    heads = ["run", "training steps", "permanence, %", "effect", "success, %", "success with one frame, %"]

    def cell(score: dict[str, Any], factor: float = 100, digits: int = 0) -> str:
        value, low, high = (f"{factor * score[name]:.{digits}f}" for name in ("value", "low", "high"))
        return f"{value} [{low}, {high}]"

    return markdown_table(
        heads,
        [
            [
                row["run"],
                f"{row['step']:,}",
                cell(row["permanence"]["model"]),
                cell(row["effect"]["model"], 1, 3),
                cell(row["success"]["model"]),
                cell(row["success"]["memoryless"]),
            ]
            for row in rows
        ],
    )


def _figure(rows: Sequence[dict[str, Any]]) -> Figure:
    """Success against both forms of the score, one point per checkpoint and number of frames."""
    figure = Figure(figsize=(9.6, 4.2), layout="constrained")
    score, effect = figure.subplots(1, 2, sharey=True)
    for axes, key, factor in ((score, "permanence", 100), (effect, "effect", 1)):
        _draw(axes, rows, key, factor)
    score.set(xlim=(35, 104), ylim=(-3, 103), xlabel="permanence score (%), chance 50", ylabel="success at planning (%)")
    score.text(99, 51.5, "most that a planner without memory can reach", ha="right", fontsize=8, color="#555555")
    score.legend(frameon=False, fontsize=9, loc="upper left")
    effect.set(xlabel="surprise at impossible minus at possible videos (latent distance)")
    for row in rows:
        place = (row["effect"]["model"]["value"], 100 * row["success"]["model"]["value"])
        effect.annotate(f"{row['step']:,}", place, xytext=(5, -9), textcoords="offset points", fontsize=7, color="#333333")
    return figure


def _draw(axes: Axes, rows: Sequence[dict[str, Any]], key: str, factor: float) -> None:
    """Points and intervals, and the most that is possible without memory."""
    axes.axhline(50, color="#888888", linestyle=(0, (4, 3)), linewidth=1)
    for name, colour in COLOURS.items():
        x = [[factor * row[key][name][end] for end in ("value", "low", "high")] for row in rows]
        y = [[100 * row["success"][name][end] for end in ("value", "low", "high")] for row in rows]
        for across, up in zip(x, y, strict=True):
            axes.plot(across[1:], [up[0]] * 2, [across[0]] * 2, up[1:], color=colour, alpha=0.3, linewidth=1)
        axes.scatter([value[0] for value in x], [value[0] for value in y], color=colour, label=LABELS[name], zorder=3, s=28)
    style_axes(axes)


if __name__ == "__main__":
    raise SystemExit(main())
