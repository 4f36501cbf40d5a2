"""Time of a training step by operation, measured by torch's profiler."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from torch.profiler import ProfilerActivity, profile

Times = Counter[str]
"""Milliseconds by operation, each without the operations that it calls."""


def times_by_operation(step: Callable[[], object]) -> Times:
    """Profile one step."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        step()
    return Counter({event.key: event.self_cpu_time_total / 1e3 for event in profiled.key_averages()})


def least_times(steps: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Times]:
    """Profile several steps in turn; the least time of each operation, which other load on the machine changes least."""
    found: dict[str, list[Times]] = {name: [] for name in steps}
    for number in range(rounds + 1):
        for name, step in steps.items():
            times = times_by_operation(step)
            if number:  # the first step allocates
                found[name].append(times)
    return {name: least_of(times) for name, times in found.items()}


def least_of(steps: list[Times]) -> Times:
    """The least time of each operation. One that some steps lack counts as 0."""
    names = {name for times in steps for name in times}
    return Counter({name: min(times[name] for times in steps) for name in names})
