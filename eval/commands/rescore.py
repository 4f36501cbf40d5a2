"""Make the numbers and the report of an evaluation again, from its traces alone: `python -m eval rescore OUT`."""

from __future__ import annotations

import argparse
from pathlib import Path

from eval.commands.compare import check_finished
from eval.commands.voe import SCORED, finish
from eval.result_folder import result_folder

HELP = "numbers and report again, without the model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of a finished evaluation")


def run(args: argparse.Namespace) -> int:
    check_finished(args.out)
    with result_folder(args.out, SCORED, "protocol.json"):
        finish(args.out)
    return 0
