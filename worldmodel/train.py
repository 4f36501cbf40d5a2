"""Train a world model: `accelerate launch worldmodel/train.py [configs/x.yaml] [a.b=value ...]`.

Starting again in the same run folder resumes. On several CPU processes: `torchrun --nproc_per_node 2 worldmodel/train.py ...`.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from worldmodel.process import interrupts, streams

if __name__ == "__main__":
    streams.survive_broken_streams()
    interrupts.exit_at_once("train")  # until the loop there is nothing to save
    # Before torch loads OpenMP: threads that wait shall sleep. Spinning, they keep the cores from the workers that decode;
    # on two busy cores an update of the demo took 4.6 s with spinning threads, 0.4 s with sleeping ones.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from worldmodel import checkpoint as checkpoints
from worldmodel.config import ConfigError, parse, save
from worldmodel.data.loader import BadClip, Batch, DataError, Windows, held_out, open_windows, updates
from worldmodel.files.atomic import remove_parts
from worldmodel.files.folder_lock import FolderLock, FolderLockError, hold_folder, release_on_signals
from worldmodel.files.outputs import ForeignFileError, writing
from worldmodel.health.monitor import examine
from worldmodel.manifest import ManifestError
from worldmodel.models import build_model
from worldmodel.objectives import build_objective
from worldmodel.process.arguments import check_text
from worldmodel.process.launch import (
    end_with,
    on_main_process,
    report,
    signalled,
    start_accelerator,
    stop_on_signal,
    with_precision,
)
from worldmodel.process.machine import changed_since, machine
from worldmodel.ranks.agreed import agreed_checkpoint
from worldmodel.ranks.watch import Watch
from worldmodel.ranks.watched import RankError, watched
from worldmodel.recipe import DEMO, Recipe, changed_fields, file_and_overrides, read_recipe
from worldmodel.rollouts.decoder_fitting import fit_decoder
from worldmodel.runs.held_out import save_held_out
from worldmodel.runs.plan import check_layers, check_plan, described
from worldmodel.runs.run_data import require_data, settled
from worldmodel.runs.run_log import RunLog
from worldmodel.training import teacher
from worldmodel.training.learner import Learner, Loss, NotFiniteError, Whole, mean_loss, measure
from worldmodel.training.optimizer import Optimizers, lr_share_at, set_lr
from worldmodel.training.parallel import settle, spread, unwrapped

ANOTHER_RUN = "give another run=FOLDER"
RUN_FILES = ("recipe.yaml", "metrics.jsonl", "health.jsonl", "bad_clips.jsonl", "best.json", "held_out.npz", "checkpoints")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="worldmodel/train.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", nargs="?", type=Path, help=f"YAML file (default: {DEMO.name})")
    parser.add_argument("overrides", nargs="*", metavar="a.b=value")
    parser.add_argument(
        "--allow-changed-recipe", action="store_true", help="resume although the recipe changed since the run began"
    )
    parser.add_argument(
        "--from-scratch", action="store_true", help="begin at update 0, or refuse a run folder that has checkpoints"
    )
    args = parser.parse_intermixed_args(argv)
    check_text(parser, args)
    file, overrides = file_and_overrides(args.recipe, args.overrides)
    try:
        recipe = with_precision(read_recipe(file, overrides))
        accelerator = start_accelerator(recipe)
        if file is None:
            accelerator.print(f"no recipe given: running {DEMO}")
        if args.from_scratch and os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0":  # a restart by torchrun resumes
            checkpoints.refuse_begun(Path(recipe.run))
        stop: list[int] = []  # signals that ask for a checkpoint and an end
        with watched(accelerator, recipe.train.rank_timeout_s) as watch, run_folder(recipe, accelerator) as lock:
            finished = train(recipe, accelerator, stop, args.allow_changed_recipe, lock, watch)
            if torch.distributed.is_initialized():
                accelerator.wait_for_everyone()
                watch.close()
                torch.distributed.destroy_process_group()
            if lock is not None:
                finish(recipe, finished, accelerator.device, lock)
    except KeyboardInterrupt:
        return interrupts.stopped("train", "the same command goes on from the last checkpoint")
    except (ConfigError, ManifestError, DataError, NotFiniteError, OSError) as error:
        return report(error)
    except (checkpoints.CheckpointError, FolderLockError, ForeignFileError, RankError) as error:
        return report(error)
    return interrupts.INTERRUPTED if signal.SIGINT in stop else 0


@contextlib.contextmanager
def run_folder(recipe: Recipe, accelerator: Accelerator) -> Iterator[FolderLock | None]:
    """Lock the run folder for this training; the lock on the main process, None on others, which learn of a refusal too."""
    run = Path(recipe.run)
    with contextlib.ExitStack() as stack:

        def lock() -> FolderLock:
            held = stack.enter_context(hold_folder(run, ANOTHER_RUN))
            for folder in (run / "checkpoints", *run.glob("checkpoints/*")):
                remove_parts(folder)
            is_run = any((run / "checkpoints").glob("[0-9]*/state.json"))
            stack.enter_context(writing(run, RUN_FILES, ANOTHER_RUN, ours=is_run, lock=held))
            return held

        yield on_main_process(accelerator, lock)


def train(
    recipe: Recipe,
    accelerator: Accelerator,
    stop: list[int],
    allow_changed: bool,
    lock: FolderLock | None,
    watch: Watch,
) -> bool:
    """From the recipe, or from where it was interrupted, to the last checkpoint; False if it was ended before that."""
    run = Path(recipe.run)
    last = agreed_checkpoint(run, accelerator)
    if last is not None:
        last.require(*checkpoints.RESUME_FIELDS)
        watch.saved(last.folder)
    recipe = settled(recipe, last)
    make_films(recipe, accelerator)
    require_data(recipe, last)
    windows, held_windows = open_windows(recipe.data, recipe.window, recipe.seed, recipe.augment.crops)
    check_plan(recipe, windows, accelerator.num_processes)
    if recipe.init_from and last is None:
        checkpoints.find_checkpoint(Path(recipe.init_from))  # missing weights are said before the work begins
    recipe = teacher.resolved(recipe, last)
    if last is not None:
        check_same_recipe(recipe, last, windows, allow_changed, warn=accelerator.print)

    torch.manual_seed(recipe.seed)
    fresh = build_learner(recipe)
    check_layers(fresh, recipe, accelerator.num_processes)
    if last is None:
        teacher.fill(fresh.model, recipe)
    learner, optimizers = spread(fresh, recipe.optim, accelerator, recipe.train.parallel)
    held = held_out(held_windows, recipe.health.windows, resumes=last is not None)
    accelerator.print(
        described(recipe, windows, len(held.frames), unwrapped(learner), accelerator.num_processes, str(accelerator.device))
    )
    if accelerator.num_processes > 1:
        with accelerator.autocast():
            settle(learner, blank_batch(recipe, windows, accelerator))
    start = restore_or_begin(recipe, learner, optimizers, last, accelerator)
    if lock is not None:
        lock.check()
        save(recipe, run / "recipe.yaml")
        save_held_out(run, held.frames)

    stop_on_signal(stop)
    log = RunLog(
        run, recipe, start=start["step"], seconds=start["seconds"], main=accelerator.is_main_process, lock=lock,
        rows=start.get("rows"),
    )  # fmt: skip
    with log:
        log.bad_clips(held.bad)
        return loop(recipe, learner, optimizers, windows, held, accelerator, log, start, stop, watch)


def finish(recipe: Recipe, finished: bool, device: torch.device, lock: FolderLock) -> None:
    """After the loop, on the main process alone: the decoder, unless there is one."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.default_int_handler)  # all is saved
    release_on_signals()
    run = Path(recipe.run)
    if finished and recipe.decoder.max_steps and not checkpoints.find_checkpoint(run).has("decoder"):
        lock.check()
        fit_decoder(run, device, data=settled(recipe, checkpoints.latest(run)).data)
    print(f"{'finished' if finished else 'stopped'}: {run}; see it with `python -m worldmodel.rollout {run}`")


