"""Trials of operations on a failing file system: checks after the failure, and after the operation is repeated."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MODES = {"full": 1, "short": 2, "once": 3, "gone": 4, "kill": 5}  # as in shim.c
TIMES = {"seconds", "samples_per_s", "data_wait_fraction", "digest"}  # fields that differ between runs
GROWING = ("metrics.jsonl", "health.jsonl", "bad_clips.jsonl")
STORES = ("cache/", "run/reference/")  # caches of results; a command does not fail where it cannot write them
CREATED = rb'"created": "[^"]*"'
CHANGING = re.compile(r"(metrics|health|bad_clips)\.jsonl$|^run/best\.json$|^run/checkpoints/\d+/|^cache/")
"""Files with more than two valid states, because a training has many checkpoints. `check_checkpoints` checks them."""
UNFINISHED = re.compile(r"\.part$|\.part\.jsonl$|(^|\.)lock(\.|$)|^\.outputs\.jsonl$")
BLAMES_THE_SOURCE = re.compile(r"corrupt|not a video|truncated|rejected|unreadable", re.IGNORECASE)


@dataclass(frozen=True)
class Ended:
    """How a process ended. A killed process has code = -signal and calls = None."""

    code: int
    calls: int | None
    output: str


class Server:
    """The process with the loaded shim that forks the operations."""

    def __init__(self, root: Path, process: subprocess.Popen[str]) -> None:
        self.root, self._process = root, process

    def run(self, name: str, folder: Path, mode: int = 0, at: int = 0) -> Ended:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"run": name, "folder": str(folder), "mode": mode, "at": at}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return Ended(**json.loads(self._process.stdout.readline()))


@contextmanager
def serving(shim: Path, root: Path) -> Iterator[Server]:
    root = root.resolve()
    alone = {
        "MPLCONFIGDIR": str(root.parent / "matplotlib"),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "COLUMNS": "400",
    }
    support = Path(__file__).resolve().parents[1]
    paths = os.pathsep.join([str(support.parents[1]), str(support)])
    environment = {**os.environ, **alone, "LD_PRELOAD": str(shim), "FAULTS_ROOT": str(root), "PYTHONPATH": paths}
    command = [sys.executable, "-m", "faults.server"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    try:
        yield Server(root, process)
    finally:
        process.communicate()  # it ends at the end of its input


class Campaign:
    """Trials of one operation. `before` and `after` are digests of the files of an undisturbed run."""

    def __init__(self, server: Server, name: str) -> None:
        self._server, self._name = server, name
        self._folder, self._template = server.root / "work", server.root.parent / f"before-{name}"
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()
        prepared = server.run(f"prepare_{name}", self._folder)
        assert prepared.code == 0, prepared.output
        shutil.copytree(self._folder, self._template, symlinks=True, dirs_exist_ok=True)
        self.before = contents(self._folder)
        undisturbed = server.run(name, self._folder)
        assert undisturbed.code == 0, undisturbed.output
        assert undisturbed.calls is not None
        self.calls, self.after = undisturbed.calls, contents(self._folder)
        again = self._restore().run(name, self._folder)
        differing = {name for name, content in contents(self._folder).items() if self.after.get(name) != content}
        assert (again.code, differing) == (0, set()), f"two undisturbed runs differ: {differing}, {again.output}"

    def trial(self, mode: str, at: int) -> list[str]:
        """Problems after a failure at the call `at`, and after the operation is repeated."""
        ended = self._restore().run(self._name, self._folder, MODES[mode], at)
        found, problems = contents(self._folder), []
        for name in sorted({*found, *self.before, *self.after}):
            if not CHANGING.search(name) and found.get(name) not in self._states(name):
                problems.append(f"{name} has neither the old nor the new content")
        problems += self._output_problems(mode, ended, found)
        if (self._folder / "run").is_dir():
            checked = self._server.run("check_checkpoints", self._folder)
            problems += [] if checked.code == 0 else [f"the checkpoints of the run: {checked.output}"]
        again = self._server.run(self._name, self._folder)
        if again.code:
            problems.append(f"the same command again ends with {again.code}: {again.output[-1500:]}")
        elif (last := contents(self._folder)) != self.after:
            differing = [name for name in sorted({*last, *self.after}) if last.get(name) != self.after.get(name)]
            problems.append(f"after the same command again, different from an undisturbed run: {', '.join(differing)}")
        left = [str(path.relative_to(self._folder)) for path in self._folder.rglob("*") if UNFINISHED.search(path.name)]
        if left := [name for name in left if not name.endswith((".outputs.jsonl", ".lock"))]:  # a stale lock is taken over
            problems.append(f"temporary files remain: {', '.join(left)}")
        return [f"{self._name}, {mode} at call {at}: {problem}" for problem in problems]

    def _restore(self) -> Server:
        shutil.rmtree(self._folder)
        shutil.copytree(self._template, self._folder, symlinks=True)
        return self._server

    def _states(self, name: str) -> set[str | None]:
        """Digests of contents that a file may have; None means that it may be missing."""
        return {self.before.get(name), self.after.get(name)}

    def _output_problems(self, mode: str, ended: Ended, found: dict[str, str]) -> list[str]:
        if mode == "kill":
            return [] if ended.code == -9 or found == self.after else [f"was not killed: {ended.code} {ended.output}"]
        problems = []
        lacking = [name for name, content in self.after.items() if found.get(name) != content and not name.startswith(STORES)]
        if ended.code == 0 and lacking:
            problems.append(f"the exit code is 0, but results are missing: {', '.join(lacking)}: {ended.output[-500:]}")
        if "Traceback" in ended.output or ended.code not in (0, 1, 2):
            problems.append(f"exit code {ended.code} without a one-line reason: {ended.output[-1500:]}")
        elif ended.code and BLAMES_THE_SOURCE.search(re.sub(r"\S+/\S+", "", ended.output.strip().splitlines()[-1])):
            problems.append(f"the message blames the source: {ended.output[-300:]}")
        elif ended.code and str(self._folder) not in ended.output.strip().splitlines()[-1]:
            problems.append(f"the message names no file: {ended.output[-300:]}")
        return problems


def contents(folder: Path) -> dict[str, str]:
    """Digests of all finished files by name, without times."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        path.relative_to(folder).as_posix(): _digest(path)
        for path in files
        if not any(UNFINISHED.search(part) for part in path.relative_to(folder).parts)
    }


def _digest(path: Path) -> str:
    content = path.read_bytes()
    if path.name in ("state.json", *GROWING):
        lines = [content] if path.name == "state.json" else content.splitlines()
        try:
            rows = [{key: value for key, value in json.loads(line).items() if key not in TIMES} for line in lines]
        except ValueError:
            rows = [{"incomplete line": True}]
        content = json.dumps(rows).encode()
    elif path.suffix == ".html":
        content = content[-20:]  # only whether it is complete: it has videos, for which x264 gives varying bytes
    elif path.suffix == ".npz":
        with suppress(ValueError, OSError, zipfile.BadZipFile), np.load(path, allow_pickle=False) as arrays:
            whole = b"".join(name.encode() + arrays[name].tobytes() for name in sorted(arrays))
            content = re.sub(CREATED, b"", whole.replace(b"\0", b""))
    return hashlib.sha256(content).hexdigest()[:16]
