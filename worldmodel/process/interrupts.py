"""Handle Ctrl-C (SIGINT): one line of output and exit code 130, at any time. Standard library only.

A program calls `exit_at_once` before its slow imports, and `raise_keyboard_interrupt` when it begins
to catch KeyboardInterrupt. This module itself must import fast.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

INTERRUPTED = 130  # exit code that shells report for a program that Ctrl-C ended
exit_callbacks: list[Callable[[], None]] = []  # called before the process exits, for example to release locks
_installed_handler: list[Callable[[int, object], None]] = []  # the handler of `exit_at_once`, where it was installed


def exit_at_once(program: str) -> None:
    """End the process on Ctrl-C without a traceback, while modules are imported and there is nothing to save.

    An existing handler of SIGINT is not replaced.
    """

    def end(_number: int, _frame: object) -> None:
        if os.environ.get("RANK", "0") == "0":
            with suppress(OSError):  # the terminal may be closed
                os.write(2, f"\n{program}: stopped before its work began\n".encode())
        for call in exit_callbacks:
            call()
        os._exit(INTERRUPTED)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, end)
        _installed_handler[:] = [end]


def raise_keyboard_interrupt() -> None:
    """Let Ctrl-C raise KeyboardInterrupt again, after `exit_at_once`."""
    if _installed_handler and signal.getsignal(signal.SIGINT) is _installed_handler[0]:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def report_interrupt(program: str, advice: str = "") -> int:
    """Print one line that Ctrl-C ended the program, and return the exit code. Further SIGINT is ignored."""
    if _installed_handler:  # False in a process that only calls a program's `main`
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.environ.get("RANK", "0") == "0":
        print(f"\n{program}: stopped{advice and '; ' + advice}", file=sys.stderr, flush=True)
    return INTERRUPTED


@contextmanager
def signals_blocked(multiprocessing: bool = True) -> Iterator[None]:
    """Block SIGINT and SIGTERM while child processes are started.

    A terminal sends signals to the whole process group. Children inherit the block, so that they do
    not end with a traceback before they call `ignore_in_child`. Signals that arrive in the block are
    delivered to this process afterwards. multiprocessing: whether the multiprocessing module starts
    the children.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows has neither signals of process groups nor masks
        yield
        return
    if multiprocessing:
        _start_resource_tracker()
    numbers = (signal.SIGINT, signal.SIGTERM)
    arrived: list[int] = []
    handlers = {number: signal.getsignal(number) for number in numbers} if _in_main_thread() else {}
    handlers = {number: handler for number, handler in handlers.items() if callable(handler)}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        # The mask applies to this thread only. Another thread may receive the signal, and Python then calls the handler.
        for number in handlers:
            signal.signal(number, lambda number, _frame: arrived.append(number))
        yield
    finally:
        with ExitStack() as undo:  # runs all callbacks in reverse order, also where one of them raises
            undo.callback(_raise_all, arrived)
            for number, handler in handlers.items():
                undo.callback(signal.signal, number, handler)
            undo.callback(signal.pthread_sigmask, signal.SIG_SETMASK, before)  # signals delivered here join `arrived`


def _raise_all(numbers: list[int]) -> None:
    """Raise pending signals. All are raised, even where the handler of one raises an exception."""
    if numbers:
        try:
            signal.raise_signal(numbers[0])
        finally:
            _raise_all(numbers[1:])


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _start_resource_tracker() -> None:
    """Start the resource tracker of multiprocessing, without its warning about leaked semaphores.

    Otherwise the first child process would start it, and that unblocks the blocked signals.
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


def ignore_in_child(*numbers: int) -> None:
    """Ignore these signals and unblock the others, in a child that was started within `signals_blocked`."""
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
