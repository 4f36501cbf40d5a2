"""How a learner is spread over processes."""

from __future__ import annotations

from accelerate import Accelerator
from torch import nn
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

from worldmodel.data.loader import Batch
from worldmodel.training.learner import Learner
from worldmodel.training.optimizer import OptimConfig, Optimizers, build_optimizers

Wrapped = nn.Module


def spread(learner: Learner, config: OptimConfig, accelerator: Accelerator, parallel: str) -> tuple[Wrapped, Optimizers]:
    """Wrap for DDP through Accelerate, or shard weights and moments over ranks (FSDP2); and the optimizers of what came out."""
    learner = learner.to(accelerator.device)
    if parallel == "fsdp2" and accelerator.num_processes > 1:
        shard(learner)
        return learner, build_optimizers(learner, config)  # after sharding: they must hold the shards, not the whole weights
    return accelerator.prepare_model(learner), build_optimizers(learner, config)


def shard(learner: Learner) -> None:
    """FSDP2: every block, then encoder, predictor and teacher, are gathered when they run and freed again after."""
    model = learner.model
    for part in (model.encoder, model.predictor, model.teacher):
        if part is not None:
            for layer in part.blocks.layers:
                fully_shard(layer)
            fully_shard(part)
    for name in model.predictor.called_by_name:  # without this its weights would not be gathered there
        register_fsdp_forward_method(model.predictor, name)
    fully_shard(learner)
    register_fsdp_forward_method(learner, "statistics")


def settle(learner: Wrapped, batch: Batch) -> None:
    """Run twice through an empty batch, so that DDP has laid out its buckets before any state is loaded.

    DDP orders its buckets anew after the first backward pass; with three or more ranks sums are then taken in another
    order, and a resumed run would differ from an uninterrupted one in the last bit.
    """
    for _ in range(2):
        learner(batch).total.backward()
    learner.zero_grad(set_to_none=True)


def unwrapped(learner: Wrapped) -> Learner:
    inner = learner.module if isinstance(learner, nn.parallel.DistributedDataParallel) else learner
    assert isinstance(inner, Learner)
    return inner
