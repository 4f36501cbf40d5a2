"""Runs operations in forked processes, so that the imports are paid once. Lines of JSON on standard input and output.

    {"run": "save", "folder": "/...", "mode": 1, "at": 7}  ->  {"code": 0, "calls": 31, "said": "..."}

`code` is the exit code, or minus the number of the signal that killed the process; `calls` is null for a killed process.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import tempfile
import traceback
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import torch
from faults import operations


def main() -> None:
    torch.set_num_threads(1)
    resource_tracker.ensure_running()  # else each child starts its own
    shim = ctypes.CDLL(os.environ["LD_PRELOAD"])
    shim.faults_calls.restype = ctypes.c_long
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(_forked(shim, json.loads(line))), file=answers, flush=True)


def _forked(shim: ctypes.CDLL, asked: dict[str, Any]) -> dict[str, Any]:
    theirs, ours = os.pipe()
    with tempfile.TemporaryFile() as said:
        child = os.fork()
        if child == 0:
            os.setsid()
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            _work(shim, asked, ours)
        os.close(ours)
        _, status = os.waitpid(child, 0)
        calls = os.read(theirs, 100).decode()
        os.close(theirs)
        said.seek(0)
        text = said.read().decode(errors="replace")
    return {"code": os.waitstatus_to_exitcode(status), "calls": int(calls) if calls else None, "said": text}


def _work(shim: ctypes.CDLL, asked: dict[str, Any], ours: int) -> None:
    """In the child; does not return."""
    code = 99
    try:
        assert shim.faults_arm(asked["mode"], ctypes.c_long(asked["at"]))
        code = getattr(operations, asked["run"])(Path(asked["folder"])) or 0
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
