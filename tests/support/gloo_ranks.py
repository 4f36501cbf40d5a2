"""Runs a function on several ranks that communicate with gloo. They are forked, so that PyTorch is imported once."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import launch

_PROGRAM = """
import json, os, sys, traceback
from datetime import timedelta
from accelerate import Accelerator
from torch.distributed import TCPStore

ranks, arguments = int(sys.argv[1]), json.loads(sys.argv[2])
exec(sys.argv[3])
store = TCPStore("127.0.0.1", 0, ranks, is_master=True, wait_for_workers=False)
os.environ |= {{"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port),
               "TORCHELASTIC_USE_AGENT_STORE": "True", "GLOO_SOCKET_IFNAME": "{interface}", "OMP_NUM_THREADS": "1"}}
pipes = []
for rank in range(ranks):
    read, write = os.pipe()
    if os.fork() == 0:
        try:
            os.environ |= {{"RANK": str(rank), "LOCAL_RANK": str(rank)}}
            found = main(Accelerator(cpu=True), *arguments)
            os.write(write, json.dumps(found).encode())
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(0)
    os.close(write)
    pipes.append(read)
print("RESULTS" + json.dumps([json.loads(open(pipe).read() or "null") for pipe in pipes]))
"""


def run(body: str, *arguments: Any, ranks: int = 2, timeout: float = 90) -> list[Any]:
    """What `main(accelerator, *arguments)`, which the source code `body` defines, returns on each rank.

    Arguments and results are JSON. Raises AssertionError where a rank raises or returns None.
    """
    program = _PROGRAM.format(interface="lo" if sys.platform == "linux" else "lo0")
    command = [sys.executable, "-c", program, str(ranks), json.dumps(arguments), body]
    done = launch.run(command, timeout=timeout, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""})
    assert "RESULTS" in done.stdout, done.stderr
    results: list[Any] = json.loads(done.stdout.rpartition("RESULTS")[2])
    assert None not in results, done.stderr
    return results
