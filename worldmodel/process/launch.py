"""A process among others: how it starts, is told to stop, and ends."""

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
from worldmodel.ranks.restart import init_method
from worldmodel.recipe import Recipe

Result = TypeVar("Result")
MAIN_ALONE = timedelta(hours=2)  # the longest that all ranks wait while the main process works alone: it may make all videos
_patient: list[tuple[distributed.ProcessGroup, distributed.ProcessGroup]] = []  # the default group, and one that waits longer


def with_precision(recipe: Recipe) -> Recipe:
    """`precision: auto` becomes what this machine has, so that the run's own recipe says what it was trained in."""
    if recipe.train.precision != "auto":
        return recipe
    found = "bf16" if computes_in_bf16() else "fp32"
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"precision": found})})


def computes_in_bf16() -> bool:
    """Whether the device training will use multiplies bf16 in hardware; emulated it is several times slower than float32."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if torch.xpu.is_available():
        return True
    there = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(there.get("avx512_bf16") or there.get("amx_bf16"))


def start_accelerator(recipe: Recipe) -> Accelerator:
    """Processes and device. Several processes without GPUs talk over gloo, which Accelerate does only when told `cpu`."""
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    accelerator = Accelerator(
        mixed_precision="bf16" if recipe.train.precision == "bf16" else "no",
        cpu=several and not (torch.cuda.is_available() or torch.xpu.is_available()),
        dynamo_backend="no",  # train.compile says it; a backend from a launch file would wrap the learner once more
        kwargs_handlers=[InitProcessGroupKwargs(init_method=init_method(), timeout=collective_timeout(recipe))],
    )
    if accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM):
        raise ConfigError([f"the launch file asks for {accelerator.distributed_type.value}; use train.parallel=fsdp2 instead"])
    if accelerator.device.type == "cpu":
        if threads := idle_threads(os.environ):
            torch.set_num_threads(threads)
        elif "OMP_NUM_THREADS" not in os.environ and torch.get_num_threads() > usable_cores():
            torch.set_num_threads(usable_cores())  # torch does not look at the limit of a container
    return accelerator


def collective_timeout(recipe: Recipe) -> timedelta:
    """How long a rank waits in a collective for the others, before the run ends.

    Another rank may be late because it waits for data or storage, or compiles. A silent rank is noticed earlier
    (worldmodel.ranks); this limit is for a main thread that hangs in a process that is alive.
    """
    if not recipe.data.worker_timeout_s:
        return MAIN_ALONE
    return timedelta(seconds=600 + 2 * recipe.data.worker_timeout_s + recipe.data.storage_wait_s)


def idle_threads(environment: Mapping[str, str]) -> int | None:
    """Threads a process on CPUs should use where its launcher has said one: the usable cores, shared among its processes.

    `accelerate launch` and torchrun set OMP_NUM_THREADS to 1 where nobody did, and all cores but one stand idle.
    """
    launched = "ACCELERATE_MIXED_PRECISION" in environment or "TORCHELASTIC_RUN_ID" in environment
    if not launched or environment.get("OMP_NUM_THREADS") != "1":
        return None
    return usable_cores(physical=True, processes=int(environment.get("LOCAL_WORLD_SIZE", "1")))


def on_main_process(processes: Accelerator | PartialState, work: Callable[[], Result]) -> Result | None:
    """Run `work` on the main process alone; its result there, None elsewhere.

    What it raises is raised on every process, so that none waits for a main process that has ended. The others wait for it up
    to MAIN_ALONE, longer than for a collective of the training.
    """
    result, error = None, None
    if processes.is_main_process:
        try:
            result = work()
        except Exception as raised:
            error = raised
    if processes.num_processes > 1:
        distributed.barrier(_patient_group())
        (error,) = broadcast_object_list([error and _sendable(error)])
    if error is not None:
        raise error
    return result


def _patient_group() -> distributed.ProcessGroup:
    """A group of all ranks whose collectives wait for MAIN_ALONE. Every rank must call it."""
    everyone = distributed.group.WORLD
    assert everyone is not None
    if not _patient or _patient[0][0] is not everyone:
        _patient[:] = [(everyone, distributed.new_group(timeout=MAIN_ALONE, backend="gloo"))]
    return _patient[0][1]


def _sendable(error: Exception) -> Exception:
    """The error itself where it can be sent to other processes, else its words."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever the constructor of a foreign error raises
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def stop_on_signal(seen: list[int]) -> None:
    """SIGTERM and SIGINT are added to the list; a second SIGINT interrupts at once."""

    def remember(number: int, _frame: object) -> None:
        seen.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, remember)


def signalled(stop: list[int], accelerator: Accelerator) -> bool:
    """Whether any rank was told to stop: all must leave the loop after the same update."""
    if accelerator.num_processes == 1:
        return bool(stop)
    if stop:
        accelerator.set_trigger()
    return accelerator.check_trigger()


def report(error: Exception) -> int:
    """Say what ended the run; the exit code."""
    rank = os.environ.get("RANK", "0")
    print(f"{'' if rank == '0' else f'[rank {rank}] '}{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    return 2


def end_with(main: Callable[[], int]) -> None:
    """Run a program and end this process with its exit code.

    Not by sys.exit where it failed or is one of several: the interpreter would first wait for workers that may hang or ranks
    that may be gone, and gloo's threads now and then abort a process of several that is taken down in order.
    """
    several = "WORLD_SIZE" in os.environ
    try:
        code = main()
    except Exception:
        if not several:
            raise
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    if code or several:
        os._exit(code)
