"""Run mutations in child processes and report those that raised, crashed, hung or used too much memory.

python -m fuzz.campaign videos 2000 [SEED]     # findings on standard output

"""

from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

FAMILIES = ("videos", "tables", "texts", "weights")
READ_S = 20.0  # limit for one read of a tiny file; a longer one counts as a hang
START_S = 120.0
MOST_FINDINGS = 20


def findings(family: str, count: int, seed: int = 0) -> list[str]:
    """One line per kind of finding, with the seed that repeats it and the path of the damaged file."""
    found: dict[str, str] = {}
    turn = 0
    while turn < count and len(found) < MOST_FINDINGS:
        turn = _run(family, turn, count, seed, found)
    return list(found.values())


def _run(family: str, first: int, last: int, seed: int, found: dict[str, str]) -> int:
    """Run one child process. Returns the turn at which the next one continues."""
    folder = tempfile.mkdtemp(prefix="fuzz")
    command = [sys.executable, "-m", "fuzz.child", family, str(first), str(last), str(seed), f"{folder}/child"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).resolve().parents[3]), *sys.path])}
    with tempfile.TemporaryFile() as output:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=output, env=environment)
        assert child.stdout is not None
        turn, name, path = first, "", ""

        def note(what: str, where: str) -> None:
            kind = f"{name} {what.partition(':')[0]} {what.rpartition('(at ')[2]}"
            found.setdefault(kind, f"{family} seed {seed} turn {turn} ({name}): {what}; the file is {where}")

        try:
            for row in _rows(child):
                turn, name, path = row["turn"], row["name"], row["path"]
                if "finding" in row:
                    note(row["finding"], path)
            child.wait(timeout=READ_S)
        except TimeoutError:
            note(f"no answer within {READ_S:g} s", _saved(path, turn))
            return turn + 1
        finally:
            child.kill()
            child.wait()
        if child.returncode:
            output.seek(0)
            last_output = output.read()[-2000:].decode(errors="replace")
            died = child.returncode < 0
            how = (
                f"killed by {signal.Signals(-child.returncode).name}"
                if died
                else f"exit code {child.returncode}: {last_output}"
            )
            note(how, _saved(path, turn))
            return turn + 1 if died or name else last
    return last


def _rows(child: subprocess.Popen):
    """Lines of the child. Raises TimeoutError where one arrives more than READ_S after the previous one."""
    wait_s, waiting = START_S, b""
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(wait_s):
                raise TimeoutError
            chunk = os.read(child.stdout.fileno(), 1 << 16)
            if not chunk:
                return
            wait_s = READ_S
            *lines, waiting = (waiting + chunk).split(b"\n")
            yield from map(json.loads, lines)


def _saved(path: str, turn: int) -> str:
    """The path of a copy of the damaged file, because the folder of the child is removed."""
    if not path or not os.path.exists(path):
        return "lost"
    return str(shutil.copy(path, Path(tempfile.mkdtemp(prefix="found")) / f"{turn}-{Path(path).name}"))


if __name__ == "__main__":
    for line in findings(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0):
        print(line)
