"""Peak speeds and memory of processors: of GPUs from the data sheets of their makers, of a CPU core measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Processor:
    """One GPU, or one core of a CPU."""

    name: str
    memory_bytes: int | None  # None: that of the machine, which is not known
    bf16_flops_per_s: float  # dense, sums in float32
    fp32_flops_per_s: float  # without TF32, which this project does not turn on
    is_gpu: bool = True

    def peak_flops_per_s(self, precision: str) -> float:
        """Peak at `train.precision`; "auto" is bf16."""
        return self.fp32_flops_per_s if precision == "fp32" else self.bf16_flops_per_s


GB = 10**9
PROCESSORS = {
    "h100": Processor("NVIDIA H100 SXM, 80 GB", 80 * GB, 989e12, 67e12),
    "h200": Processor("NVIDIA H200 SXM, 141 GB", 141 * GB, 989e12, 67e12),
    "a100": Processor("NVIDIA A100 SXM, 80 GB", 80 * GB, 312e12, 19.5e12),
    "rtx4090": Processor("NVIDIA GeForce RTX 4090, 24 GB", 24 * GB, 165e12, 82.6e12),
    # one core with AVX-512 BF16: the products of matrices that `benchmarks/step.py` measures, see docs/speed_training.md
    "cpu": Processor("one CPU core with AVX-512 BF16", None, 0.2e12, 0.087e12, is_gpu=False),
}
