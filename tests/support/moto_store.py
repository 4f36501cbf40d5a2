"""A real server of the S3 protocol, moto, in a process of its own: of the extra `moto`, or of another environment."""

from __future__ import annotations

import http.client
import importlib.util
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

_IS_INSTALLED = all(importlib.util.find_spec(name) is not None for name in ("moto", "flask", "flask_cors"))
_COMMAND = [sys.executable, "-m", "moto.server"] if _IS_INSTALLED else [shutil.which("moto_server") or ""]
HAS_MOTO = _COMMAND != [""]


@contextmanager
def moto_server(address: str = "127.0.0.1") -> Iterator[int]:
    """The port of a server with an empty bucket, `s3://bucket`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([*_COMMAND, "-H", address, "-p", str(port)], stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request(
                    "PUT", "/bucket", headers={"Authorization": "AWS4-HMAC-SHA256 Credential=a/b/us-east-1/s3/x"}
                )
                assert connection.getresponse().status == 200
                break
            except OSError:
                time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait()
