"""Run by torchrun from test_exactness.py: the gradient of one update on this rank's share of a global batch."""

import os
import sys

import torch
import torch.distributed as dist
from safetensors.torch import save_file

from worldmodel.data.augment import AugmentConfig
from worldmodel.data.loader import Batch
from worldmodel.learner import Learner, measure
from worldmodel.models import build_model
from worldmodel.models.causal import CausalConfig
from worldmodel.models.encoder import EncoderConfig
from worldmodel.models.predictor import PredictorConfig
from worldmodel.objectives import build_objective
from worldmodel.objectives.forecast import ForecastConfig
from worldmodel.objectives.vicreg import VICRegConfig
from worldmodel.window import WindowConfig

WINDOWS = 8


def learner(dtype: torch.dtype) -> Learner:
    torch.manual_seed(0)
    encoder = EncoderConfig(patch_px=8, width=16, heads=2, latent_dim=6, head_width=16, places_per_side=2)
    config = CausalConfig(
        encoder=encoder, predictor=PredictorConfig(width=24, depth=1, heads=2, horizons=3), rollout_steps=2, rollout_context=2
    )
    model = build_model(config, WindowConfig(frames=6, size_px=16))
    torch.nn.init.normal_(model.predictor.head[-1].weight, std=0.2)
    objectives = {
        "forecast": build_objective(ForecastConfig(horizon_weights=(1.0, 2.0, 0.5))),
        "spread": build_objective(VICRegConfig(std_weight=3.0, cov_weight=5.0, clip_std_weight=2.0, margin=2.0)),
    }
    return Learner(model, objectives, AugmentConfig(flip_share=0.5)).to(dtype)


def micro_batches(rank: int, ranks: int, micros: int) -> list[Batch]:
    """This rank's share of a batch that is the same whoever asks; uneven where 8 windows do not divide."""
    source = torch.Generator().manual_seed(1)
    frames = torch.randint(0, 256, (WINDOWS, 6, 18, 18, 3), dtype=torch.uint8, generator=source)
    draws = torch.rand(WINDOWS, 10, generator=source)
    mine = torch.arange(WINDOWS).tensor_split(ranks)[rank].tensor_split(micros)
    return [Batch(frames[rows], draws[rows], rows, chance=1) for rows in mine]


def main(out: str, dtype: torch.dtype, micros: int, parallel: str) -> None:
    rank, ranks = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    inner = wrapped = learner(dtype)
    if parallel == "ddp":
        wrapped = torch.nn.parallel.DistributedDataParallel(inner)
    elif parallel == "fsdp2":
        from worldmodel.parallel import shard

        shard(inner)
    batches = micro_batches(rank, ranks, micros)
    totals = measure(wrapped, batches)
    for batch in batches:
        # every micro-batch is averaged over ranks here; their sum is the same
        loss = wrapped(batch, totals)
        loss.total.backward()
    grads = {name: p.grad for name, p in inner.named_parameters()}
    grads = {name: (g.full_tensor() if hasattr(g, "full_tensor") else g).clone() for name, g in grads.items()}
    if rank == 0:
        save_file(grads | {"loss": loss.total.detach().reshape(1)}, out)


if __name__ == "__main__":
    out, dtype, micros, parallel = sys.argv[1:]
    dist.init_process_group("gloo")
    main(out, getattr(torch, dtype), int(micros), parallel)
    dist.barrier()
    dist.destroy_process_group()
    os._exit(0)  # gloo's threads now and then abort while the interpreter is taken down; all is written by now
