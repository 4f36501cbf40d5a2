"""Start a Ray of this machine, or join a cluster. Messages of Ray are held back."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data_prep.errors import PrepError
from data_prep.parallel.ray_workers import RayWorkers
from data_prep.parallel.shared_state import shared_state
from worldmodel.process.cores import usable_cores

INSTALL = '--ray: Ray is not installed; pip install "ray>=2.60", or pip install -e ".[ray]" in this project'
OBJECT_STORE_BYTES = 100_000_000  # tasks and results are names and numbers; Ray needs at least 75 MB
CONNECT_S = 10.0
LONGEST_REASON = 400  # characters of a message of Ray that are shown
LONGEST_FOLDER = 24  # characters: Ray makes Unix sockets below it, whose paths have at most 107
_SETTINGS_FRAME = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # RFC 9113, 6.5: an empty one; byte 3 is its type
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # prints a warning
    "RAY_SCHEDULER_EVENTS": "0",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",  # this project handles them
}


@contextmanager
def open_cluster(
    address: str | None, processes: int | None, reads: Sequence[str | os.PathLike[str]], writes: str | os.PathLike[str] | None
) -> Iterator[RayWorkers]:
    """Workers of a cluster. They end with the block, and so does a Ray that was started here.

    address: HOST:PORT of the head, or auto; None starts a Ray of this machine. processes: most workers at
    a time. Raises PrepError where Ray is missing or cannot be reached.
    """
    with _environment(SETTINGS):
        ray = _import_ray()
        connection = _joined(ray, address) if address is not None else _started(ray, processes or usable_cores())
        with connection, shared_state(reads, writes) as shared:
            workers = RayWorkers(ray, processes, shared)
            try:
                yield workers
            finally:
                workers.stop()


def _import_ray() -> Any:
    try:
        import ray
    except ImportError:
        raise PrepError(INSTALL) from None
    return ray


@contextmanager
def _started(ray: Any, processes: int) -> Iterator[None]:
    """A Ray of this machine, for this user only. Its files are removed at the end."""
    own = tempfile.gettempdir()
    folder = Path(tempfile.mkdtemp(prefix="wmray", dir=own if len(own) <= LONGEST_FOLDER else "/tmp"))
    try:
        token = folder / "token"
        token.touch(0o600)
        token.write_text(secrets.token_hex(32))
        with _environment({"RAY_AUTH_TOKEN_PATH": str(token)}):
            try:
                _connect(
                    ray,
                    address="local",
                    num_cpus=processes,
                    num_gpus=0,
                    include_dashboard=False,
                    object_store_memory=OBJECT_STORE_BYTES,
                    _node_ip_address="127.0.0.1",
                    _temp_dir=str(folder),
                    _system_config={"memory_monitor_refresh_ms": 0},  # the kernel ends what takes too much memory
                )
                yield
            finally:
                ray.shutdown(wait_for_processes=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _joined(ray: Any, address: str) -> Iterator[None]:
    """A connection to a running cluster. Its end ends the workers of this command, and nothing else."""
    if address != "auto" and os.environ.get("RAY_USE_TLS") != "1":
        _check_answers(address)
    try:
        _connect(ray, address=address)
        yield
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Raise PrepError where no server of Ray's protocol (HTTP/2) answers. Ray itself would wait for minutes."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), CONNECT_S) as connection:
            connection.settimeout(CONNECT_S)
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _SETTINGS_FRAME)
            if connection.recv(9)[3:4] != _SETTINGS_FRAME[3:4]:
                raise OSError("another program answers there")
    except (OSError, OverflowError) as error:
        raise PrepError(f"--ray {address}: no Ray answers at this address ({error}); is the cluster running?") from None


def _connect(ray: Any, address: str, **options: Any) -> None:
    # Reports on dead nodes would be printed into the progress bar. Ray has no public switch for them.
    ray._private.worker._worker_logs_enabled = False
    try:
        with _no_stderr():  # code in C writes there, whatever the level of logging is
            ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL, **options)
    except (ray.exceptions.RayError, ConnectionError, RuntimeError, ValueError, AssertionError) as error:
        reason = " ".join(str(error).split())[:LONGEST_REASON] or type(error).__name__
        if address == "local":
            raise PrepError(f"--ray: Ray cannot be started: {reason}") from None
        advice = "" if "RAY_AUTH_MODE" in os.environ else "; a cluster with a token needs RAY_AUTH_MODE=token here too"
        raise PrepError(f"--ray {address}: {reason}{advice}") from None


@contextmanager
def _no_stderr() -> Iterator[None]:
    """Drop what is written to the descriptor of standard error."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as null:
        os.dup2(null.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables that are not set. The block's end unsets them."""
    added = [name for name in settings if name not in os.environ]
    os.environ.update({name: settings[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
