"""The report of one training run, one HTML page that opens offline: did it learn, is it healthy, did it collapse and when,
what set its pace; losses, learning rate, gradients, the doctor's numbers, skill by horizon, speed, the recipe.

    python -m eval report RUN        # RUN/report.html

Read from the run's folder alone, without its model, while it still trains too.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from eval.report.training.findings import findings
from eval.report.training.page import write_training_report
from eval.report.training.run_folder import open_run
from worldmodel.files.outputs import output_file
from worldmodel.process.terminal import say

HELP = "the training report of a run: did it learn, is it healthy, what set its pace?"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run; it may still be training")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the page (default RUN/report.html)")


def run(args: argparse.Namespace) -> int:
    """Raises EvalError for a folder that is no run's."""
    found = open_run(args.run)
    for finding in findings(found):
        say(f"{finding.question:<21}{finding.answer:<23}{finding.words}")
    page = args.out or args.run / "report.html"
    earlier = args.out is None and bool(found.state) and "data" not in found.state  # of a version that kept no record
    with output_file(page, adopt=earlier):
        say(write_training_report(found, page))
    return 0
