"""Compute the scores and the report of an evaluation again, from its traces alone.

python -m eval rescore OUT
"""

from __future__ import annotations

import argparse
from pathlib import Path

from eval.report.publish import publish
from eval.result_folder import result_folder
from eval.voe.evaluation import check_finished, write_scores
from eval.voe.output import SCORE_FILES

HELP = "compute scores and report again, without the model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of a finished evaluation")


def run(args: argparse.Namespace) -> int:
    check_finished(args.out)
    with result_folder(args.out, SCORE_FILES, "protocol.json"):
        write_scores(args.out)
        publish(args.out)
    return 0