def loop(
    recipe: Recipe,
    learner: torch.nn.Module,
    optimizers: Optimizers,
    windows: Windows,
    held: Batch,
    accelerator: Accelerator,
    log: RunLog,
    start: checkpoints.State,
    stop: list[int],
    watch: Watch,
) -> bool:
    """Updates until the recipe's last; False if a signal or the doctor ended it earlier, the state saved."""
    inner = unwrapped(learner)
    bad: list[BadClip] = []  # since the last training row, on this rank
    failed = 0  # reads that failed since this start, on all ranks
    total, first = recipe.train.max_steps, start["step"]
    stream = updates(
        windows, first, total,
        rank=accelerator.process_index, ranks=accelerator.num_processes, micros=recipe.train.grad_accum_steps,
        pin=accelerator.device.type == "cuda", say=log.say, stopped=lambda: bool(stop),
    )  # fmt: skip
    done = first
    for update, micros in enumerate(log.timed(stream), start=first):
        bad += [clip for micro in micros for clip in micro.bad]
        log.bad_clips(bad)
        micros = [micro.to(accelerator.device) for micro in micros]
        loss, norm = step(update, micros, learner, optimizers, recipe, accelerator, windows)
        inner.model.update_teacher(update / max(1, total - 1))

        done = update + 1
        row_is_due = done % recipe.train.log_every == 0 or done == total
        if row_is_due:
            log.train(done, training_row(done, loss, norm, recipe, windows))
            everywhere = gather_object(bad) if accelerator.num_processes > 1 else bad
            log.bad_clips(everywhere)
            failed, bad = failed + len(everywhere), []
            check_share(failed, (done - first) * recipe.data.batch_size, recipe)
        if done % recipe.health.every == 0 or done == total:
            health = examine(inner.model, held, done, total, recipe.health, accelerator.device)
            log.health(done, health)
            if health.verdict in recipe.health.stop_on:
                stop.append(0)
        # several ranks must agree to stop, which is a collective: they are asked when a row is due
        interrupted = signalled(stop, accelerator) if accelerator.num_processes == 1 or row_is_due else False
        if done % recipe.checkpoint.every == 0 or done == total or interrupted:
            watch.saved(keep(recipe, learner, optimizers, windows, done, log, accelerator))
        if interrupted:
            break
    else:
        if done > first and done < total and done % recipe.checkpoint.every:  # a signal while data was waited for
            keep(recipe, learner, optimizers, windows, done, log, accelerator)
    if failed := failed + len(bad):
        log.say(f"{failed:,} reads failed since this start; other windows took their places, see {recipe.run}/bad_clips.jsonl")
    return done == total


