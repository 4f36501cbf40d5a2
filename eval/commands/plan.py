"""Planning: does a model with actions reach goals, beside every baseline on the same pairs?

    python -m eval plan --model RUN --env TwoRooms-v0 --out OUT
    python -m eval plan --env TwoRooms-v0 --data data/two_rooms/episodes.parquet --out OUT    # baselines alone
    python -m eval plan --model RUN --checkpoints all --env TwoRooms-v0 --out OUT             # which number predicts success?

Pairs of start and goal come from held-out episodes and are written to OUT/pairs.json, which --pairs
can be given. Pairs that are solved at the start, and pairs from episodes that a model was trained
on, are left out and counted. The same planner is run with the model, with an untrained one, with
shuffled actions, and with a copy of the environment (oracle); from these comes the verdict whether
model or planner fails. Several --model are runs of one recipe with different seeds. OUT gets
plan.json, plan.csv, plan.md, report.html and episodes.npz. An interrupted command resumes when it
is given again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from eval.planning.checkpoints.run import evaluate_checkpoints
from eval.planning.heads.proposals import RECORDED
from eval.planning.run import evaluate_planning
from eval.planning.set_up import PlanRequest
from eval.resumable_work import RANK_TIMEOUT_S, start_ranks
from worldmodel.process.arguments import positive_number, whole_number
from worldmodel.process.devices import add_device_argument
from worldmodel.ranks.start_monitors import monitor_ranks

HELP = "planning to goals, beside baselines and an oracle on the same pairs"
RESUMES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", nargs="+", default=[], metavar="RUN", help="runs with actions, of one recipe")
    parser.add_argument("--env", required=True, metavar="ID", help="such as TwoRooms-v0, or module:Name-v0")
    parser.add_argument(
        "--env-options",
        type=_options,
        metavar="JSON",
        help="keyword arguments of the environment (default: those that the episodes were recorded with)",
    )
    parser.add_argument("--task", metavar="MODULE:CALLABLE", help="task of an environment that this project does not know")
    parser.add_argument("--out", required=True, type=Path, help="folder for numbers, tables and report")
    parser.add_argument("--data", metavar="MANIFEST", help="episodes (default: those that the first run was trained on)")
    parser.add_argument("--split", default="test", help="split that pairs come from (default test)")
    parser.add_argument("--pairs", type=Path, metavar="FILE", help="pairs.json of an earlier evaluation")
    parser.add_argument("--count", type=whole_number(2), default=300, help="number of pairs, at most (default 300)")
    parser.add_argument(
        "--goals",
        choices=("own", "later"),
        default="own",
        help="own: the goal that the environment drew for an episode; later: a later state of the episode (default own)",
    )
    parser.add_argument("--goal-steps", type=whole_number(1), default=25, help="steps to a later goal (default 25)")
    parser.add_argument("--pair-seed", type=whole_number(0), default=0, help="seed of the choice of pairs (default 0)")
    parser.add_argument("--budget", type=whole_number(1), metavar="N", help="steps of an episode (default: as published)")
    parser.add_argument(
        "--executed", type=whole_number(1), default=10, metavar="N", help="steps before replanning (default 10)"
    )
    parser.add_argument("--planner", choices=("cem", "icem", "mppi", "gradient"), default="cem", help="(default cem)")
    parser.add_argument("--horizon", type=whole_number(1), default=40, help="planned steps of the model (default 40)")
    parser.add_argument("--samples", type=whole_number(2), default=100, help="sequences per iteration (default 100)")
    parser.add_argument("--elites", type=whole_number(1), default=10, help="best sequences that are kept (default 10)")
    parser.add_argument("--iterations", type=whole_number(1), default=8, help="iterations of a search (default 8)")
    parser.add_argument(
        "--std", type=positive_number("a standard deviation"), default=1.5, help="of first candidates, in standard deviations"
    )
    parser.add_argument("--cost-steps", choices=("all", "last"), default="all", help="planned steps that cost (default all)")
    parser.add_argument(
        "--repeat-actions", action="store_true", help="the actions of a planned step are the same; oracles plan so too"
    )
    parser.add_argument(
        "--shrinking-horizon",
        action="store_true",
        help="later plans end where the first one ends, so they are shorter; there, a plan of --horizon steps begins again",
    )
    parser.add_argument(
        "--proposals",
        choices=("none", "inverse", "recorded"),
        default="none",
        help="candidates of every search beside the sampled ones: plans of inverse dynamics, or parts of recorded episodes of "
        "train (default none)",
    )
    parser.add_argument(
        "--proposal-count",
        type=whole_number(1),
        metavar="N",
        help=f"parts of recorded episodes per search, with --proposals recorded (default {RECORDED})",
    )
    parser.add_argument("--context", type=whole_number(1), metavar="N", help="frames that the model sees (default: up to 4)")
    parser.add_argument("--seeds", type=whole_number(1), default=3, metavar="N", help="planning seeds (default 3)")
    parser.add_argument("--policies", metavar="A,B", help="only these policies (default: all that there are)")
    parser.add_argument("--variations", action="store_true", help="also change one factor of the environment at a time")
    parser.add_argument(
        "--checkpoints",
        choices=("best", "all"),
        default="best",
        help="all: the model alone, with every checkpoint of the runs, and which of their numbers predicts success",
    )
    parser.add_argument("--no-offline", action="store_true", help="without the measures on recorded episodes")
    add_device_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Raises EvalError and other user-facing errors."""
    ranks = start_ranks()
    with monitor_ranks(ranks, RANK_TIMEOUT_S, "The same command continues from the episodes that are finished"):
        values = {name: value for name, value in vars(args).items() if name not in ("command", "device")}
        values |= {"env_options": args.env_options or {}, "options_given": args.env_options is not None}
        device = ranks.device if ranks.num_processes > 1 else torch.device(args.device)
        evaluate = evaluate_checkpoints if args.checkpoints == "all" else evaluate_planning
        return evaluate(PlanRequest(**values), device, ranks)


def _options(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError(f'{text}: expected JSON of keyword arguments, such as {{"speed": 1.5}}')
    return found
