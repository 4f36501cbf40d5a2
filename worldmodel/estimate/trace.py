"""FLOPs and memory of a training step, from a run of the real code on tensors without data.

The step runs under torch's FakeTensorMode: every operator computes shapes and dtypes only, so a step of a large model takes
seconds and no memory, and no videos are needed. FLOPs are those of matrix products, convolutions and attention, as
torch.utils.flop_counter counts them (2 m k n for a product of [m, k] and [k, n]). Bytes are those of all live tensors.
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import takewhile
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

from worldmodel.config import ConfigError
from worldmodel.data.augmentation.augment import UNIFORMS_PER_SAMPLE
from worldmodel.data.loader import Batch, decode_frame_px
from worldmodel.models import causal
from worldmodel.models.blocks import attention
from worldmodel.recipe import Recipe
from worldmodel.training.learner import global_statistics
from worldmodel.training.optimizer import Optimizers, build_optimizers, clip_gradients
from worldmodel.training.setup import build_learner

aten = torch.ops.aten


@dataclass(frozen=True)
class Gathered:
    """Bytes in float32 that FSDP2 gathers in one step."""

    all: int = 0
    halvable: int = 0  # of attention and MLPs, which are gathered in bfloat16 with train.precision bf16


@dataclass(frozen=True)
class StepCost:
    """What one process computes and holds in one training step of `clips` windows."""

    clips: int
    parameters: int  # trained ones
    weights: int  # bytes, with those of a teacher
    gradients: int  # bytes of the gradients of all weights
    moments: int  # bytes of the state of the optimizers
    activations: int  # bytes that the step adds at its peak: batch, activations, and gradients as far as they exist then
    largest_block: int  # bytes of the weights of the largest part that FSDP2 gathers at once
    blocks: int  # bytes of the trained weights of attention and MLPs, which FSDP2 gathers in bfloat16 with train.precision bf16
    frozen: Gathered  # weights of encoder and predictor that are not trained (optim.frozen, LoRA)
    flops: int  # executed, with recomputation by activation checkpointing

    @property
    def peak(self) -> int:
        """Largest number of bytes that are alive at once."""
        return self.weights + self.moments + self.activations


class StepMeter(TorchDispatchMode):
    """A context manager that counts FLOPs, and the bytes of all storages that operators allocate in it, while they are alive.

    torch's FlopCounterMode keeps what activation checkpointing computes again, so it cannot be used beside a count of bytes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0
        self.now = self.peak = 0  # bytes
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        operator = func.overloadpacket
        if operator is aten._scaled_dot_product_flash_attention_for_cpu:  # torch knows the FLOPs of kernels of GPUs only
            self.flops += sdpa_flop_count(*(tensor.shape for tensor in args[:3]))
        elif operator is aten._scaled_dot_product_flash_attention_for_cpu_backward:
            self.flops += sdpa_backward_flop_count(*(tensor.shape for tensor in args[:4]))
        elif operator in flop_registry:
            self.flops += flop_registry[operator](*args, **kwargs, out_val=result)
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self.add(tensor)
        return result

    def add(self, tensor: Tensor) -> None:
        """Count the storage of a tensor, unless it is counted already."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self._known.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._remove, key, size)

    def _remove(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


def trace_step(recipe: Recipe, processes: int, gpu: bool) -> StepCost:
    """Trace a training step of a recipe in one of so many processes.

    gpu: attention as on GPUs, without a matrix of scores, whatever this processor would choose. Raises ConfigError for
    objectives that must read data, and for a frozen teacher that is not filled in.
    """
    micro_batches = recipe.train.grad_accum_steps
    clips = recipe.data.batch_size // (processes * micro_batches)
    if clips * processes * micro_batches != recipe.data.batch_size:
        raise ConfigError(
            [f"data.batch_size {recipe.data.batch_size} is not divisible by {processes} processes x {micro_batches}"]
        )
    _check_traceable(recipe)
    ids = [torch.arange(clips) + clips * number for number in range(micro_batches)]  # real: masks are drawn from them
    with _without_data(gpu):
        learner = build_learner(recipe.model_copy(update={"train": recipe.train.model_copy(update={"compile": False})}))
        optimizers = build_optimizers(learner, recipe.optim)
        weights = sum(map(_nbytes, (*learner.parameters(), *learner.buffers())))
        size, frames = decode_frame_px(recipe.data, recipe.window, recipe.augment.crops), recipe.window.frames
        height, width = (size, size) if isinstance(size, int) else size

        def make_batch(window_ids: Tensor) -> Batch:
            pixels = torch.zeros(clips, frames, height, width, 3, dtype=torch.uint8)
            condition = getattr(recipe.model, "condition", None)
            actions = None if condition is None else torch.zeros(clips, frames - 1, condition.action_size)
            return Batch(pixels, torch.rand(clips, UNIFORMS_PER_SAMPLE), window_ids, actions=actions)

        def step() -> tuple[int, int]:
            """FLOPs, and bytes at the peak without weights and moments."""
            with StepMeter() as meter:
                for tensor in (*learner.parameters(), *learner.buffers(), *_state(optimizers)):
                    meter.add(tensor)
                before = meter.now
                _run(learner, recipe, [make_batch(window_ids) for window_ids in ids])
                clip_gradients(learner, recipe.optim.clip_norm)
                for optimizer in optimizers:
                    optimizer.step()
                    optimizer.zero_grad(set_to_none=True)
                learner.model.update_teacher(0.5)
                return meter.flops, meter.peak - before

        _make_moments(learner, optimizers)
        flops, activations = step()
        trained = [p for p in learner.parameters() if p.requires_grad]
        blocks = [layer for part in (learner.model.encoder, learner.model.predictor) for layer in part.blocks.layers]
        return StepCost(
            clips=clips * micro_batches,
            parameters=sum(p.numel() for p in trained),
            weights=weights,
            gradients=sum(map(_nbytes, trained)),
            moments=sum(map(_nbytes, _state(optimizers))),
            activations=activations,
            largest_block=max((sum(map(_nbytes, layer.parameters())) for layer in blocks), default=0),
            blocks=sum(_nbytes(p) for layer in blocks for p in _half_weights(layer) if p.requires_grad),
            frozen=_gathered_frozen(learner.model.encoder, learner.model.predictor),
            flops=flops,
        )


def _gathered_frozen(*parts: nn.Module) -> Gathered:
    """What FSDP2 gathers of weights that are not trained, of parts in the order in which a step runs them.

    Each group of weights is gathered for the forward pass. It is gathered again for the backward pass if something before
    it, or in it, is trained, because a gradient then passes through it. One more group is gathered ahead in vain: the one
    before the last that the backward pass reaches. See worldmodel.training.parallel.shard for the groups.
    """
    groups: list[tuple[list[nn.Parameter], bool, bool]] = []  # weights, whether gradients pass, whether bfloat16 is possible
    passes = False
    for part in parts:
        names = takewhile(lambda named: not named[0].startswith("blocks."), part.named_parameters())
        passes = passes or any(p.requires_grad for _, p in names)
        in_layers: set[nn.Parameter] = set()
        for layer in part.get_submodule("blocks.layers").children():
            passes = passes or any(p.requires_grad for p in layer.parameters())
            groups.append((_half_weights(layer), passes, True))
            in_layers.update(_half_weights(layer))
        passes = passes or any(p.requires_grad for p in part.parameters())
        groups.append(([p for p in part.parameters() if p not in in_layers], passes, False))
    everything = halvable = 0
    for (weights, passes, can_halve), following in zip(groups, [*groups[1:], ([], False, False)], strict=True):
        gathered = (2 if passes or following[1] else 1) * sum(_nbytes(p) for p in weights if not p.requires_grad)
        everything += gathered
        halvable += gathered if can_halve else 0
    return Gathered(everything, halvable)


def _half_weights(layer: nn.Module) -> list[nn.Parameter]:
    """The weights of a block that FSDP2 gathers in bfloat16; see worldmodel.training.parallel.shard."""
    return [*layer.get_submodule("attention").parameters(), *layer.get_submodule("mlp").parameters()]


def _make_moments(learner: nn.Module, optimizers: Optimizers) -> None:
    """Take a step with gradients of zero: the first step of an optimizer allocates its state."""
    for parameter in learner.parameters():
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    for optimizer in optimizers:
        optimizer.step()
    learner.zero_grad(set_to_none=True)


def _run(learner: Any, recipe: Recipe, batches: list[Batch]) -> None:
    """Forward and backward passes of one step, as worldmodel.train.step runs them."""
    exact = recipe.train.exact_accumulation and len(batches) > 1
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=recipe.train.precision != "fp32"):
        shared = global_statistics(learner, batches) if exact else [None] * len(batches)
    for batch, statistics in zip(batches, shared, strict=True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=recipe.train.precision != "fp32"):
            loss = learner(batch, statistics)
        loss.total.backward()


@contextmanager
def _without_data(gpu: bool) -> Iterator[None]:
    """Fake tensors. Tables that the models keep are dropped before and after, since fake and real ones must not mix."""
    causal.row_index.cache_clear()
    try:
        with ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", "Accessing the data pointer of FakeTensor")  # when a teacher is copied
            # this initialisation draws again while numbers are out of range, so it needs numbers
            stack.enter_context(mock.patch.object(nn.init, "trunc_normal_", lambda tensor, **_: tensor))
            if gpu:
                # autocast computes layer norms in float32 on CUDA, in bfloat16 on a CPU
                stack.enter_context(mock.patch.object(F, "layer_norm", _float32_layer_norm))
                stack.enter_context(mock.patch.object(attention, "multiplies_bfloat16", return_value=False))
            stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
            yield
    finally:
        causal.row_index.cache_clear()


_layer_norm = F.layer_norm


def _float32_layer_norm(values: Tensor, *args: Any, **options: Any) -> Tensor:
    return _layer_norm(values.float(), *args, **options)


def _check_traceable(recipe: Recipe) -> None:
    problems = [
        f"objectives.{name}: {objective.kind} needs real latents, so its step cannot be traced; leave it out of the estimate"
        for name, objective in recipe.objectives.items()
        if objective.kind in ("info_nce", "visreg")
    ]
    if recipe.model.target.kind == "frozen" and recipe.model.target.encoder is None:
        problems.append("model.target.encoder is filled in when training starts; give the recipe.yaml of a started run")
    if getattr(recipe.model, "frozen_encoder", None) is not None:
        problems.append("model.frozen_encoder: steps with a frozen encoder are not traced; leave it out of the estimate")
    condition = getattr(recipe.model, "condition", None)
    if condition is not None and condition.statistics is None:
        problems.append("model.condition.statistics is filled in when training starts; give the recipe.yaml of a started run")
    if problems:
        raise ConfigError(problems)


def _state(optimizers: Optimizers) -> list[Tensor]:
    """All tensors that optimizers keep between steps."""
    return [leaf for optimizer in optimizers for leaf in tree_leaves([*optimizer.state.values()]) if isinstance(leaf, Tensor)]


def _nbytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
