"""Is it surprised by the impossible? A model and a suite of matched films -> traces, numbers, a report.

    python -m eval physics --model runs/demo --suite builtin:DIR --out OUT
    torchrun --nproc_per_node 8 -m eval physics ...            # ranks share the films; the numbers are the same

OUT gets traces.parquet (surprise over time), scores.json, scores.csv, table.md and report.html, which opens offline, with
maps of where in the picture the films that it shows surprise. The same command again goes on where it stopped;
`python -m eval rescore OUT` makes the numbers again without the model.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import PartialState
from rich.console import Console

from data_prep.__main__ import main as data_prep
from eval.cache.cache_folder import cache_folder
from eval.commands.compare import FILES, check_finished
from eval.errors import EvalError
from eval.report import shown_trials, write_report
from eval.result_folder import check_unchanged, read_json, read_result, reading_results, result_folder
from eval.subject import Subject, open_subject
from eval.voe.scorers import BLIND
from eval.voe.scores.score import score
from eval.voe.scores.tables import write_tables
from eval.voe.suites import Suite, open_suite
from eval.voe.surprise.calibration_reach import Calibration, calibration
from eval.voe.surprise.calibration_videos import lawful_clips, run_data
from eval.voe.surprise.protocol import differences, protocol
from eval.voe.surprise.stored_calibration import CalibrationFolder
from eval.voe.surprise.task import Task
from eval.voe.surprise.traces import Traces, join_traces
from eval.voe.surprise.windows import WindowPlan, default_contexts, frames_of
from eval.voe.trials import Film, check_trials, frames_shown, read_trials, write_trials
from eval.workload import SILENT_S, start_ranks
from worldmodel.files.atomic import write_json
from worldmodel.process.arguments import count, frames_or_seconds, listed, rate
from worldmodel.process.devices import add_device
from worldmodel.process.launch import on_main_process
from worldmodel.process.terminal import printable, say
from worldmodel.ranks.watched import watched
from worldmodel.video.square import add_square

HELP = "is it surprised by the impossible? (violation of expectation on matched films)"
RESUMES = True
BLIND_RATE, BLIND_PX = 12.0, 64  # how a scorer without a model looks, where the suite does not say
SCORED = ("scores.json", "scores.csv", "table.md", "report.html")  # what numbers and pages are written to
WRITTEN = (*FILES, *SCORED, "maps", "parts")
FEWER_FILMS = (25, 50, 100, 200)  # fits of the whitening for its ablation


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        required=True,
        metavar="SPEC",
        help=f"RUN folder, hf:FOLDER, untrained:RECIPE.yaml or blind:NAME, which knows nothing ({', '.join(BLIND)})",
    )
    parser.add_argument(
        "--suite",
        required=True,
        metavar="KIND:DIR",
        help="builtin:DIR, intphys:DIR, intphys2:DIR, grasp:DIR, inflevel:DIR; `builtin` alone makes the mini suite first",
    )
    parser.add_argument("--out", required=True, type=Path, help="folder for traces, numbers and report")
    parser.add_argument(
        "--lawful",
        metavar="MANIFEST",
        help="lawful films to learn usual errors from (default: the suite's own, else the run's val split)",
    )
    parser.add_argument("--fps", type=rate, help="frames a second (default: the suite's published rate, else the model's)")
    parser.add_argument(
        "--window", type=frames_or_seconds, metavar="N|Xs", help="a free window in frames (16) or seconds (1.3s)"
    )
    parser.add_argument(
        "--stride", type=frames_or_seconds, metavar="N|Xs", help="from one free window to the next (default 2 frames)"
    )
    parser.add_argument(
        "--contexts",
        type=listed(frames_or_seconds),
        metavar="A,B",
        help="context lengths of free windows; one is taken as given, of several one is chosen on split val",
    )
    parser.add_argument(
        "--horizon",
        type=frames_or_seconds,
        metavar="N|Xs",
        help="how far forecasts are judged (default: as far as the model reaches)",
    )
    parser.add_argument(
        "--scope",
        choices=("window", "suffix"),
        default="window",
        help="what targets see, in models that look at a window as a whole",
    )
    parser.add_argument(
        "--untrained-seeds",
        type=count(0),
        default=10,
        metavar="N",
        help="networks of the same architecture that never trained (default 10; kept for the next evaluation)",
    )
    parser.add_argument(
        "--ablate-whitening",
        action="store_true",
        help=f"also whiten by {', '.join(map(str, FEWER_FILMS))} lawful films, and place by place",
    )
    parser.add_argument(
        "--maps", action="store_true", help="keep surprise by place of every film, not of those alone that the report shows"
    )
    add_square(parser)
    add_device(parser)
    parser.add_argument("--fresh", action="store_true", help="replace what an earlier evaluation left in OUT")


def run(args: argparse.Namespace) -> int:
    """Raises EvalError, TrialError and their like for what cannot be evaluated, RankError where another rank is lost."""
    ranks = start_ranks()
    with watched(ranks, SILENT_S, "The same command goes on from the videos that are finished"):
        return _run(args, ranks)


def _run(args: argparse.Namespace, ranks: PartialState) -> int:
    device = ranks.device if ranks.num_processes > 1 else torch.device(args.device)
    if args.suite == "builtin":
        on_main_process(ranks, lambda: _make_mini(mini_folder()))
        args.suite = f"builtin:{mini_folder()}"
    subject, suite = open_subject(args.model, device), open_suite(args.suite)
    check_trials(suite.trials)
    plan = plan_windows(args, subject, suite)
    size_px = subject.model.size_px if subject.model is not None else BLIND_PX
    manifest, possible, calibrations = lawful_films(args.lawful, suite, subject)
    fit = calibration(plan, possible, manifest, args.horizon)
    task = Task(subject, suite, fit.plan, args.scope, size_px, device, ranks, args.square, calibrations)
    if calibrations is not None and calibrations.instead and ranks.is_main_process:
        missing = "; ".join(run_data(subject).missing) or f"the videos of {manifest} are missing"
        say(f"eval physics: {missing}; a calibration stored in {calibrations.folder} is used if it fits", file=sys.stderr)
    with contextlib.ExitStack() as held:
        on_main_process(ranks, lambda: held.enter_context(claimed(args.out, task, fit.films, args.fresh)))
        if ranks.is_main_process:
            for note in fit.notes:
                say(f"eval physics: {note}", file=sys.stderr)
        return evaluate(args, task, manifest, fit)


def evaluate(args: argparse.Namespace, task: Task, manifest: str | None, fit: Calibration) -> int:
    """Judge, score and report into OUT, which is ours."""
    subject, suite, ranks, lawful = task.subject, task.suite, task.ranks, fit.films
    parts = args.out / "parts"
    files, usual = task.judge(parts, lawful, FEWER_FILMS if args.ablate_whitening else ())
    trained = subject.model is not None and not args.model.startswith("untrained:")
    for seed in range(args.untrained_seeds if trained else 0):
        files += task.judge_untrained(seed, lawful, parts)
    if ranks.is_main_process:
        join_traces(files, args.out / "traces.parquet")
        write_trials(args.out / "trials.json", suite.trials)
        said = protocol(args, task, usual, manifest if usual.whitening else None, fit)
        write_json(args.out / "protocol.json", said)
        write_scores(args.out)
        write_json(parts / "shown.json", {"trials": shown_trials(args.out) if task.has_places else []})
    ranks.wait_for_everyone()
    shown = set(read_result(parts / "shown.json")["trials"])
    drawn = [trial for trial in suite.trials if args.maps or trial.group_id in shown]
    if subject.model is not None and drawn:
        task.draw_maps(args.out / "maps", parts, drawn, usual)
    if ranks.is_main_process:
        show(args.out)
    ranks.wait_for_everyone()
    if ranks.is_main_process:
        shutil.rmtree(parts)
    return 0


def finish(out: Path) -> None:
    """Numbers, tables and report from what stands in OUT; needs neither the model nor the suite."""
    write_scores(out)
    show(out)


def write_scores(out: Path) -> None:
    """OUT/scores.json. Raises EvalError where OUT is no finished evaluation."""
    check_finished(out)
    check_unchanged(out, FILES)
    with reading_results(out, FILES):
        trials, traces = read_trials(out / "trials.json"), Traces.open(out / "traces.parquet")
        found = score(trials, traces, read_result(out / "protocol.json"))
    write_json(out / "scores.json", found)


def show(out: Path) -> None:
    """Tables, report and headline of what stands in scores.json."""
    with reading_results(out, (*FILES, "scores.json")):
        write_tables(out)
        page = write_report(out)
        print_headline(out)
    say(page)


def plan_windows(args: argparse.Namespace, subject: Subject, suite: Suite) -> WindowPlan:
    """From the arguments, else the suite's published protocol where the model can follow it, else the model's window."""
    model, published = subject.model, suite.protocol
    f = model.tubelet_size if model is not None else 1
    most = model.max_context if model is not None else sys.maxsize
    fps = args.fps or (published.fps if published else model.fps if model is not None else BLIND_RATE)
    reach = model.max_steps if model is not None else sys.maxsize
    span = model.max_span if model is not None else None
    frames = frames_of(args.window, fps) if args.window else published.window_frames if published else min(16, span or most)
    stride = frames_of(args.stride, fps) if args.stride else published.stride_frames if published else 2
    if args.contexts:
        contexts = [frames_of(text, fps) for text in args.contexts.split(",")]
    elif published:
        contexts = [context for context in published.contexts if context <= most and context % f == 0]
    else:
        contexts = list(default_contexts(fps, frames, f, most))
    longest = max((film.frames / film.fps * fps for trial in suite.trials for film in trial.films), default=frames)
    farthest = frames_of(args.horizon, fps) // f if args.horizon else reach
    plan = WindowPlan(fps, frames, stride, tuple(sorted(set(contexts))), farthest, f, most, span)
    problems = plan.check()
    if farthest > reach:
        problems.append(f"--horizon {farthest} latent steps is beyond the {reach} this model forecasts directly")
    if problems:
        raise EvalError("; ".join(problems))
    shown = [frames_shown(film, fps) for trial in suite.trials for film in trial.films]
    if shown and not plan.of_lawful(max(shown)):
        raise EvalError(
            f"the longest video of {suite.name}:{suite.path} has {max(shown)} frames at {fps:g} frames/s, and a window needs "
            f"{min(contexts) + f}: {min(contexts)} to see and {f} to forecast; give a shorter --contexts or a higher --fps"
        )
    if args.horizon:
        return plan
    steps = [window.steps for window in plan.of_lawful(int(longest + 1e-6))]  # as far as the longest film lets any window reach
    return replace(plan, horizon=max(steps, default=1))


def lawful_films(given: str | None, suite: Suite, subject: Subject) -> tuple[str | None, list[Film], CalibrationFolder | None]:
    """(manifest, films) to learn usual errors from: as given, else the suite's own, else the run's val split. Of the last,
    calibrations are stored in the run folder; where it is missing, the films are those of which there are stored ones."""
    if subject.model is None:
        return None, [], None
    manifest, clips = lawful_clips(given, suite.lawful, subject)
    calibrations = None if given or suite.lawful else CalibrationFolder.of(subject, manifest, clips)
    if calibrations is not None:
        manifest, clips = calibrations.manifest, list(calibrations.clips)
    longest_s = max((film.frames / film.fps for trial in suite.trials for film in trial.films), default=0.0)
    films = []
    for clip in clips:
        if clip.member is None:
            frames = min(clip.frames, max(1, round(longest_s * clip.fps)))
            films.append(Film(clip.clip_id, clip.path, clip.fps, frames, True, start_frame=round(clip.start_s * clip.fps)))
    return manifest, films, calibrations


def print_headline(out: Path) -> None:
    """The number that counts, by scorer, and what stands beside it."""
    scores = read_result(out / "scores.json")
    console = Console()
    for note in () if scores["headline"] else scores["notes"]:
        console.print(printable(note), highlight=False, markup=False)
    for scorer, it in scores["headline"].items():
        if it.get("value") is None:
            low, high = it["range"]
            console.print(f"{scorer}: {low:.0%} to {high:.0%} of {it['n']} groups ({it['why']})", highlight=False)
        else:
            beside = ", ".join(f"{name} {b['value']:.1%}" for name, b in it["baselines"].items() if b["value"] is not None)
            console.print(
                f"{it['windows']} windows, {scorer}: {it['value']:.1%} [{it['low']:.1%}, {it['high']:.1%}], n {it['n']}, "
                f"chance 50%; {beside}",
                highlight=False,
            )


@contextlib.contextmanager
def claimed(out: Path, task: Task, lawful: Sequence[Film], fresh: bool) -> Iterator[None]:
    """OUT is for this evaluation, or holds its beginning. Raises EvalError where it holds another, finished or not."""
    with result_folder(out, WRITTEN, "protocol.json"):
        _claim(out, task, lawful, fresh)
        yield


def _claim(out: Path, task: Task, lawful: Sequence[Film], fresh: bool) -> None:
    """Maps of an earlier evaluation go: they would lie over the films of this."""
    key = task.key(lawful)
    for name in ("maps", "parts"):  # files are written into these folders and removed from them
        if (out / name).is_symlink():
            raise EvalError(f"{out / name} is a symbolic link; nothing is written through it; remove it, or give another --out")
    if fresh and out.exists():
        shutil.rmtree(out / "parts", ignore_errors=True)
    stamp = out / "parts" / "key.json"
    if stamp.exists() and (read_json(stamp) or {}).get("key") != key:
        raise EvalError(f"{out} holds the beginning of another evaluation; take another --out, or throw it away with --fresh")
    if not stamp.exists():
        if not fresh and (said := read_json(out / "protocol.json")) is not None and (other := differences(said, task, lawful)):
            raise EvalError(
                f"{out} holds a finished evaluation that differs in {', '.join(other)}; take another --out, or replace it by "
                "--fresh"
            )
        shutil.rmtree(out / "maps", ignore_errors=True)
    stamp.parent.mkdir(parents=True, exist_ok=True)
    write_json(stamp, {"key": key})


def mini_folder() -> Path:
    """Where the mini suite lies: in the cache folder."""
    return cache_folder() / "suites" / "mini"


def _make_mini(folder: Path) -> None:
    """Make the mini suite where it is not there yet."""
    if not (folder / "lawful.parquet").exists():
        say(f"making the mini suite in {folder} (some minutes, once)")
        if data_prep(["synthesize", str(folder), "--suite", "mini"]):
            raise EvalError(f"the mini suite could not be made in {folder}")
