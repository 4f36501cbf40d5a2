"""Train a world model: `accelerate launch worldmodel/train.py [configs/x.yaml] [a.b=value ...]`.

The same command with the same run folder resumes. On several CPU processes:
`torchrun --nproc_per_node 2 worldmodel/train.py ...`.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import gc
import os
import signal
from pathlib import Path

from worldmodel.process import cores, interrupts, streams

if __name__ == "__main__":
    streams.survive_broken_streams()
    interrupts.exit_at_once("train")  # before the first training step there is nothing to save
    cores.let_waiting_threads_sleep()
    gc.disable()  # imports make hardly any garbage, and a sixth of their time would go into looking for it

import torch
from accelerate import Accelerator

from worldmodel.checkpoint import CheckpointError, find_checkpoint, latest_checkpoint, refuse_existing_checkpoints
from worldmodel.config import ConfigError
from worldmodel.data.batch_reader import BatchReader
from worldmodel.data.loader import Batch, DataError, begin_fixed_batch, open_windows
from worldmodel.files.folder_lock import FolderLockError, release_on_signals
from worldmodel.files.outputs import ForeignFileError
from worldmodel.health.moments import NotFiniteError
from worldmodel.health.monitor import run_health_check
from worldmodel.manifest import ManifestError
from worldmodel.process.arguments import check_names
from worldmodel.ranks.launch import (
    any_rank_signalled,
    record_stop_signals,
    report_error,
    resolve_precision,
    run_and_exit,
    start_accelerator,
)
from worldmodel.ranks.start_monitors import RankError
from worldmodel.recipe import DEMO_RECIPE, Recipe, read_recipe, split_file_and_overrides
from worldmodel.rollouts.decoder_fitting import fit_decoder
from worldmodel.runs.action_statistics import signal_sizes, with_action_statistics
from worldmodel.runs.failed_reads import FailedReads
from worldmodel.runs.initial_weights import check_initial_weights
from worldmodel.runs.pre_run_checks import check_layers, check_plan, check_run_folder, describe_run
from worldmodel.runs.restore_run import check_same_recipe, find_training_data, last_checkpoint, restore
from worldmodel.runs.run_data import resolve_paths
from worldmodel.runs.run_log import RunLog, Speed
from worldmodel.runs.save_run import CheckpointSaver, save_recipe
from worldmodel.runs.session import Session, open_session, with_local_run
from worldmodel.training.frozen_encoder import load_frozen_encoder, use_latent_cache, with_frozen_encoder
from worldmodel.training.learner import GlobalStatistics, Loss, average_loss, global_statistics
from worldmodel.training.metrics import not_finite_message, training_metrics
from worldmodel.training.optimizer import clip_gradients, keep_encoder, lr_ratio_at, set_lr
from worldmodel.training.parallel import unwrap
from worldmodel.training.pending_steps import PendingSteps, StepValues
from worldmodel.training.setup import TrainingSetup, build_learner, distribute, warm_up
from worldmodel.training.target_cache import use_target_cache
from worldmodel.training.teacher import load_teacher, with_teacher
from worldmodel.uploads.identity import refuse_uploaded


def main(argv: list[str] | None = None) -> int:
    """Parse the command line, train, fit the decoder; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="worldmodel/train.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", nargs="?", help=f"YAML file (default: {DEMO_RECIPE.name})")  # no Path: it may be an override
    parser.add_argument("overrides", nargs="*", metavar="a.b=value")
    parser.add_argument("--allow-changed-recipe", action="store_true", help="resume even if the recipe has changed")
    parser.add_argument("--from-scratch", action="store_true", help="refuse a run folder that has checkpoints")
    args = parser.parse_intermixed_args(argv)
    check_names(parser, args)
    file, overrides = split_file_and_overrides(args.recipe, args.overrides)
    try:
        recipe = with_local_run(resolve_precision(read_recipe(file, overrides)))
        accelerator = start_accelerator(recipe)
        if file is None:
            accelerator.print(f"no recipe given: running {DEMO_RECIPE}")
        if args.from_scratch and os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0":  # a restart by torchrun resumes
            refuse_existing_checkpoints(Path(recipe.run))
            refuse_uploaded(recipe.upload_to)
        with open_session(recipe, accelerator, args.allow_changed_recipe) as session:
            finished = train(recipe, accelerator, session)
            if torch.distributed.is_initialized():
                accelerator.wait_for_everyone()
                session.monitor.close()
                torch.distributed.destroy_process_group()
            if accelerator.is_main_process:
                finish(recipe, finished, accelerator.device, session)
    except KeyboardInterrupt:
        return interrupts.report_interrupt("train", "the same command resumes from the last checkpoint")
    except (ConfigError, ManifestError, DataError, NotFiniteError, OSError) as error:
        return report_error(error)
    except (CheckpointError, FolderLockError, ForeignFileError, RankError) as error:
        return report_error(error)
    return interrupts.INTERRUPTED if signal.SIGINT in session.stop else 0


