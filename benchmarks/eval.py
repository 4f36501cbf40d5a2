"""The model's part of `eval voe` against another commit: CPU time with one thread, and the largest difference of surprise.

    python -m benchmarks.eval RUN SUITE --against COMMIT [--precision bf16] [--pieces 6] [--calibration-videos 50] [--rounds 7]

SUITE is a folder of the built-in suite (`python -m data_prep synthesize SUITE --suite mini`). A piece is 8 trials. Reading,
scores and the report are not included. The other commit runs in float32.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.measure import Spread, add_out, describe_machine, markdown_table, spread_of, write_results
from benchmarks.steps.against import ROOT, checked_out
from eval.voe.surprise.traces import Traces
from worldmodel.process.arguments import whole_number


class EvalPass:
    """A process that evaluates the same videos on demand."""

    def __init__(self, checkout: Path, arguments: list[str]) -> None:
        # As a text, because a script's own folder comes first in its search path, and this module is called eval, too.
        script = Path(__file__).with_name("eval_pass.py").read_text(encoding="utf-8")
        command = [sys.executable, "-c", script, *arguments]
        environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            command, env=environment, cwd=checkout, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answer()

    def times(self) -> dict[str, float]:
        """CPU seconds of one pass by part."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        found: dict[str, float] = json.loads(self._answer())
        return {**found, "all": sum(found.values())}

    def _answer(self) -> str:
        assert self.process.stdout is not None
        if not (line := self.process.stdout.readline()):
            raise SystemExit("the evaluation ended; its error is above")
        return line


def largest_difference(one: Path, other: Path) -> float:
    """Largest difference of surprise between two files of traces, relative to the mean surprise of the scorer."""
    columns = ("scorer", "video_id", "windows", "window_start_s", "context_s", "time_s", "surprise")
    tables = [Traces.open(path).table for path in (one, other)]
    keys = [sorted(zip(*(table[name].to_pylist() for name in columns), strict=True)) for table in tables]
    if [row[:-1] for row in keys[0]] != [row[:-1] for row in keys[1]]:
        raise SystemExit("the two commits score other windows")
    scorers = np.array([row[0] for row in keys[0]])
    a, b = (np.array([row[-1] for row in rows]) for rows in keys)
    return max(
        float(np.abs(a - b)[scorers == scorer].max() / np.abs(b[scorers == scorer]).mean()) for scorer in np.unique(scorers)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("suite", type=Path)
    parser.add_argument("--against", required=True, metavar="COMMIT", help="the commit to compare with")
    parser.add_argument("--pieces", type=whole_number(1), default=6)
    parser.add_argument("--calibration-videos", type=whole_number(2), default=50)
    parser.add_argument("--rounds", type=whole_number(2), default=7)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="of this checkout (default fp32)")
    add_out(parser)
    args = parser.parse_args()
    with checked_out(args.against) as other, tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("before.parquet", "now.parquet")]
        sizes = [str(args.run.resolve()), str(args.suite.resolve()), str(args.pieces), str(args.calibration_videos)]
        precisions = ("fp32", args.precision)
        before, now = (
            EvalPass(root, [*sizes, str(file), precision])
            for root, file, precision in zip((other, ROOT), files, precisions, strict=True)
        )
        difference = largest_difference(*files)
        pairs = [(before.times(), now.times()) for _ in range(args.rounds)]
        for process in (before.process, now.process):
            process.communicate()
    ratios: dict[str, Spread] = {part: spread_of([b[part] / n[part] for b, n in pairs]) for part in pairs[0][0]}
    machine = describe_machine(("torch",))
    print(f"{machine.line()}\n")
    print(markdown_table(("part", f"speed-up over {args.against}"), [[part, ratio] for part, ratio in ratios.items()]))
    print(f"\nLargest difference of surprise, relative to the mean of its scorer: {difference:.1e}")
    write_results(args.out, machine, {"passes": [{"before": b, "now": n} for b, n in pairs], "largest_difference": difference})


if __name__ == "__main__":
    main()