def step(
    update: int,
    micros: list[Batch],
    learner: torch.nn.Module,
    optimizers: Optimizers,
    recipe: Recipe,
    accelerator: Accelerator,
    windows: Windows,
) -> tuple[Loss, torch.Tensor]:
    """One update: the loss of the whole global batch, and its gradient gathered over micro-batches and ranks."""
    set_lr(optimizers, recipe.optim, lr_share_at(update, recipe.optim, recipe.train.max_steps))
    exact = recipe.train.exact_accumulation
    wholes: list[Whole | None] = [None] * len(micros)
    if exact and len(micros) > 1:
        with accelerator.autocast():
            wholes = [*measure(unwrapped(learner), micros)]
    losses = []
    for micro, whole in zip(micros, wholes, strict=True):
        summed = contextlib.nullcontext() if micro is micros[-1] else accelerator.no_sync(learner)
        with summed:
            with accelerator.autocast():
                losses.append(learner(micro, whole))
            accelerator.backward(losses[-1].total if exact else losses[-1].total / len(micros))
    loss = mean_loss(losses)
    norm = gradient_norm(learner, recipe)
    if not (torch.isfinite(loss.total) and torch.isfinite(norm)):  # waits for the device once an update; a lost run costs more
        raise NotFiniteError(not_finite(update, loss, norm, windows))
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return loss, norm


# --- around the loop -------------------------------------------------------------------------------------------------
def build_learner(recipe: Recipe) -> Learner:
    """Model and objectives with fresh weights."""
    model = build_model(recipe.model, recipe.window)
    if recipe.train.compile:
        model.encoder.compile()
        model.predictor.blocks.compile()  # what forecasts from all steps and from the last one share
    objectives = {name: build_objective(config) for name, config in recipe.objectives.items()}
    return Learner(model, objectives, recipe.augment)


