"""Training report of one run: one HTML page that opens offline.

    python -m eval report RUN        # RUN/report.html

The page answers whether the model learned, whether it is healthy, whether and when it collapsed, and what limited the speed. It
shows losses, learning rate, gradient norm, collapse diagnostics, forecast skill by horizon, speed and the recipe. The report
reads the run folder only, without the model. The run may still be training.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from eval.report.training.findings import findings
from eval.report.training.page import write_training_report
from eval.report.training.run_folder import open_run
from worldmodel.files.outputs import output_file
from worldmodel.process.terminal import print_escaped

HELP = "training report of a run: did it learn, is it healthy, what limited the speed?"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run; it may still be training")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the page (default RUN/report.html)")


def run(args: argparse.Namespace) -> int:
    """Raises EvalError if RUN is no run folder."""
    found = open_run(args.run)
    for finding in findings(found):
        print_escaped(f"{finding.question:<24}{finding.answer:<23}{finding.detail}")
    page = args.out or args.run / "report.html"
    # earlier versions did not record which files they wrote
    earlier = args.out is None and bool(found.state) and "data" not in found.state
    with output_file(page, adopt_unrecorded=earlier):
        print_escaped(write_training_report(found, page))
    return 0
