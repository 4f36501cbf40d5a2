"""How time and memory of a training step grow with frames, pixels a side and width."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.steps.probe import StepUse, probe

SIZES: dict[str, dict[str, tuple[int, ...]]] = {  # by family of models
    "masked": {"frames": (8, 16, 32, 64), "size_px": (64, 96, 128, 192), "width": (96, 192, 384)},
    "causal": {"frames": (16, 32, 64), "size_px": (64, 96, 128, 192), "width": (128, 192, 384)},
}
CONTENDERS = {"masked": "ours", "causal": "causal"}
CASE = "tiny128"


@dataclass(frozen=True)
class Growth:
    """A step at several sizes. time and memory grow with size to the power of these exponents."""

    family: str
    precision: str
    varied: str
    uses: dict[int, StepUse]
    time_exponent: float
    memory_exponent: float


def measure_growth(family: str, precision: str, varied: str) -> Growth:
    """One clip of 16 frames, 128 px and width 192, with one of these varied."""
    request = {"contender": CONTENDERS[family], "case": CASE, "precision": precision, "batch": 1}
    uses = {size: probe(**request, **{varied: size}) for size in SIZES[family][varied]}
    times = {size: use.cpu_s for size, use in uses.items()}
    memory = {size: use.peak_bytes for size, use in uses.items()}
    return Growth(family, precision, varied, uses, exponent(times), exponent(memory))


def exponent(values: Mapping[int, float]) -> float:
    """Slope of the least-squares line through the logarithms."""
    xs, ys = [math.log(x) for x in values], [math.log(y) for y in values.values()]
    x_mean, y_mean = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True)) / sum((x - x_mean) ** 2 for x in xs)
