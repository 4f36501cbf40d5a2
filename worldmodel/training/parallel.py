"""Distribution of a learner over processes: DDP or FSDP2."""

from __future__ import annotations

from accelerate import Accelerator
from torch import nn

from worldmodel.data.loader import Batch
from worldmodel.training.learner import Learner
from worldmodel.training.optimizer import OptimConfig, Optimizers, build_optimizers


def parallelise(learner: Learner, config: OptimConfig, accelerator: Accelerator, parallel: str) -> tuple[nn.Module, Optimizers]:
    """Wrap the learner with DDP through Accelerate, or shard weights and optimizer state over ranks (FSDP2).

    Returns the wrapped learner and its optimizers.
    """
    learner = learner.to(accelerator.device)
    if parallel == "fsdp2" and accelerator.num_processes > 1:
        shard(learner)
        return learner, build_optimizers(learner, config)  # after sharding, so that they hold shards, not whole weights
    # the learner is on its device; to find that out, Accelerate would import torch.distributed.tensor
    return accelerator.prepare_model(learner, device_placement=True), build_optimizers(learner, config)


def shard(learner: Learner) -> None:
    """Apply FSDP2. The weights of each block, then of encoder, predictor and teacher, are gathered when they run."""
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method  # takes a second and 45 MB

    model = learner.model
    for part in (model.encoder, model.predictor, model.teacher):
        if part is not None:
            for layer in part.blocks.layers:
                fully_shard(layer)
            fully_shard(part)
    for name in model.predictor.extra_forward_methods:  # without this their weights would not be gathered
        register_fsdp_forward_method(model.predictor, name)
    fully_shard(learner)
    register_fsdp_forward_method(learner, "statistics")


def warm_up_ddp(learner: nn.Module, batch: Batch) -> None:
    """Run two passes without an optimizer step, so that DDP has its final buckets before a state is loaded.

    DDP rebuilds its buckets after the first backward pass. With three or more ranks, sums are then added in another order,
    and a resumed run would differ from an uninterrupted one in the last bit.
    """
    for _ in range(2):
        learner(batch).total.backward()
    learner.zero_grad(set_to_none=True)


def unwrap(learner: nn.Module) -> Learner:
    """Return the learner without its DDP wrapper."""
    inner = learner.module if isinstance(learner, nn.parallel.DistributedDataParallel) else learner
    assert isinstance(inner, Learner)
    return inner
