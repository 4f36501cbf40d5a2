"""What the nodes of a cluster must share: files, and versions of everything that decides the bytes of an output."""

from __future__ import annotations

import hashlib
import os
import platform
import secrets
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from worldmodel.files.atomic import write_text
from worldmodel.storage.urls import is_url

PACKAGES = ("av", "numpy", "scipy", "mujoco", "pillow", "pyarrow")
SOURCE = "source code of this project"
_SHARED = "the nodes of a cluster exchange files through folders that all of them see under the same path, or through URLs"
_LOOKS, _WAIT_S = 5, 1.0  # a network file system shows new files after some time


@dataclass(frozen=True)
class NodeReport:
    """What a node says of itself. `unseen` is a file or folder that it does not see as the driver does."""

    host: str
    versions: Mapping[str, str]
    unseen: str | None


@dataclass(frozen=True)
class SharedState:
    """What the driver has."""

    versions: Mapping[str, str]
    inputs: tuple[tuple[str, int | None], ...]
    """(path, size in bytes), or (path, None) for a folder."""
    probe: tuple[str, str] | None
    """A temporary file of the output folder, and its content."""

    def report(self) -> NodeReport:
        """Compare the files. Runs on a node."""
        unseen = self._unseen()
        for _ in range(_LOOKS - 1):
            if unseen is None:
                break
            time.sleep(_WAIT_S)
            unseen = self._unseen()
        return NodeReport(socket.gethostname(), versions(), unseen)

    def _unseen(self) -> str | None:
        for path, size in self.inputs:
            if not (os.path.isdir(path) if size is None else os.path.isfile(path) and os.path.getsize(path) == size):
                return path
        if self.probe is not None:
            path, content = self.probe
            try:
                same = Path(path).read_text(encoding="utf-8") == content
            except OSError:
                same = False
            if not same:
                return os.path.dirname(path)
        return None

    def problem(self, report: NodeReport) -> str | None:
        """A sentence on what the node does not share, or None."""
        if report.unseen is not None:
            return f"node {report.host} does not see {report.unseen} as this machine does; {_SHARED}"
        for name, here in self.versions.items():
            there = report.versions.get(name)
            if there == here or (name == SOURCE and there == source_digest()):  # edited since the command began
                continue
            if name == SOURCE:
                return f"node {report.host} has another version of this project; install the same one on every node"
            return f"node {report.host} has {name} {there}, this machine has {here}; install the same version on every node"
        return None


@contextmanager
def shared_state(reads: Sequence[str | os.PathLike[str]], writes: str | os.PathLike[str] | None) -> Iterator[SharedState]:
    """The state of this machine. While the block runs, the output folder holds a file by which nodes recognise it.

    Inputs that do not exist are left out. A missing output folder is represented by the nearest one above it.
    Raises OutputError.
    """
    names = [os.fspath(path) for path in reads]
    paths = [os.path.abspath(name) for name in names if not is_url(name) and os.path.exists(name)]
    inputs = tuple((path, None if os.path.isdir(path) else os.path.getsize(path)) for path in paths)
    if writes is None or is_url(os.fspath(writes)):
        yield SharedState(versions(), inputs, None)
        return
    folder = Path(os.path.abspath(writes))
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    content = secrets.token_hex(16)
    probe = folder / f".data_prep-{content[:8]}.probe"
    write_text(probe, content)
    try:
        yield SharedState(versions(), inputs, (str(probe), content))
    finally:
        probe.unlink(missing_ok=True)


def versions() -> dict[str, str]:
    """Versions that decide the bytes of an output."""
    found = {SOURCE: source_digest(), "Python": ".".join(platform.python_version_tuple()[:2])}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def source_digest() -> str:
    """Digest of the source files of data_prep and worldmodel."""
    digest, root = hashlib.sha256(), Path(__file__).resolve().parents[2]
    for package in ("data_prep", "worldmodel"):
        for file in sorted((root / package).rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()
