"""A proxy in front of a real server of objects, which lets requests fail on demand."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from object_server import serving

_PER_CONNECTION = {"connection", "transfer-encoding", "keep-alive", "content-length"}


@dataclass
class FaultProxy:
    """faults: the next requests fail so, one each: a status, "drop", "truncate", "slow", or "lost" (done, but not answered)."""

    port: int = 0
    faults: list[int | str] = field(default_factory=list)
    slow_s: float = 1.0
    requests: list[str] = field(default_factory=list)


def _handler(proxy: FaultProxy, target_port: int) -> type[BaseHTTPRequestHandler]:
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 20

        def log_message(self, *_: object) -> None:
            pass

        def _forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with lock:
                proxy.requests.append(f"{self.command} {self.path}")
                fault = proxy.faults.pop(0) if proxy.faults else None
            if fault == "drop":
                self.close_connection = True
                return
            if isinstance(fault, int):
                code = "ExpiredToken" if fault in (400, 403) else "SlowDown"
                self._answer(fault, [], f"<Error><Code>{code}</Code></Error>".encode())
                return
            if fault == "slow":
                time.sleep(proxy.slow_s)
            upstream = http.client.HTTPConnection("127.0.0.1", target_port, timeout=20)
            upstream.request(self.command, self.path, body, dict(self.headers))
            answer = upstream.getresponse()
            content = answer.read()
            upstream.close()
            if fault == "lost":
                self.close_connection = True
                return
            self._answer(answer.status, answer.getheaders(), content, fault == "truncate")

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _forward  # noqa: N815  names that http.server expects

        def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes, truncate: bool = False) -> None:
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in _PER_CONNECTION:
                    self.send_header(name, value)
            length = {name.lower(): value for name, value in headers}.get("content-length", "0")
            self.send_header("Content-Length", length if self.command == "HEAD" else str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if truncate else content)
            self.close_connection = truncate

    return Handler


@contextmanager
def fault_proxy(target_port: int) -> Iterator[FaultProxy]:
    """Start the proxy, and end it on exit."""
    proxy = FaultProxy()
    with serving(_handler(proxy, target_port)) as proxy.port:
        yield proxy
