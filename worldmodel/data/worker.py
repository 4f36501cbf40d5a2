"""The process that reads windows: requests on standard input, frames on standard output. Started by `worker_pool`.

A program of its own rather than a multiprocessing worker: it needs no semaphores and no shared memory, which would stay behind
when a group of processes is killed, and it does not import the program of its parent, such as torch.
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

from worldmodel.data.reading import ReadFailure, ReadRequest, read_window
from worldmodel.process import interrupts

LENGTH = struct.Struct("<I")  # of the pickled Answer that follows


@dataclass(frozen=True)
class Task:
    """Windows of one micro-batch to read, each with its place in it. Of several tasks, the lowest `number` is done first."""

    number: int
    windows: tuple[tuple[int, ReadRequest], ...]
    delay_s: float = 0.0  # to wait before they are read


@dataclass(frozen=True)
class Answer:
    """About one window: it is being read (None), it could not be read, or its frames follow, so many bytes."""

    number: int
    place: int
    outcome: ReadFailure | int | None
    skipped: tuple[int, ...] = ()  # places of the task that were left out after a folder was found to be gone


def main() -> None:
    interrupts.leave_to_parent(signal.SIGINT, signal.SIGTERM)
    try:
        os.fstat(2)
    except OSError:  # closed in the parent; another file must not take its number
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what a library prints must not get between the frames
    waiting: queue.PriorityQueue[tuple[int, int, Task]] = queue.PriorityQueue()
    threading.Thread(target=_receive, args=(requests, waiting), daemon=True).start()
    try:
        while True:
            _do(waiting.get()[-1], answers)
    except BrokenPipeError:  # the parent ended
        os._exit(0)


def _receive(requests: BinaryIO, waiting: queue.PriorityQueue[tuple[int, int, Task]]) -> None:
    """Take in tasks; end the process at once when the parent closes the pipe or ends, whatever is being read."""
    arrived = 0
    try:
        while True:
            task = pickle.load(requests)
            waiting.put((task.number, arrived, task))
            arrived += 1
    except (EOFError, OSError, pickle.UnpicklingError):  # UnpicklingError: the parent was killed while it wrote a task
        os._exit(0)
    except BaseException:  # this thread alone would end, and the process would wait for ever
        try:
            traceback.print_exc()
        finally:  # standard error may be a terminal that is gone
            os._exit(1)


def _do(task: Task, answers: BinaryIO) -> None:
    time.sleep(task.delay_s)
    for at, (place, request) in enumerate(task.windows):
        _send(answers, Answer(task.number, place, None))
        frames = read_window(request)
        if isinstance(frames, ReadFailure):
            # where a folder is gone, the parent decides whether to wait for it; the rest of the task would fail alike
            skipped = tuple(place for place, _ in task.windows[at + 1 :]) if frames.folder else ()
            _send(answers, Answer(task.number, place, frames, skipped))
            if skipped:
                return
        else:
            _send(answers, Answer(task.number, place, frames.nbytes), frames)


def _send(answers: BinaryIO, answer: Answer, frames: np.ndarray | None = None) -> None:
    head = pickle.dumps(answer)
    _write_all(answers, memoryview(LENGTH.pack(len(head)) + head))
    if frames is not None:
        _write_all(answers, np.ascontiguousarray(frames).data.cast("B"))


def _write_all(file: BinaryIO, data: memoryview) -> None:
    while data:
        data = data[file.write(data) :]
