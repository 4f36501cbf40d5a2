"""The worker process that reads windows: tasks on standard input, answers on standard output. Started by `worker_process`.

It is a separate program rather than a multiprocessing worker. It needs no semaphores and no shared memory with a name, which
would be left behind when a group of processes is killed, and it does not import the program of its parent, such as torch.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import struct
import threading
import time
import traceback
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from worldmodel.data.frame_memory import Slot, WorkerMemory
from worldmodel.data.reading import Place, ReadFailure, ReadRequest, WindowSignals, read_with_signals
from worldmodel.data.token_masks.drawing import WindowMasks
from worldmodel.process import interrupts
from worldmodel.storage.members import split_member
from worldmodel.storage.objects import prefetch
from worldmodel.video.planes import FrameLayout

LENGTH = struct.Struct("<I")  # length in bytes of the pickled Answer that follows


@dataclass(frozen=True)
class Task:
    """Windows of one micro-batch to read, each with its index in it. Tasks with lower numbers are done first.

    slot: shared memory of the micro-batch; None: the frames are sent.
    """

    number: int
    windows: tuple[tuple[int, ReadRequest], ...]
    slot: Slot | None = None
    delay_s: float = 0.0  # time to wait before they are read


@dataclass(frozen=True)
class Answer:
    """Progress of one window.

    outcome: None: the worker begins to read it. ReadFailure: it could not be read. int: it was read, and this many bytes
    of frames follow, or lie in the slot of the task.
    """

    number: int
    index: int
    outcome: ReadFailure | int | None
    skipped: tuple[int, ...] = ()  # indices of the task that were left out because a folder is missing
    signals: WindowSignals | None = None  # of a window that was read, where its request asks for them
    layout: FrameLayout | None = None  # of its frames, where its request asks for planes
    through_container: bool = False  # it was read through the container, although its request names a packet index
    masks: WindowMasks | None = None  # of a window that was read, where its request asks for them


def main(shared: int | None = None) -> None:
    """Read tasks until the parent closes the pipe or ends. shared: descriptor of the shared memory."""
    interrupts.ignore_in_child(signal.SIGINT, signal.SIGTERM)
    try:
        os.fstat(2)
    except OSError:  # closed in the parent; no other file may get its number
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what a library prints must not mix with the frames
    tasks: queue.PriorityQueue[tuple[int, int, Task]] = queue.PriorityQueue()
    threading.Thread(target=_receive, args=(requests, tasks), daemon=True).start()
    memory = None if shared is None else WorkerMemory(shared)
    try:
        while True:
            _run_task(tasks.get()[-1], answers, memory)
    except BrokenPipeError:  # the parent ended
        os._exit(0)


def _receive(requests: BinaryIO, tasks: queue.PriorityQueue[tuple[int, int, Task]]) -> None:
    """Receive tasks. End the process at once when the parent closes the pipe or ends, even in the middle of a read."""
    arrived = 0
    try:
        while True:
            task = pickle.load(requests)
            tasks.put((task.number, arrived, task))
            arrived += 1
    except (EOFError, OSError, pickle.UnpicklingError):  # UnpicklingError: the parent was killed while it wrote a task
        os._exit(0)
    except BaseException:  # without this only this thread would end, and the process would wait for ever
        try:
            traceback.print_exc()
        finally:  # standard error may be a terminal that is closed
            os._exit(1)


def _run_task(task: Task, answers: BinaryIO, memory: WorkerMemory | None) -> None:
    time.sleep(task.delay_s)
    prefetch([(request.path, request.member) for _, request in task.windows])
    tables = [request.signals.path for _, request in task.windows if request.signals is not None]
    prefetch([split_member(table) for table in tables if table is not None])
    unsent = b""  # the answer to a window is sent together with the beginning of the next one
    for number, (index, request) in enumerate(task.windows):
        _write_all(answers, unsent + _encoded(Answer(task.number, index, None)))
        unsent = b""
        out = None
        if memory is not None and task.slot is not None:
            place = request.place or Place(index * request.nbytes, request.nbytes)
            out = memory.part(task.slot, place.begin, place.nbytes)
        found = read_with_signals(request, out)
        if isinstance(found, ReadFailure):
            # the parent decides whether to wait for a missing folder; the rest of the task would fail as well
            skipped = tuple(index for index, _ in task.windows[number + 1 :]) if found.folder else ()
            unsent = _encoded(Answer(task.number, index, found, skipped))
            if skipped:
                break
            continue
        frames = found.frames
        facts = found.signals, found.layout, found.through_container, found.masks
        outcome = Answer(task.number, index, frames.nbytes, (), *facts)
        answer = _encoded(outcome)
        if out is not None:
            unsent = answer
        else:
            _write_all(answers, answer)
            _write_all(answers, np.ascontiguousarray(frames).data.cast("B"))
    _write_all(answers, unsent)


def _encoded(answer: Answer) -> bytes:
    body = pickle.dumps(answer)
    return LENGTH.pack(len(body)) + body


def _write_all(file: BinaryIO, data: bytes | memoryview) -> None:
    data = memoryview(data)
    while data:
        data = data[file.write(data) :]
