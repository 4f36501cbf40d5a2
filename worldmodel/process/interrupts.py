"""Ctrl-C (SIGINT): one line and exit code 130, at any moment of a program's life. Standard library only.

A program calls `exit_at_once` before its slow imports, and `raise_from_now_on` when it begins to catch KeyboardInterrupt.
This module itself must import fast.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

INTERRUPTED = 130  # what shells report of a program that Ctrl-C ended
before_exit: list[Callable[[], None]] = []  # what `exit_at_once` does first, such as releasing locks
_early: list[Callable[[int, object], None]] = []  # our handler, in a process that installed it


def exit_at_once(program: str) -> None:
    """End the process on Ctrl-C: while modules are imported there is nothing to save, and KeyboardInterrupt is a traceback.

    Leaves SIGINT alone where something else handles or ignores it already.
    """

    def end(_number: int, _frame: object) -> None:
        if os.environ.get("RANK", "0") == "0":
            with suppress(OSError):  # a terminal that is gone
                os.write(2, f"\n{program}: stopped before its work began\n".encode())
        for call in before_exit:
            call()
        os._exit(INTERRUPTED)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, end)
        _early[:] = [end]


def raise_from_now_on() -> None:
    """Let Ctrl-C raise KeyboardInterrupt again, where `exit_at_once` changed that."""
    if _early and signal.getsignal(signal.SIGINT) is _early[0]:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def stopped(program: str, what_next: str = "") -> int:
    """Say in one line that Ctrl-C ended the program; the exit code. A second Ctrl-C does not interrupt the end."""
    if _early:  # not in a process that only calls a program's `main`
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.environ.get("RANK", "0") == "0":
        print(f"\n{program}: stopped{what_next and '; ' + what_next}", file=sys.stderr, flush=True)
    return INTERRUPTED


@contextmanager
def held(semaphores: bool = True) -> Iterator[None]:
    """Keep SIGINT and SIGTERM waiting while child processes are started. semaphores: whether multiprocessing starts them.

    Signals of a terminal reach the whole group. Children inherit the block, so that they cannot die, with a traceback, before
    they have said by `leave_to_parent` how they take signals. What arrives meanwhile reaches this process afterwards.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows has neither process groups' signals nor masks
        yield
        return
    if semaphores:
        _start_resource_tracker()
    numbers = (signal.SIGINT, signal.SIGTERM)
    arrived: list[int] = []
    handlers = {number: signal.getsignal(number) for number in numbers} if _in_main_thread() else {}
    handlers = {number: handler for number, handler in handlers.items() if callable(handler)}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        for number in handlers:  # the mask is of this thread; another one may receive the signal, and Python calls its handler
            signal.signal(number, lambda number, _frame: arrived.append(number))
        yield
    finally:
        with ExitStack() as undo:  # it does every step, from the last one to the first, also where a handler raises in one
            undo.callback(_raise_all, arrived)
            for number, handler in handlers.items():
                undo.callback(signal.signal, number, handler)
            undo.callback(signal.pthread_sigmask, signal.SIG_SETMASK, before)  # what it lets through is added to `arrived`


def _raise_all(numbers: list[int]) -> None:
    """Raise signals that waited; the handler of one may raise an exception, and the others must not be lost."""
    if numbers:
        try:
            signal.raise_signal(numbers[0])
        finally:
            _raise_all(numbers[1:])


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _start_resource_tracker() -> None:
    """Start the process that removes semaphores of a program that was killed, without its warning that it had to.

    Else the first child process would start it, which unblocks the signals that `held` blocks.
    """
    from multiprocessing import resource_tracker

    before = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = ",".join(filter(None, (before, "ignore:resource_tracker:UserWarning")))
    try:
        resource_tracker.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONWARNINGS"]
        else:
            os.environ["PYTHONWARNINGS"] = before


def leave_to_parent(*numbers: int) -> None:
    """In a child that was started under `held`: ignore these signals, and take the others as usual."""
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
