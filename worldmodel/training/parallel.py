"""Distribution of a learner over processes: DDP or FSDP2."""

from __future__ import annotations

from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from worldmodel.data.loader import Batch
from worldmodel.models import TrainedModel
from worldmodel.models.blocks.layers import Blocks
from worldmodel.models.pretrained.frozen_encoder import FrozenEncoder
from worldmodel.training.learner import Learner
from worldmodel.training.optimizer import OptimConfig, Optimizers, build_optimizers


def parallelise(learner: Learner, config: OptimConfig, accelerator: Accelerator, parallel: str) -> tuple[nn.Module, Optimizers]:
    """Wrap the learner with DDP through Accelerate, or shard weights and optimizer state over ranks (FSDP2).

    Returns the wrapped learner and its optimizers.
    """
    learner = learner.to(accelerator.device)
    if parallel == "fsdp2" and accelerator.num_processes > 1:
        shard(learner, bf16=accelerator.mixed_precision == "bf16")
        return learner, build_optimizers(learner, config)  # after sharding, so that they hold shards, not whole weights
    # the learner is on its device; to find that out, Accelerate would import torch.distributed.tensor
    return accelerator.prepare_model(learner, device_placement=True), build_optimizers(learner, config)


def shard(learner: Learner, bf16: bool = False) -> None:
    """Apply FSDP2. Attention and MLP of each block, and the rest of encoder, predictor and teacher, are gathered when they run.

    bf16: the weights of attention and MLPs (nearly all weights) are gathered in bfloat16, and their gradients are averaged in
    float32. All others are gathered in float32: norms, positions, mask tokens, embeddings and heads. A norm's weights are about
    1, where bfloat16 has steps of 0.008, so that in bfloat16 the changes of many training steps would not be seen. Autocast
    then computes everything in the dtypes of one process.
    """
    # the imports take a second and 45 MB
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

    policy: dict[str, Any] = {}
    if bf16:
        # inputs stay as they are, because autocast converts them where one process would
        half = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False)
        policy = {"mp_policy": half}
    model = learner.model
    for part in (model.encoder, model.predictor, model.teacher):
        if part is not None:
            for layer in part.blocks.layers:
                # one group, gathered when attention begins; the norms of the block belong to the group of `part`
                fully_shard([layer.get_submodule("attention"), layer.get_submodule("mlp")], **policy)
            fully_shard(part)
    for name in model.predictor.extra_forward_methods:  # without this their weights would not be gathered
        register_fsdp_forward_method(model.predictor, name)
    fully_shard(learner)
    register_fsdp_forward_method(learner, "statistics")


def compile_model(model: TrainedModel, by_block: bool) -> None:
    """Let torch.compile translate encoder and predictor at their first call; a teacher is left as it is.

    by_block: each block on its own, for FSDP2, which gathers weights in between. Otherwise the encoder as a whole, and the part
    of the predictor that all its forward methods share.
    """
    if not by_block:
        if not isinstance(model.encoder, FrozenEncoder):  # it reads and writes files
            model.encoder.compile()
        model.predictor.blocks.compile()
        return
    for part in (model.encoder.blocks, model.predictor.blocks):
        assert isinstance(part, Blocks)
        for layer in part.layers:
            layer.compile()


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