def make_films(recipe: Recipe, accelerator: Accelerator) -> None:
    """Where the recipe says how its videos are made and they are missing, the main process makes them.

    Not where the command would write to other folders than the manifest's, as it does from another working directory.
    """
    missing = [path for path in recipe.data.manifests if not Path(path).exists()]
    places = {Path(os.path.abspath(argument)) for argument in recipe.data.make or ()}
    makes_them = any(places & {Path(path), *Path(path).parents} for path in missing)

    def make() -> None:
        if recipe.data.make and makes_them:
            words = " ".join(("python -m data_prep", *recipe.data.make))
            print(f"{missing[0]} is missing; making it: {words}", flush=True)
            if subprocess.run([sys.executable, "-m", "data_prep", *recipe.data.make], check=False).returncode:
                raise DataError(f"`{words}` failed; see its message above")

    on_main_process(accelerator, make)


def check_same_recipe(
    recipe: Recipe, last: checkpoints.Checkpoint, windows: Windows, allow_changed: bool, warn: Callable[[str], None] = print
) -> None:
    """Raise ConfigError where resuming would go on with another recipe, or other data, than the run began with."""
    began = parse(Recipe, last.state["recipe"], where=f"{last.folder}/state.json")
    changes = changed_fields(began, recipe)
    if (before := last.state["windows"]) != (now := windows.sizes):
        changes.append(f"training windows: {before} -> {now}")
    elif "data" not in last.state:
        warn(
            f"{last.folder} was written by an earlier version, which noted the number of training windows but not their "
            "content: it cannot be checked whether the data are those that the run began with"
        )
    elif last.state["data"] != windows.digests:
        changes.append(f"data: the clips of {', '.join(recipe.data.manifests)} are not those that the run began with")
    if changes and not allow_changed:
        raise ConfigError(
            [
                f"{recipe.run} was started with different settings: {'; '.join(changes)}. Give another run=FOLDER, "
                "or resume with the change by --allow-changed-recipe"
            ]
        )


def restore_or_begin(
    recipe: Recipe,
    learner: torch.nn.Module,
    optimizers: Optimizers,
    last: checkpoints.Checkpoint | None,
    accelerator: Accelerator,
) -> checkpoints.State:
    """The state to start from: that of the last checkpoint, of `init_from`, or none."""
    if last is not None:
        checkpoints.restore(learner, optimizers, last)
        on_main_process(accelerator, lambda: tidy(Path(recipe.run), last.update, recipe.checkpoint.keep))
        now = machine(accelerator.device, accelerator.num_processes)
        accelerator.print(f"resuming {recipe.run} after update {last.update}")
        if changes := changed_since(last.state.get("machine", {}), now):
            accelerator.print(
                f"the environment has changed since this checkpoint was saved ({', '.join(changes)}); results may differ in "
                "the last digits"
            )
        return last.state
    if recipe.init_from:
        other = checkpoints.find_checkpoint(Path(recipe.init_from))
        kept = ("objectives", "ema") if recipe.model.target.kind == "frozen" else ("objectives",)
        checkpoints.restore_weights(learner, other, but=kept)
        accelerator.print(f"weights from {other.folder}")
    return {"step": 0, "seconds": 0.0}


def tidy(run: Path, update: int, keep: int) -> None:
    """Do what an interrupted save left undone, before training goes on after `update`.

    Damaged later checkpoints are set aside, best.json names a checkpoint that exists, and all but the last `keep` and the best
    are removed.
    """
    try:
        for folder in checkpoints.set_aside_later(run, update):
            number = folder.name.rpartition("-")[2]
            print(f"checkpoint {number} was renamed to {folder}; it is removed when the run has passed that update")
        checkpoints.note_best(run)  # a kill may have come between a checkpoint and its note
        checkpoints.prune(run, keep, update)  # or between the note and this
    except OSError as error:
        raise checkpoints.CheckpointError(checkpoints.cannot_write(run / "checkpoints", error, run)) from error