def train(recipe: Recipe, accelerator: Accelerator, session: Session) -> bool:
    """Train from the last checkpoint, or from the start. Return False if the run was stopped before its last step."""
    check_run_folder(recipe, session.lock, accelerator)
    last = last_checkpoint(recipe, accelerator, session)
    recipe = find_training_data(recipe, last, accelerator)
    recipe = with_action_statistics(recipe, last, accelerator.print)
    windows, held_out_windows = open_windows(
        recipe.data, recipe.window, recipe.seed, recipe.augment.crops, signal_sizes(recipe)
    )
    check_plan(recipe, windows, accelerator.num_processes)
    if last is None:
        check_initial_weights(recipe)
    recipe = with_frozen_encoder(with_teacher(recipe, last), last)
    if last is not None:
        for warning in check_same_recipe(recipe, last, windows, session.allow_changed_recipe):
            accelerator.print(warning)

    # The data workers start, and read the held-out windows, while this process builds the model.
    with BatchReader(recipe.data.workers) as reader:
        wait_for_held_out = begin_fixed_batch(
            held_out_windows, recipe.health.windows, reader, wait_for_storage=last is not None
        )
        torch.manual_seed(recipe.seed)
        learner = build_learner(recipe)
        check_layers(learner, recipe, accelerator.num_processes)
        if last is None:
            load_teacher(learner.model, recipe)
            load_frozen_encoder(learner.model, recipe)
        setup = distribute(learner, recipe, windows, accelerator, reader)
        held_out = wait_for_held_out()
        accelerator.print(
            describe_run(recipe, windows, len(held_out.frames), learner, accelerator.num_processes, str(accelerator.device))
        )
        warm_up(setup)
        start = restore(setup, last)
        use_target_cache(setup)
        use_latent_cache(setup)
        save_recipe(recipe, held_out, session)

        record_stop_signals(session.stop)
        is_main = accelerator.is_main_process
        log = RunLog(
            Path(recipe.run), recipe,
            start=start["step"], seconds=start["seconds"], rows=start.get("rows"), main=is_main, lock=session.lock,
        )  # fmt: skip
        with log, CheckpointSaver(setup, log, session.monitor) as saver:
            if session.upload is not None:
                session.upload.report_to(log.print)
            log.log_bad_clips(held_out.bad)
            return loop(setup, start["step"], held_out, log, session, saver)


