"""Training steps of this checkout against those of another commit, which is checked out into a temporary folder."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from benchmarks.measure import Spread, spread_of

ROOT = Path(__file__).parents[2]
STEPS = 3  # at once


@dataclass(frozen=True)
class Speedup:
    """A recipe at two commits."""

    recipe: str
    precision: str
    before_s: tuple[float, ...]  # CPU seconds of a step of the other commit, one value per round
    now_s: tuple[float, ...]  # the same of this checkout
    loss_before: float  # of the first step
    loss_now: float

    @property
    def ratio(self) -> Spread:
        """CPU time of the other commit divided by that of this checkout."""
        return spread_of([before / now for before, now in zip(self.before_s, self.now_s, strict=True)])


class Worker:
    """A process that runs steps on demand; a context manager."""

    def __init__(self, checkout: Path, recipe: Path, precision: str) -> None:
        command = [sys.executable, str(Path(__file__).with_name("commit_worker.py")), str(recipe), precision]
        environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            command, env=environment, cwd=checkout, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answer()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.process.communicate()

    def steps(self, count: int) -> tuple[float, float]:
        """Run steps; return CPU seconds of one, and the last loss."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        cpu_s, loss = self._answer().split()
        return float(cpu_s), float(loss)

    def _answer(self) -> str:
        assert self.process.stdout is not None
        if not (line := self.process.stdout.readline()):
            raise SystemExit(f"{self.process.args!r} ended; its error is above")
        return line


def compare(commit: str, recipes: list[Path], precisions: tuple[str, ...], rounds: int) -> Iterator[Speedup]:
    """Compare each recipe of this checkout in each precision; the rounds of both commits alternate."""
    with checked_out(commit) as other:
        for recipe in recipes:
            for precision in precisions:
                with ExitStack() as stack:
                    before, now = (stack.enter_context(Worker(path, recipe, precision)) for path in (other, ROOT))
                    first = before.steps(1), now.steps(1)
                    pairs = [
                        (before.steps(STEPS), now.steps(STEPS)) if number % 2 else (now.steps(STEPS), before.steps(STEPS))[::-1]
                        for number in range(rounds)
                    ]
                times = tuple(zip(*((b[0], n[0]) for b, n in pairs), strict=True))
                yield Speedup(recipe.stem, precision, times[0], times[1], first[0][1], first[1][1])


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """A temporary folder with the files of a commit."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "checkout"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--detach", str(target), commit], check=True, capture_output=True)
        try:
            yield target
        finally:
            subprocess.run([*git, "remove", "--force", str(target)], check=True, capture_output=True)
