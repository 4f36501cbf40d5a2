"""One model in several worlds: a table of finished evaluations of different suites.

    python -m eval worlds OUT_A OUT_B ... --out FOLDER

FOLDER gets worlds.json, worlds.md and worlds.html. `python -m eval voe` with several --suite makes
the evaluations and this table with one command.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from eval.report.worlds import publish_worlds

HELP = "one model in several worlds, in one table"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("outs", nargs="+", type=Path, metavar="OUT", help="folders of finished evaluations of one model")
    parser.add_argument("--out", type=Path, required=True, help="folder for worlds.json, worlds.md and worlds.html")


def run(args: argparse.Namespace) -> int:
    """Raises EvalError where an evaluation is missing, damaged or of another model."""
    publish_worlds(args.outs, args.out)
    return 0
