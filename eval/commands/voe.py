"""Violation of expectation: are impossible videos more surprising than matched possible ones?

    python -m eval voe --model runs/demo --suite builtin:data/mini --out OUT
    python -m eval voe --model runs/demo --suite builtin:data/mini --suite builtin:data/flat --out OUT
    torchrun --nproc_per_node 8 -m eval voe ...            # videos are distributed over ranks, with the same numbers

OUT gets traces.parquet (surprise over time), scores.json, scores.csv, table.md and report.html,
which opens offline and shows maps of the surprise over chosen videos. An interrupted evaluation
resumes when the same command is run again. `python -m eval rescore OUT` computes the scores again
without the model.

With several --suite, each is evaluated into a folder OUT/NAME, named like the folder of the suite,
and OUT gets the table of all of them: worlds.json, worlds.md and worlds.html (see `eval worlds`).
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from accelerate import PartialState

from data_prep.__main__ import main as data_prep
from eval.cache.cache_folder import cache_folder
from eval.errors import EvalError
from eval.precision import add_precision_argument
from eval.report import shown_trials
from eval.report.publish import publish
from eval.report.worlds import publish_worlds
from eval.result_folder import read_result
from eval.resumable_work import RANK_TIMEOUT_S, start_ranks
from eval.subject import open_subject
from eval.voe.evaluation import write_scores
from eval.voe.output import claim_output, is_finished
from eval.voe.protocol import Extras, describe_protocol
from eval.voe.scorers import PIXEL_BASELINES
from eval.voe.suites import Suite, open_suite
from eval.voe.surprise.calibration_videos import (
    CalibrationPlan,
    CalibrationSource,
    find_calibration_videos,
    plan_calibration,
    run_data,
)
from eval.voe.surprise.maps import write_maps
from eval.voe.surprise.task import VoeTask
from eval.voe.surprise.trace_files import write_model_traces, write_untrained_traces
from eval.voe.surprise.traces import join_traces
from eval.voe.surprise.windows import WindowOptions, plan_windows
from eval.voe.trials import check_trials, write_trials
from worldmodel.files.atomic import write_json
from worldmodel.process.arguments import comma_separated, frame_rate, frames_or_seconds, whole_number
from worldmodel.process.devices import add_device_argument
from worldmodel.process.terminal import print_escaped
from worldmodel.ranks.launch import run_on_main_process
from worldmodel.ranks.start_monitors import monitor_ranks
from worldmodel.video.geometry import add_geometry

HELP = "violation of expectation: surprise at impossible videos against matched possible ones"
RESUMES = True
BASELINE_PX = 64  # size of the frames that a pixel baseline sees
ABLATION_VIDEOS = (25, 50, 100, 200)  # calibration videos of the fits for --ablate-whitening


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        required=True,
        metavar="SPEC",
        help=f"RUN folder, hf:FOLDER, untrained:RECIPE.yaml or baseline:NAME ({', '.join(PIXEL_BASELINES)})",
    )
    parser.add_argument(
        "--suite",
        required=True,
        action="append",
        dest="suites",
        metavar="KIND:DIR",
        help="builtin:DIR, intphys:DIR, intphys2:DIR, grasp:DIR, inflevel:DIR; `builtin` alone makes the mini suite first; "
        "may be given several times",
    )
    parser.add_argument("--out", required=True, type=Path, help="folder for traces, numbers and report")
    parser.add_argument(
        "--calibration",
        metavar="MANIFEST",
        help="possible videos on which the model's errors are calibrated (default: the suite's own, else the run's val split)",
    )
    parser.add_argument(
        "--fps", type=frame_rate, help="frames per second (default: the suite's published rate, else the model's)"
    )
    parser.add_argument(
        "--window", type=frames_or_seconds, metavar="N|Xs", help="length of sliding windows in frames (16) or seconds (1.3s)"
    )
    parser.add_argument("--stride", type=frames_or_seconds, metavar="N|Xs", help="stride of sliding windows (default 2 frames)")
    parser.add_argument(
        "--contexts",
        type=comma_separated(frames_or_seconds),
        metavar="A,B",
        help="context lengths of sliding windows; a single one is used as given, of several one is chosen on split val",
    )
    parser.add_argument(
        "--horizon", type=frames_or_seconds, metavar="N|Xs", help="forecast horizon (default: as far as the model reaches)"
    )
    parser.add_argument(
        "--scope",
        choices=("window", "suffix"),
        default="window",
        help="what targets see, in models that encode a window as a whole: the window, or only what follows the context",
    )
    parser.add_argument(
        "--untrained-seeds",
        type=whole_number(0),
        default=10,
        metavar="N",
        help="number of untrained networks of the same architecture (default 10); their results are cached",
    )
    parser.add_argument(
        "--ablate-whitening",
        action="store_true",
        help=f"also whiten by {', '.join(map(str, ABLATION_VIDEOS))} calibration videos, and token by token",
    )
    parser.add_argument(
        "--maps", action="store_true", help="store maps of surprise of all videos, not only of those that the report shows"
    )
    add_geometry(parser, default=None, default_help="resize for the released benchmarks, center_crop for all other videos")
    add_device_argument(parser)
    add_precision_argument(parser)
    parser.add_argument("--fresh", action="store_true", help="replace what an earlier evaluation left in OUT")


def run(args: argparse.Namespace) -> int:
    """Raises EvalError and TrialError for bad input, RankError where another rank is lost."""
    ranks = start_ranks()
    with monitor_ranks(ranks, RANK_TIMEOUT_S, "The same command continues from the videos that are finished"):
        several = len(args.suites) > 1
        outs = suite_folders(args.out, args.suites) if several else [args.out]
        suites = [_open_suite(suite, ranks) for suite in args.suites]  # all, before the first is evaluated
        for suite, out in zip(suites, outs, strict=True):
            _run(argparse.Namespace(**{**vars(args), "out": out}), suite, ranks, skip_finished=several and not args.fresh)
        if not several:
            return 0
        if ranks.is_main_process:
            publish_worlds(outs, args.out)
        ranks.wait_for_everyone()
        return 0


def suite_folders(out: Path, suites: Sequence[str]) -> list[Path]:
    """OUT/NAME for each suite, named like its folder. Raises EvalError where two have the same name."""
    names = [Path(suite.partition(":")[2]).resolve().name if ":" in suite else "mini" for suite in suites]
    if len(set(names)) < len(names):
        raise EvalError(
            f"--suite: two folders are called {max(names, key=names.count)}; evaluate them apart, then use `eval worlds`"
        )
    return [out / name for name in names]


def _open_suite(text: str, ranks: PartialState) -> Suite:
    """Open a suite; `builtin` alone makes the mini suite first. Raises TrialError."""
    if text == "builtin":
        run_on_main_process(ranks, lambda: _make_mini(mini_folder()))
        text = f"builtin:{mini_folder()}"
    suite = open_suite(text)
    check_trials(suite.trials)
    return suite


def _run(args: argparse.Namespace, suite: Suite, ranks: PartialState, skip_finished: bool) -> None:
    device = ranks.device if ranks.num_processes > 1 else torch.device(args.device)
    subject = open_subject(args.model, device, args.precision)
    options = WindowOptions(args.fps, args.window, args.stride, args.contexts, args.horizon)
    source = find_calibration_videos(args.calibration, suite, subject)
    calibration_plan = plan_calibration(plan_windows(options, subject.model, suite), source, args.horizon)
    task = VoeTask(
        subject,
        suite,
        calibration_plan.plan,
        args.scope,
        subject.model.size_px if subject.model is not None else BASELINE_PX,
        device,
        ranks,
        args.geometry or suite.geometry,
        source.stored,
    )
    if source.stored is not None and source.stored.instead and ranks.is_main_process:
        missing = "; ".join(run_data(subject).missing) or f"the videos of {source.manifest} are missing"
        warning = f"{missing}; a calibration stored in {source.stored.folder} is used if it fits"
        print_escaped(f"eval voe: {warning}", file=sys.stderr)
    extras = Extras() if subject.model is None else Extras(args.untrained_seeds, args.ablate_whitening, args.maps)
    if skip_finished and is_finished(args.out, task, calibration_plan.videos, extras):
        if ranks.is_main_process:
            print_escaped(f"eval voe: {args.out} is finished and is not repeated; --fresh repeats it", file=sys.stderr)
        return
    with contextlib.ExitStack() as held:
        claim = claim_output(args.out, task, calibration_plan.videos, extras.ablate_whitening, args.fresh)
        run_on_main_process(ranks, lambda: held.enter_context(claim))
        if ranks.is_main_process:
            for note in calibration_plan.notes:
                print_escaped(f"eval voe: {note}", file=sys.stderr)
        evaluate(args, task, source, calibration_plan, extras)


def evaluate(
    args: argparse.Namespace, task: VoeTask, source: CalibrationSource, calibration_plan: CalibrationPlan, extras: Extras
) -> None:
    """Write traces, scores, maps and the report into OUT, whose lock is held."""
    subject, suite, ranks, videos = task.subject, task.suite, task.ranks, calibration_plan.videos
    parts = args.out / "parts"
    files, calibration = write_model_traces(task, parts, videos, ABLATION_VIDEOS if extras.ablate_whitening else ())
    trained = subject.model is not None and not args.model.startswith("untrained:")
    for seed in range(extras.untrained_seeds if trained else 0):
        files += write_untrained_traces(task, seed, videos, parts)
    if ranks.is_main_process:
        join_traces(files, args.out / "traces.parquet")
        write_trials(args.out / "trials.json", suite.trials)
        manifest = source.manifest if calibration.whitening else None
        protocol = describe_protocol(task, calibration, manifest, calibration_plan, extras, parts)
        write_json(args.out / "protocol.json", protocol)
        write_scores(args.out)
        write_json(parts / "shown.json", {"trials": shown_trials(args.out) if task.has_maps else []})
    ranks.wait_for_everyone()
    shown = set(read_result(parts / "shown.json")["trials"])
    drawn = [trial for trial in suite.trials if extras.maps or trial.group_id in shown]
    if subject.model is not None and drawn:
        write_maps(task, args.out / "maps", parts, drawn, calibration)
    if ranks.is_main_process:
        publish(args.out)
    ranks.wait_for_everyone()
    if ranks.is_main_process:
        shutil.rmtree(parts)


def mini_folder() -> Path:
    """Folder of the mini suite in the cache."""
    return cache_folder() / "suites" / "mini"


def _make_mini(folder: Path) -> None:
    """Make the mini suite where it is missing."""
    if not (folder / "calibration.parquet").exists():
        print_escaped(f"making the mini suite in {folder} (some minutes, once)")
        if data_prep(["synthesize", str(folder), "--suite", "mini"]):
            raise EvalError(f"the mini suite could not be made in {folder}")
