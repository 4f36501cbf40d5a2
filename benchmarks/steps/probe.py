"""One contender in a process of its own: CPU time and peak memory of its training step.

    python -m benchmarks.steps.probe '{"contender": "ours", "case": "tiny64", "precision": "bf16"}'

Optional fields: frames, size_px, width and batch replace those of the case. Contender "causal" has no other sizes of a case.
"""

from __future__ import annotations

import json
import os
import re
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

STEPS = 5
ROOT = Path(__file__).parents[2]
STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class StepUse:
    """What a training step uses."""

    cpu_s: float  # median of several steps
    peak_bytes: int  # largest resident set size, minus that before the model was built


def probe(**request: Any) -> StepUse:
    """Measure in a new process; see the fields above."""
    command = [sys.executable, "-m", "benchmarks.steps.probe", json.dumps(request)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    return StepUse(**json.loads(done.stdout.splitlines()[-1]))


def measure(contender: str, case: str, precision: Any, batch: int | None = None, **changed: int) -> StepUse:
    """Measure in this process."""
    import torch

    from benchmarks.steps.cases import CASES, resized
    from benchmarks.steps.causal_step import build_causal_step, causal_recipe
    from benchmarks.steps.contenders import build_step

    torch.set_num_threads(1)
    if contender == "transformers":
        import_module("transformers.models.vjepa2.modeling_vjepa2")  # so that its import does not count
    before, times = peak_resident_bytes(), []
    if contender == "causal":
        step = build_causal_step(causal_recipe(batch=batch or 1, **changed), precision)
    else:
        chosen = resized(CASES[case], **changed)
        step = build_step(contender, replace(chosen, batch=batch or chosen.batch), precision)
    for _ in range(STEPS):
        start = time.process_time()
        step()
        times.append(time.process_time() - start)
    return StepUse(statistics.median(times[1:]), peak_resident_bytes() - before)


def peak_resident_bytes() -> int:
    """Largest resident set size of this process so far. Linux has it in a file; getrusage would include the parent process."""
    if STATUS.exists():
        return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text())[1])  # type: ignore[index]
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    print(json.dumps(vars(measure(**json.loads(sys.argv[1])))))
