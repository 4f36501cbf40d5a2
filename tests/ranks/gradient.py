"""Run by torchrun from test_exactness.py: gradients of one training step on this rank's part of the batch.

All objectives and model families are tested.
"""

import faulthandler
import itertools
import os
import sys

import torch
import torch.distributed as dist
from safetensors.torch import save_file

from worldmodel.data.augmentation.augment import AugmentConfig
from worldmodel.data.loader import Batch
from worldmodel.data.window_config import WindowConfig
from worldmodel.models import build_model
from worldmodel.models.causal import CausalConfig
from worldmodel.models.causal_predictor import PredictorConfig
from worldmodel.models.encoder import EncoderConfig
from worldmodel.models.mask_predictor import MaskPredictorConfig
from worldmodel.models.masked import MaskedConfig
from worldmodel.models.masks import MaskConfig
from worldmodel.models.video_encoder import VideoEncoderConfig
from worldmodel.objectives import OBJECTIVES, build_objective
from worldmodel.objectives.barlow import BarlowTwinsConfig
from worldmodel.objectives.forecast import ForecastConfig
from worldmodel.objectives.info_nce import InfoNCEConfig
from worldmodel.objectives.sigreg import SIGRegConfig
from worldmodel.objectives.straightening import StraighteningConfig
from worldmodel.objectives.temporal_similarity import TemporalSimilarityConfig
from worldmodel.objectives.vicreg import VICRegConfig
from worldmodel.objectives.visreg import VISRegConfig
from worldmodel.training.learner import Learner, global_statistics

LIMIT_S = 150  # twenty times as long as it takes
WINDOWS = 8
CONFIGS = {
    "forecast": ForecastConfig(horizon_weights=(1.0, 2.0, 0.5)),
    "vicreg": VICRegConfig(std_weight=3.0, cov_weight=5.0, temporal_std_weight=2.0, margin=2.0),
    "barlow": BarlowTwinsConfig(),
    "info_nce": InfoNCEConfig(),
    "sigreg": SIGRegConfig(directions=32),
    "sigreg_by_moment": SIGRegConfig(directions=32, per_timestep=True),
    "visreg": VISRegConfig(directions=32),
    "straightening": StraighteningConfig(weight=1.0),
    "temporal_similarity": TemporalSimilarityConfig(),
}


FAMILIES = {
    "causal": CausalConfig(
        encoder=EncoderConfig(patch_px=8, width=16, heads=2, latent_dim=6, head_width=16, latent_grid=2),
        predictor=PredictorConfig(width=24, depth=1, heads=2, horizons=3),
        rollout_steps=2,
        rollout_context=2,
    ),
    "masked": MaskedConfig(  # one mask hides blocks, the other the end
        encoder=VideoEncoderConfig(patch_px=4, tubelet_size=1, width=12, depth=1, heads=2),
        predictor=MaskPredictorConfig(width=24, depth=1, heads=2),
        masks=(MaskConfig(blocks=2, area=0.3), MaskConfig(blocks=0, visible_time_fraction=(0.5, 0.7))),
    ),
}


def learner(dtype: torch.dtype, family: str, names: list[str]) -> Learner:
    torch.manual_seed(0)
    model = build_model(FAMILIES[family], WindowConfig(frames=6, size_px=16))
    configs = {name: CONFIGS[name] for name in names}
    if family == "causal":
        torch.nn.init.normal_(model.predictor.head[-1].weight, std=0.2)
        torch.nn.init.normal_(model.encoder.head[-1].weight, std=0.5)
    else:
        with torch.no_grad():
            for (
                parameter
            ) in model.parameters():  # as if trained: initially mask tokens are 0, and teacher and encoder are equal
                parameter += 0.3 * torch.randn_like(parameter)
        configs |= {name: ForecastConfig() for name in configs if name == "forecast"}  # masked predictions have no horizon
    objectives = {name: build_objective(config) for name, config in configs.items()}
    return Learner(model, objectives, AugmentConfig(hflip_prob=0.5)).to(dtype)


def micro_batches(rank: int, ranks: int, micros: int) -> list[Batch]:
    """This rank's part of the global batch. Parts are uneven where 8 windows do not divide by the ranks."""
    source = torch.Generator().manual_seed(1)
    frames = torch.randint(0, 256, (WINDOWS, 6, 18, 18, 3), dtype=torch.uint8, generator=source)
    draws = torch.rand(WINDOWS, 10, generator=source)
    mine = torch.arange(WINDOWS).tensor_split(ranks)[rank].tensor_split(micros)
    return [Batch(frames[rows], draws[rows], rows, step_seed=1) for rows in mine]


def gradients(family: str, names: list[str], dtype: torch.dtype, micros: int, parallel: str) -> dict[str, torch.Tensor]:
    """Of every parameter (0 where these objectives do not reach it), and their loss."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    inner = wrapped = learner(dtype, family, names)
    if parallel == "ddp":  # an objective of latents alone gives the predictor no gradient
        wrapped = torch.nn.parallel.DistributedDataParallel(inner, find_unused_parameters=True)
    elif parallel == "fsdp2":
        from worldmodel.training.parallel import shard

        shard(inner)
    batches = micro_batches(rank, ranks, micros)
    shared = global_statistics(inner, batches) if micros > 1 else [None]
    for batch, whole in zip(batches, shared, strict=True):
        loss = wrapped(batch, whole)
        loss.total.backward()  # every micro-batch is averaged over ranks here; their sum is the same
    trained = {name: p for name, p in inner.named_parameters() if p.requires_grad}
    grads = {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in trained.items()}
    grads = {name: (g.full_tensor() if hasattr(g, "full_tensor") else g).detach().clone() for name, g in grads.items()}
    return grads | {"loss": loss.total.detach().reshape(1)}


def main(out: str, micros: int, parallel: str) -> None:
    assert {type(config) for config in CONFIGS.values()} == OBJECTIVES.keys()
    found = {}
    for dtype in ("float64", "float32"):
        for family, names in itertools.product(FAMILIES, ([*CONFIGS], *([name] for name in CONFIGS))):
            label = f"{dtype}/{family}, {names[0] if len(names) == 1 else 'all'}"
            grads = gradients(family, names, getattr(torch, dtype), micros, parallel)
            found |= {f"{label}/{name}": value for name, value in grads.items()}
    if dist.get_rank() == 0:
        save_file(found, out)


if __name__ == "__main__":
    out, micros, parallel = sys.argv[1:]
    faulthandler.dump_traceback_later(LIMIT_S, exit=True)  # works in C code, too; torchrun then ends the other ranks
    dist.init_process_group("gloo")
    main(out, int(micros), parallel)
    dist.barrier()
    os._exit(0)  # gloo sometimes aborts or hangs while it shuts down; all results are written by now
