"""One whole training step of each contender: forward, backward, optimizer, EMA teacher."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

import torch
from torch import Tensor

from benchmarks.steps.cases import STEP_SEED, Case, random_clips
from benchmarks.steps.vjepa2_reference import ReferenceVJEPA2
from benchmarks.steps.vjepa2_transformers import TransformersVJEPA2
from worldmodel.models.masked import MaskedWorldModel
from worldmodel.training.optimizer import OptimConfig, build_optimizers, clip_gradients

Precision = Literal["fp32", "bf16"]
CONTENDERS = ("ours", "vjepa2", "transformers")
OPTIM = OptimConfig(clip_norm=None)


class Peer(Protocol):
    """What both implementations of others provide."""

    def loss(self, frames: Tensor, visible: tuple[Tensor, ...], masked: tuple[Tensor, ...]) -> Tensor: ...
    def update_teacher(self, momentum: float) -> None: ...
    def parameters(self) -> object: ...


def build_step(contender: str, case: Case, precision: Precision) -> Callable[[], float]:
    """Build a contender; each call of the result runs one training step and returns its loss."""
    torch.manual_seed(0)
    model = MaskedWorldModel(case.model, case.window)
    if contender == "ours":
        return _our_step(model, case, precision)
    peer: ReferenceVJEPA2 | TransformersVJEPA2 = ReferenceVJEPA2(model) if contender == "vjepa2" else TransformersVJEPA2(model)
    del model
    return _peer_step(peer, case, precision)


def _our_step(model: MaskedWorldModel, case: Case, precision: Precision) -> Callable[[], float]:
    clips, optimizers = random_clips(case), build_optimizers(model, OPTIM)

    def step() -> float:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            latents = model(clips.frames, clips.ids, STEP_SEED)
        loss = model.distance(latents.predicted, latents.target).mean()
        loss.backward()
        clip_gradients(model, OPTIM.clip_norm)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        model.update_teacher(0.0)
        return loss.item()

    return step


def _peer_step(peer: ReferenceVJEPA2 | TransformersVJEPA2, case: Case, precision: Precision) -> Callable[[], float]:
    clips, momentum = random_clips(case), case.model.target.momentum  # type: ignore[union-attr]
    trained = [p for p in peer.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": OPTIM.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=OPTIM.lr, betas=(OPTIM.beta1, OPTIM.beta2))

    def step() -> float:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss: Tensor = peer.loss(clips.frames, clips.visible, clips.masked)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        peer.update_teacher(momentum)
        return loss.item()

    return step
