"""Run `worldmodel/train.py` of a folder up to its first update and write the times of its parts. See benchmarks/startup.py.

    python startup_child.py ROOT RESULT.json [recipe and overrides]

This program imports nothing of the project and nothing that is slow. It wraps functions of the project when their modules are
imported, so that it measures commits that know nothing of it.
"""

from __future__ import annotations

import functools
import json
import os
import resource
import runpy
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_TIMED = {  # module -> functions whose time belongs to a part
    "worldmodel.data.loader": {
        "open_windows": "manifest", "read_fixed_batch": "held-out windows", "begin_fixed_batch": "held-out windows",
    },
    "worldmodel.training.setup": {"build_learner": "model", "distribute": "optimizers"},
}  # fmt: skip
_MARKED = {  # module -> functions that are noted when they are called
    "worldmodel.recipe": ("read_recipe",),
    "worldmodel.runs.save_run": ("save_recipe",),
    "worldmodel.training.optimizer": ("set_lr",),
}


class Recorder:
    """Notes CPU and wall time. As a finder of modules it wraps the functions above."""

    def __init__(self, result: str) -> None:
        self._result = result
        self._marks: dict[str, tuple[float, float]] = {}
        self._parts: tuple[dict[str, float], dict[str, float]] = (defaultdict(float), defaultdict(float))  # CPU, wall
        self._last_update = self._now()

    def find_spec(self, name: str, path: Sequence[str] | None, _target: ModuleType | None = None) -> ModuleSpec | None:
        """Find the modules that are wrapped; leave the others to Python."""
        if name == "accelerate":
            self._marks.setdefault(name, self._now())
        if name not in _TIMED and name not in _MARKED:
            return None
        spec = PathFinder.find_spec(name, path)
        assert spec is not None
        assert spec.loader is not None
        execute = spec.loader.exec_module

        def execute_and_wrap(module: ModuleType) -> None:
            execute(module)
            for function, part in _TIMED.get(name, {}).items():
                if hasattr(module, function):
                    setattr(module, function, self._timed(getattr(module, function), part))
            for function in _MARKED.get(name, ()):
                setattr(module, function, self._marked(getattr(module, function)))

        spec.loader.exec_module = execute_and_wrap  # type: ignore[method-assign]
        return spec

    def _timed(self, function: Callable[..., Any], part: str) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            before = self._now()
            result = function(*args, **kwargs)
            self._add(part, before, self._now())
            return self._timed(result, part) if function.__name__ == "begin_fixed_batch" else result  # a function that waits

        return run

    def _marked(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            if function.__name__ == "set_lr":
                self._begin_step()
            self._marks.setdefault(function.__name__, self._now())
            result = function(*args, **kwargs)
            self._marks.setdefault(f"{function.__name__} returned", self._now())
            return result

        return run

    def _begin_step(self) -> None:
        """At the first step, watch the optimizers. At the second, write the times and end the process."""
        if "set_lr" in self._marks:
            self._write()
            os._exit(0)
        from torch.optim.optimizer import register_optimizer_step_post_hook

        register_optimizer_step_post_hook(self._note_update)

    def _note_update(self, *_args: object) -> None:
        self._last_update = self._now()

    def _now(self) -> tuple[float, float]:
        return time.process_time(), time.monotonic()

    def _add(self, part: str, begin: tuple[float, float], end: tuple[float, float]) -> None:
        for total, before, after in zip(self._parts, begin, end, strict=True):
            total[part] += after - before

    def _write(self) -> None:
        import psutil

        own = psutil.Process()
        started = (0.0, time.monotonic() - (time.time() - own.create_time()))
        marks, end = self._marks, self._last_update
        self._add("Python and torch", started, marks["accelerate"])
        self._add("other imports", marks["accelerate"], marks["read_recipe"])
        self._add("first batch", marks["save_recipe returned"], marks["set_lr"])
        self._add("first step", marks["set_lr"], end)
        for number, total in enumerate(self._parts):
            total["rest"] = end[number] - started[number] - sum(total.values())
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        workers = ended.ru_utime + ended.ru_stime + sum(sum(child.cpu_times()[:2]) for child in own.children(recursive=True))
        found = {"cpu_s": end[0] - started[0] + workers, "wall_s": end[1] - started[1], "workers_cpu_s": workers}
        found["created"] = own.create_time()  # seconds since the epoch
        with open(self._result, "w", encoding="utf-8") as file:
            json.dump({**found, "parts_cpu_s": self._parts[0], "parts_wall_s": self._parts[1]}, file)


if __name__ == "__main__":
    root, result, *arguments = sys.argv[1:]
    sys.path[0] = root  # instead of the folder of this file
    sys.meta_path.insert(0, Recorder(result))
    sys.argv = [os.path.join(root, "worldmodel", "train.py"), *arguments]
    runpy.run_path(sys.argv[0], run_name="__main__")
