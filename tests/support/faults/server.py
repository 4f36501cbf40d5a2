"""Run operations in forked processes, so that imports are made once. Standard input and output have lines of JSON.

    {"run": "save", "folder": "/...", "mode": 1, "at": 7}  ->  {"code": 0, "calls": 31, "output": "..."}

`code` is the exit code, or minus the number of the signal that killed the process; `calls` is null for a killed process.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
import tempfile
import traceback
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # imported by the first optimizer; these imports take longer than a trial
from faults import operations

import eval.commands.plausibility  # noqa: F401


def main() -> None:
    torch.set_num_threads(1)
    resource_tracker.ensure_running()  # otherwise each child starts its own
    shim = ctypes.CDLL(os.environ["LD_PRELOAD"])
    shim.faults_calls.restype = ctypes.c_long
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(_forked(shim, json.loads(line))), file=answers, flush=True)


def _forked(shim: ctypes.CDLL, request: dict[str, Any]) -> dict[str, Any]:
    theirs, ours = os.pipe()
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if child == 0:
            os.setsid()
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            _work(shim, request, ours)
        os.close(ours)
        _, status = os.waitpid(child, 0)
        with contextlib.suppress(ProcessLookupError):  # workers are forked here: they do not see that their parent was killed
            os.killpg(child, signal.SIGKILL)
        calls = os.read(theirs, 100).decode()
        os.close(theirs)
        output.seek(0)
        text = output.read().decode(errors="replace")
    return {"code": os.waitstatus_to_exitcode(status), "calls": int(calls) if calls else None, "output": text}


def _work(shim: ctypes.CDLL, request: dict[str, Any], ours: int) -> None:
    """Run an operation in the child process. Does not return."""
    code = 99
    try:
        assert shim.faults_arm(request["mode"], ctypes.c_long(request["at"]))
        code = getattr(operations, request["run"])(Path(request["folder"])) or 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os.write(ours, str(shim.faults_calls()).encode())
    os._exit(code)


if __name__ == "__main__":
    main()
