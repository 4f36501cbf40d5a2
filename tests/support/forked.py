"""Runs commands of the project in forked processes, so that PyTorch is imported once and not by every test.

`run("worldmodel.train", [...])` behaves as `python -m worldmodel.train ...`: an own process with its own streams, signals and
exit code. Tests that kill a process, or that launch several ranks, start real processes instead.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

from launch import MARK

ENVIRONMENT = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "MUJOCO_GL": "disable"}
COMMANDS = ("worldmodel.train", "worldmodel.rollout", "eval.__main__", "data_prep.__main__")
SLOW_IMPORTS = ("torch._dynamo", "torch.distributed.checkpoint", "eval.commands.voe", "eval.report")  # by some commands
_servers: dict[int, subprocess.Popen[str]] = {}  # by the process that started it: forked processes must not share one


def run(
    module: str, arguments: Sequence[str], cwd: Path | None = None, timeout: float = 240
) -> subprocess.CompletedProcess[str]:
    """Run main(arguments) of a module in a forked process. Raises subprocess.TimeoutExpired; the process is killed then."""
    server = _servers.get(os.getpid()) or _start()
    assert server.stdin is not None
    assert server.stdout is not None
    texts = [str(argument) for argument in arguments]
    os.umask(umask := os.umask(0))  # the only way to read it
    with tempfile.TemporaryDirectory() as folder:
        request = {"module": module, "arguments": texts, "cwd": str(cwd or Path.cwd()), "folder": folder}
        request |= {"timeout": timeout, "umask": umask}
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        answer = json.loads(server.stdout.readline())
        out, err = ((Path(folder) / name).read_text(errors="replace") for name in ("stdout", "stderr"))
    command = [sys.executable, "-m", module, *texts]
    if answer["timed_out"]:
        raise subprocess.TimeoutExpired(command, timeout, out, err)
    return subprocess.CompletedProcess(command, answer["code"], out, err)


def _start() -> subprocess.Popen[str]:
    root = Path(__file__).resolve().parents[2]
    paths = os.pathsep.join([str(root), str(Path(__file__).parent)])
    command = [sys.executable, "-m", "forked"]
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": paths, MARK: ""}  # it serves later tests, too
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    assert server.stdin is not None
    _servers[os.getpid()] = server
    atexit.register(server.stdin.close)  # the server ends with its input
    return server


def serve() -> None:
    """The server: one request a line on standard input, one answer a line on standard output."""
    for module in (*COMMANDS, *SLOW_IMPORTS):
        importlib.import_module(module)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), file=answers, flush=True)


def _answer(request: dict) -> dict:
    child = os.fork()
    if child == 0:
        _work(request)
    watcher = subprocess.Popen(["sleep", str(request["timeout"])])
    while True:
        ended, status = os.wait()
        if ended == child:
            watcher.kill()
            watcher.wait()
            return {"code": os.waitstatus_to_exitcode(status), "timed_out": False}
        if ended == watcher.pid:
            watcher.returncode = 0
            os.killpg(child, 9)
            os.waitpid(child, 0)
            return {"code": None, "timed_out": True}


def _work(request: dict) -> None:
    """In the forked process; does not return."""
    os.setsid()
    os.chdir(request["cwd"])
    os.umask(request["umask"])
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(os.path.join(request["folder"], name), os.O_WRONLY | os.O_CREAT, 0o600), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = [request["module"], *request["arguments"]]
    code = 1
    try:
        code = sys.modules[request["module"]].main(request["arguments"])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    serve()