def blank_batch(recipe: Recipe, windows: Windows, accelerator: Accelerator) -> Batch:
    """A micro-batch of black frames in the shape of the real ones."""
    count = recipe.data.batch_size // (accelerator.num_processes * recipe.train.grad_accum_steps)
    size = windows.decode_px
    frames = torch.zeros(count, recipe.window.frames, size, size, 3, dtype=torch.uint8)
    return Batch(frames, torch.rand(count, 10), torch.arange(count)).to(accelerator.device)


def gradient_norm(learner: torch.nn.Module, recipe: Recipe) -> torch.Tensor:
    """Norm of the whole gradient, clipped in place where the recipe says so."""
    limit = recipe.optim.clip_norm
    norm = torch.nn.utils.clip_grad_norm_(learner.parameters(), float("inf") if limit is None else limit)
    return norm.full_tensor() if hasattr(norm, "full_tensor") else norm  # sharded under FSDP2


def training_row(done: int, loss: Loss, norm: torch.Tensor, recipe: Recipe, windows: Windows) -> dict[str, float | str]:
    ids = ",".join(map(str, windows.ids(done - 1)))
    return {
        "samples": done * recipe.data.batch_size,
        "loss": loss.total.item(),
        **{f"loss/{name}": value.item() for name, value in loss.terms.items()},
        "lr": recipe.optim.lr * lr_share_at(done - 1, recipe.optim, recipe.train.max_steps),
        "grad_norm": norm.item(),
        "batch_hash": hashlib.sha256(ids.encode()).hexdigest()[:16],
    }


def check_share(failed: int, seen: int, recipe: Recipe) -> None:
    """Raise DataError where more than the recipe's share of reads failed. `seen` samples were read in the end."""
    if failed > max(10, recipe.data.max_failed_fraction * (seen + failed)):
        raise DataError(
            f"{failed} of {seen + failed} reads failed (data.max_failed_fraction {recipe.data.max_failed_fraction:g}); the files are named "
            f"in {recipe.run}/bad_clips.jsonl. Index the data again: `python -m data_prep index`"
        )


def keep(
    recipe: Recipe,
    learner: torch.nn.Module,
    optimizers: Optimizers,
    windows: Windows,
    done: int,
    log: RunLog,
    accelerator: Accelerator,
) -> Path:
    """Write a checkpoint, note whether it is the best, remove old ones; the folder of the checkpoint."""
    tensors = checkpoints.gather(learner, optimizers)  # every rank: sharded weights are gathered
    run = Path(recipe.run)

    def save_and_prune() -> None:
        log.check_folder()
        log.sync()
        skill = log.skill_at(done)
        state: checkpoints.State = {
            "step": done,
            "samples": done * recipe.data.batch_size,
            "seconds": log.seconds,
            "skill": skill,
            "windows": windows.sizes,
            "data": windows.digests,
            "rows": log.rows,
            "machine": machine(accelerator.device, accelerator.num_processes),
            "recipe": recipe.model_dump(mode="json"),
            "run_folder": os.path.abspath(run),
            "random": "none kept: every draw is a function of the recipe's seed and the update",
        }
        checkpoints.save_checkpoint(run, tensors, state)
        try:
            checkpoints.note_best(run)
        except OSError as error:
            raise checkpoints.CheckpointError(checkpoints.cannot_write(run / "best.json", error, run)) from error
        checkpoints.prune(run, recipe.checkpoint.keep, done)

    on_main_process(accelerator, save_and_prune)
    return run / "checkpoints" / f"{done:08d}"


def not_finite(update: int, loss: Loss, norm: torch.Tensor, windows: Windows) -> str:
    terms = ", ".join(f"{name} {value.item():.4g}" for name, value in loss.terms.items())
    return (
        f"update {update + 1}: loss {loss.total.item()}, gradient norm {norm.item():.4g} ({terms}). The last checkpoint is "
        f"from before. Lower optim.lr or clip_norm, or look at this batch: {', '.join(windows.paths(update)[:8])}, ..."
    )


if __name__ == "__main__":
    end_with(main)
