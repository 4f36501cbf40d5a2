"""A server of objects in this process, which speaks as much of S3 as the tests need, and fails on request."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


@dataclass
class ObjectServer:
    """Objects by path (`/bucket/key`), the requests so far, and the faults of the next ones.

    faults: the next requests that read objects fail so, one each: a status, "drop", "truncate" or None (it succeeds).
    write_faults: those that write. always: all requests for paths that contain the key fail so. lost_answers: so many writes
    succeed without an answer.
    """

    objects: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    faults: list[int | str | None] = field(default_factory=list)
    write_faults: list[int | str] = field(default_factory=list)
    lost_answers: int = 0
    always: dict[str, int | str] = field(default_factory=dict)
    delay_s: float = 0.0
    most_at_once: int = 0
    port: int = 0


def _handler(server: ObjectServer) -> type[BaseHTTPRequestHandler]:
    lock, running = threading.Lock(), [0]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 10

        def log_message(self, *_: object) -> None:
            pass

        def do_PUT(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                server.requests.append(f"PUT {self.path}")
                if (fault := self._write_fault()) is not None:
                    return self._fail(fault)
                before = server.objects.get(self.path)
                if before is not None and self.headers.get("If-None-Match") == "*":
                    return self._answer(412, b"")
                if (asked := self.headers.get("If-Match")) and (before is None or asked != etag_of(before)):
                    return self._answer(412, b"")
                server.objects[self.path] = content
                if server.lost_answers:
                    server.lost_answers -= 1
                    return self._fail("drop")
            return self._answer(200, b"", content)

        def do_POST(self) -> None:
            """Remove the objects of a list."""
            content = self.rfile.read(int(self.headers["Content-Length"])).decode()
            bucket = urlsplit(self.path).path.rstrip("/")
            with lock:
                for key in re.findall(r"<Key>([^<]+)</Key>", content):
                    server.requests.append(f"DELETE {bucket}/{key}")
                    if (fault := self._write_fault()) is not None:
                        return self._fail(fault)
                    server.objects.pop(f"{bucket}/{key}", None)
            deleted = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in re.findall(r"<Key>([^<]+)</Key>", content))
            return self._answer(200, f"<DeleteResult>{deleted}</DeleteResult>".encode())

        def _write_fault(self) -> int | str | None:
            always = next((fault for key, fault in server.always.items() if key in self.path), None)
            return server.write_faults.pop(0) if always is None and server.write_faults else always

        def _fail(self, fault: int | str) -> None:
            if fault == "drop":
                self.close_connection = True
            else:
                self._answer(int(fault), b"<Error><Code>ExpiredToken</Code></Error>" if fault in (400, 403) else b"")

        def _list(self) -> None:
            """All objects of a bucket below a prefix."""
            url = urlsplit(self.path)
            prefix = f"{url.path.rstrip('/')}/{parse_qs(url.query).get('prefix', [''])[0]}"
            found = "".join(
                f"<Contents><Key>{path.split('/', 2)[2]}</Key><LastModified>2025-10-21T07:28:00.000Z</LastModified>"
                f"<ETag>{etag_of(content)}</ETag><Size>{len(content)}</Size></Contents>"
                for path, content in sorted(server.objects.items())
                if path.startswith(prefix)
            )
            self._answer(200, f"<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>".encode())

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            with lock:
                server.requests.append(f"{self.command} {self.path} {self.headers.get('Range', '')}".strip())
                running[0] += 1
                server.most_at_once = max(server.most_at_once, running[0])
                fault = next((fault for key, fault in server.always.items() if key in self.path), None)
                if fault is None and server.faults:
                    fault = server.faults.pop(0)
            time.sleep(server.delay_s)
            try:
                self._get(fault)
            finally:
                with lock:
                    running[0] -= 1

        def _get(self, fault: int | str | None) -> None:
            if fault == "drop" or isinstance(fault, int):
                return self._fail(fault)
            if "list-type=2" in self.path:
                return self._list()
            content = server.objects.get(self.path)
            if content is None:
                self._answer(404, b"")
            elif self.headers.get("If-Match", etag_of(content)) != etag_of(content):
                self._answer(412, b"")
            elif asked := self.headers.get("Range"):
                start, stop = asked.removeprefix("bytes=").split("-")
                part = content[int(start) : int(stop) + 1]
                self._answer(206, part, content, int(start), truncate=fault == "truncate")
            else:
                self._answer(200, content, content, truncate=fault == "truncate")
            return None

        def _answer(
            self, status: int, body: bytes, content: bytes | None = None, start: int = 0, truncate: bool = False
        ) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if content is not None:
                self.send_header("ETag", etag_of(content))
                self.send_header("Last-Modified", "Tue, 21 Oct 2025 07:28:00 GMT")
            if status == 206:
                self.send_header("Content-Range", f"bytes {start}-{start + len(body) - 1}/{len(content or b'')}")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body[: len(body) // 2] if truncate else body)
            self.close_connection = truncate

    return Handler


@lru_cache(64)
def etag_of(content: bytes) -> str:
    return f'"{hashlib.md5(content).hexdigest()}"'


@contextmanager
def serve_objects(address: str = "127.0.0.1") -> Iterator[ObjectServer]:
    """Start the server, and end it on exit."""
    server = ObjectServer()
    with serving(_handler(server), address) as server.port:
        yield server


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler], address: str = "127.0.0.1") -> Iterator[int]:
    """Answer requests in threads of this process, until the end of the block. Gives the port."""
    http = ThreadingHTTPServer((address, 0), handler)
    http.daemon_threads = True
    http.handle_error = lambda request, address: None  # type: ignore[method-assign]  # the client gave up
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield http.server_port
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
