"""What a recipe needs on so many processors of a kind, from the trace of one step and named assumptions."""

from __future__ import annotations

from dataclasses import dataclass

from worldmodel.data.loader import decode_size_px
from worldmodel.estimate.hardware import Processor
from worldmodel.estimate.trace import StepCost, trace_step
from worldmodel.recipe import Recipe


@dataclass(frozen=True)
class Assumptions:
    """Numbers that a trace does not give. Each of them is a flag of the command."""

    utilisation: float = 0.45
    """executed FLOPs per second / peak of the processor"""
    reserve_gb: float = 2.0
    """GB of a GPU for its context, libraries and what the allocator cannot use"""
    source_fps: float = 30.0
    """frames per second of the video files; all frames of a window's time are decoded"""
    source_px: int | None = None
    """short side of the video files; null = that of the decoded frames, as after `data_prep transcode`"""
    decode_ns_per_px: float = 2.6
    """CPU time to decode one pixel: 14 ms for 61 frames of 398 x 224 px on one core"""
    kbit_per_s: float = 1000.0
    """bit rate of the video files"""


@dataclass(frozen=True)
class Estimate:
    """All numbers are for one process (one GPU, or one core of a CPU) unless they say otherwise. Bytes are decimal."""

    processor: Processor
    processes: int
    step: StepCost
    model_flops: int  # of a step, without the second forward pass of activation checkpointing
    weights: int  # bytes, of the own shard under FSDP2; so are gradients and moments
    gradients: int
    moments: int
    activations: int
    buffers: int  # bytes of buffers of DDP, or of gathered weights of FSDP2
    wire: int  # bytes that a process sends in a step
    step_s: float  # computation alone: without waiting for data or other processes
    clips_per_s: float
    decode_cores: float
    storage_bytes_per_s: float
    total_s: float  # all steps of the recipe
    reserve: int

    @property
    def peak_bytes(self) -> int:
        """Largest number of bytes in use at once, with the reserve of a GPU."""
        return self.weights + self.moments + self.activations + self.buffers + self.reserve

    @property
    def fits(self) -> bool:
        """Whether the step fits into the memory of the processor. True if that memory is not known."""
        return self.processor.memory_bytes is None or self.peak_bytes <= self.processor.memory_bytes


def estimate(recipe: Recipe, processor: Processor, processes: int, assumptions: Assumptions) -> Estimate:
    """Estimate a recipe. Raises ConfigError where the batch cannot be divided among so many processes."""
    step = trace_step(recipe, processes, processor.is_gpu)
    model_flops = step.flops
    if recipe.model.activation_checkpointing:
        plain = recipe.model.model_copy(update={"activation_checkpointing": False})
        model_flops = trace_step(recipe.model_copy(update={"model": plain}), processes, processor.is_gpu).flops
    sharded = recipe.train.parallel == "fsdp2" and processes > 1
    bf16 = recipe.train.precision != "fp32"
    share = processes if sharded else 1
    step_s = step.flops / (processor.peak_flops_per_s(recipe.train.precision) * assumptions.utilisation)
    clips_per_s = step.clips / step_s
    window_s = recipe.window.duration_s
    return Estimate(
        processor=processor,
        processes=processes,
        step=step,
        model_flops=model_flops,
        weights=step.weights // share,
        gradients=step.gradients // share,
        moments=step.moments // share,
        # gradients are whole where they are made and are then sharded, so the peak hardly changes
        activations=step.activations,
        buffers=_buffers(step, processes, sharded, bf16),
        wire=wire_bytes(
            step.gradients,
            processes,
            sharded,
            halved=step.blocks if bf16 else 0,
            frozen=step.frozen.all - (step.frozen.halvable // 2 if bf16 else 0),
        ),
        step_s=step_s,
        clips_per_s=clips_per_s,
        decode_cores=clips_per_s * decode_s_per_clip(recipe, assumptions),
        storage_bytes_per_s=clips_per_s * window_s * assumptions.kbit_per_s * 1000 / 8,
        total_s=step_s * recipe.train.max_steps,
        reserve=int(assumptions.reserve_gb * 1e9) if processor.is_gpu else 0,
    )


def wire_bytes(gradients: int, processes: int, sharded: bool, halved: int = 0, frozen: int = 0) -> int:
    """Bytes that a process sends in a step, by rings: DDP reduces and gathers gradients, FSDP2 also gathers weights twice.

    halved: bytes of the trained weights that FSDP2 gathers in bfloat16. All others are float32. frozen: bytes that FSDP2
    gathers of weights that are not trained. Left out are the weights of a teacher, which are gathered once, the statistics of
    the objectives (`benchmarks/statistics_cost.py`), and what FSDP2 gathers again for each further micro-batch and for each
    further call of a predictor by rollouts.
    """
    rounds = 3 if sharded else 2  # of (processes - 1) / processes of all values each
    return (rounds * gradients + (frozen - halved if sharded else 0)) * (processes - 1) // processes


def decode_s_per_clip(recipe: Recipe, assumptions: Assumptions) -> float:
    """CPU seconds to decode one window: all frames of its time, 16:9."""
    short_px = assumptions.source_px or decode_size_px(recipe.data, recipe.window, recipe.augment.crops)
    stride = recipe.window.stride_frames or max(1.0, assumptions.source_fps / recipe.window.fps)
    frames = (recipe.window.frames - 1) * stride + 1
    return frames * short_px**2 * 16 / 9 * assumptions.decode_ns_per_px * 1e-9


def _buffers(step: StepCost, processes: int, sharded: bool, bf16: bool) -> int:
    if processes == 1:
        return 0
    # FSDP2: the weights of the block that runs and of the next one; DDP: a copy of all gradients in buckets
    return 2 * step.largest_block // (2 if bf16 else 1) if sharded else step.gradients