def loop(setup: TrainingSetup, first: int, held_out: Batch, log: RunLog, session: Session, saver: CheckpointSaver) -> bool:
    """Run the training steps from index `first` on. Return False if a signal or the health monitor stopped the run."""
    recipe, accelerator, max_steps = setup.recipe, setup.accelerator, setup.recipe.train.max_steps
    failed_reads = FailedReads(recipe, accelerator, log, first)
    batches = setup.batches(first, report=log.print, stop_requested=lambda: bool(session.stop))
    pending = PendingSteps(functools.partial(not_finite_message, setup), deferred=accelerator.device.type != "cpu")
    done = first
    for index, micro_batches in enumerate(log.timed(batches), start=first):
        failed_reads.add(micro_batches)
        micro_batches = [batch.to(accelerator.device) for batch in micro_batches]
        loss, grad_norm = step(setup, index, micro_batches)
        setup.model.update_teacher(index / max(1, max_steps - 1))

        done = index + 1
        log_is_due = done % recipe.train.log_every == 0 or done == max_steps
        write_row = functools.partial(log_row, setup, log, log.measure_speed(done)) if log_is_due else None
        pending.add(done, loss, grad_norm, write_row)
        if log_is_due:
            failed_reads.gather(done)
        if done % recipe.health.every == 0 or done == max_steps:
            pending.read()
            with setup.precision_of_health_checks():
                health = run_health_check(setup.model, held_out, done, max_steps, recipe.health, accelerator.device)
            log.log_health(done, health)
            if health.verdict in recipe.health.stop_on:
                session.stop.append(0)
        # Several ranks must agree to stop. That takes a collective, so they do it only when a log row is due.
        agree = accelerator.num_processes == 1 or log_is_due
        stopped = agree and any_rank_signalled(session.stop, accelerator)
        if done % recipe.checkpoint.every == 0 or done == max_steps or stopped:
            pending.read()  # raises NotFiniteError before weights that are NaN are saved
            saver.save(done)
        elif log_is_due:
            saver.poll()
        if stopped:
            break
    else:
        if first < done < max_steps and done % recipe.checkpoint.every:  # a signal arrived while the loop waited for data
            pending.read()
            saver.save(done)
    failed_reads.report()
    return done == max_steps


def step(setup: TrainingSetup, index: int, micro_batches: list[Batch]) -> tuple[Loss, torch.Tensor]:
    """Run one training step. Return the loss of the global batch and the norm of its gradient before clipping."""
    recipe, accelerator, learner = setup.recipe, setup.accelerator, setup.learner
    set_lr(setup.optimizers, recipe.optim, lr_ratio_at(index, recipe.optim, recipe.train.max_steps))
    exact, count = recipe.train.exact_accumulation, len(micro_batches)
    shared: list[GlobalStatistics | None] = [None] * count
    if exact and count > 1:  # statistics of the global batch: one more forward pass per micro-batch
        with accelerator.autocast():
            shared = [*global_statistics(unwrap(learner), micro_batches)]

    losses = []
    for micro_batch, statistics in zip(micro_batches, shared, strict=True):
        is_last = micro_batch is micro_batches[-1]
        with contextlib.nullcontext() if is_last else accelerator.no_sync(learner):  # DDP adds gradients over ranks once
            with accelerator.autocast():
                loss = learner(micro_batch, statistics)
            accelerator.backward(loss.total if exact else loss.total / count)
        losses.append(loss)

    loss = average_loss(losses)
    keep_encoder(unwrap(learner).model.encoder, recipe.optim, index)
    grad_norm = clip_gradients(learner, recipe.optim.clip_norm)
    for optimizer in setup.optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return loss, grad_norm


def log_row(setup: TrainingSetup, log: RunLog, speed: Speed, values: StepValues) -> None:
    """Write the row of metrics of a step whose numbers have been read."""
    log.log_training(values.done, training_metrics(setup, values), speed)


def finish(recipe: Recipe, finished: bool, device: torch.device, session: Session) -> None:
    """After the loop, on the main process only: fit the decoder if the run is finished and has none."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # everything is saved; signals end the process again
    signal.signal(signal.SIGINT, signal.default_int_handler)
    release_on_signals()
    run = Path(recipe.run)
    if finished and recipe.decoder.max_steps and not find_checkpoint(run).has("decoder"):
        if session.lock is not None:
            session.lock.check()
        fit_decoder(run, device, data=resolve_paths(recipe, latest_checkpoint(run)).data)
    print(f"{'finished' if finished else 'stopped'}: {run}; see it with `python -m worldmodel.rollout {run}`")


if __name__ == "__main__":
    gc.freeze()  # what was imported stays, so later collections need not look at it
    gc.enable()
    run_and_exit(main)
