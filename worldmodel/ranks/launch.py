"""Start, stop and end the processes of a training."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TypeVar

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import DistributedType, InitProcessGroupKwargs, broadcast_object_list
from torch import distributed

from worldmodel.config import ConfigError
from worldmodel.process.cores import usable_cores
from worldmodel.process.devices import multiplies_bfloat16
from worldmodel.ranks.rendezvous import init_method
from worldmodel.recipe import Recipe

Result = TypeVar("Result")
MAIN_PROCESS_TIMEOUT = timedelta(hours=2)  # how long ranks wait while the main process works alone, such as making videos
_group_cache: list[tuple[distributed.ProcessGroup, distributed.ProcessGroup]] = []  # default group, group of long timeout


def resolve_precision(recipe: Recipe) -> Recipe:
    """Replace `precision: auto` by the precision of this machine, so that the recipe of the run names it."""
    if recipe.train.precision != "auto":
        return recipe
    device = "cuda" if torch.cuda.is_available() else "xpu" if torch.xpu.is_available() else "cpu"
    found = "bf16" if multiplies_bfloat16(torch.device(device)) else "fp32"
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"precision": found})})


def start_accelerator(recipe: Recipe) -> Accelerator:
    """Create the Accelerator. Without GPUs, several processes need `cpu=True`: only then does Accelerate use gloo."""
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    accelerator = Accelerator(
        mixed_precision="bf16" if recipe.train.precision == "bf16" else "no",
        cpu=several and not (torch.cuda.is_available() or torch.xpu.is_available()),
        dynamo_backend="no",  # train.compile decides; a backend of the launch file would compile the learner again
        kwargs_handlers=[InitProcessGroupKwargs(init_method=init_method(), timeout=collective_timeout(recipe))],
    )
    if accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM):
        raise ConfigError([f"the launch file asks for {accelerator.distributed_type.value}; use train.parallel=fsdp2 instead"])
    if accelerator.device.type == "cpu":
        if threads := recipe.train.threads or threads_per_process(os.environ):
            torch.set_num_threads(threads)
        elif "OMP_NUM_THREADS" not in os.environ and torch.get_num_threads() > usable_cores():
            torch.set_num_threads(usable_cores())  # torch ignores the limit of a container
    return accelerator


def collective_timeout(recipe: Recipe) -> timedelta:
    """How long a rank waits for the others in a collective before the run ends.

    Another rank may be late because it waits for data or storage, or compiles. A rank without
    heartbeats is detected earlier (worldmodel.ranks). This limit is for a main thread that hangs in
    a running process.
    """
    if not recipe.data.worker_timeout_s:
        return MAIN_PROCESS_TIMEOUT
    return timedelta(seconds=600 + 2 * recipe.data.worker_timeout_s + recipe.data.storage_wait_s)


def threads_per_process(environment: Mapping[str, str]) -> int | None:
    """Number of threads of a process on CPUs: the usable cores divided by the processes; None to keep the setting.

    `accelerate launch` and torchrun set OMP_NUM_THREADS to 1 where the user did not set it, and all
    other cores would be idle.
    """
    launched = "ACCELERATE_MIXED_PRECISION" in environment or "TORCHELASTIC_RUN_ID" in environment
    if not launched or environment.get("OMP_NUM_THREADS") != "1":
        return None
    return usable_cores(physical=True, processes=int(environment.get("LOCAL_WORLD_SIZE", "1")))


def run_on_main_process(processes: Accelerator | PartialState, function: Callable[[], Result]) -> Result | None:
    """Run a function on the main process only. Returns its result there, None on other processes.

    An exception of the function is raised on every process, so that none waits for a main process
    that has ended. The others wait up to MAIN_PROCESS_TIMEOUT, longer than in a collective of the
    training.
    """
    result, error = None, None
    if processes.is_main_process:
        try:
            result = function()
        except Exception as raised:
            error = raised
    if processes.num_processes > 1:
        distributed.barrier(_long_timeout_group())
        (error,) = broadcast_object_list([error and _picklable(error)])
    if error is not None:
        raise error
    return result


def _long_timeout_group() -> distributed.ProcessGroup:
    """A group of all ranks with MAIN_PROCESS_TIMEOUT. Every rank must call this function."""
    everyone = distributed.group.WORLD
    assert everyone is not None
    if not _group_cache or _group_cache[0][0] is not everyone:
        _group_cache[:] = [(everyone, distributed.new_group(timeout=MAIN_PROCESS_TIMEOUT, backend="gloo"))]
    return _group_cache[0][1]


def _picklable(error: Exception) -> Exception:
    """The error itself where it can be sent to other processes, else a RuntimeError with its message."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # the constructor of an error of another package may raise anything
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def record_stop_signals(received: list[int]) -> None:
    """Append SIGTERM and SIGINT to the list when they arrive. A second SIGINT raises KeyboardInterrupt."""

    def record(number: int, _frame: object) -> None:
        received.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, record)


def any_rank_signalled(stop: list[int], accelerator: Accelerator) -> bool:
    """Whether any rank received a signal to stop: all must leave the loop after the same step."""
    if accelerator.num_processes == 1:
        return bool(stop)
    if stop:
        accelerator.set_trigger()
    return accelerator.check_trigger()


def report_error(error: Exception) -> int:
    """Print the error that ended the run, and return the exit code."""
    rank = os.environ.get("RANK", "0")
    print(f"{'' if rank == '0' else f'[rank {rank}] '}{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    return 2


def run_and_exit(main: Callable[[], int]) -> None:
    """Run a program and end this process with its exit code.

    A process that failed, or that a launcher started, ends by os._exit and not by sys.exit: the interpreter
    would wait for workers that may hang and ranks that may have ended, and threads of gloo sometimes
    abort a process during an orderly shutdown.
    """
    is_launched = "WORLD_SIZE" in os.environ
    try:
        code = main()
    except Exception:
        if not is_launched:
            raise
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    if code or is_launched:
        os._exit(code)
