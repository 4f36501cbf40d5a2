"""A V-JEPA 2 training step composed of the layers of VJEPA2Model of `transformers`.

The model's own forward pass encodes the whole clip and then selects the context, which leaks masked tokens into it. Here the
encoder's layers see the context only, with its positions, as in training.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldmodel.models.masked import MaskedWorldModel
from worldmodel.models.pretrained.vjepa2 import save_huggingface


class TransformersVJEPA2(nn.Module):
    """Encoder, predictor and EMA teacher, with the weights of a MaskedWorldModel."""

    def __init__(self, model: MaskedWorldModel) -> None:
        from transformers import VJEPA2Model
        from transformers.models.vjepa2.modeling_vjepa2 import apply_masks

        super().__init__()
        self.select = apply_masks
        with tempfile.TemporaryDirectory() as folder:
            save_huggingface(model, Path(folder))
            net = VJEPA2Model.from_pretrained(folder, local_files_only=True, dtype=torch.float32).train()
        self.encoder, self.predictor = net.encoder, net.predictor
        self.teacher = copy.deepcopy(net.encoder).requires_grad_(False)

    def loss(self, frames: Tensor, visible: Sequence[Tensor], masked: Sequence[Tensor]) -> Tensor:
        """Mean absolute error of all predicted values. Frames [B, T, 3, H, W], token indices [B, K] and [B, M] of each mask."""
        with torch.no_grad():
            target = self.teacher(frames).last_hidden_state
            target = F.layer_norm(target, target.shape[-1:])
        errors = []
        for number, (shown, hidden) in enumerate(zip(visible, masked, strict=True)):
            x = self.select(self.encoder.embeddings(frames), [shown])
            for layer in self.encoder.layer:
                x = layer(x, shown)[0]
            predicted = self.predict(self.encoder.layernorm(x), shown, hidden, number)
            errors.append((predicted.float() - self.select(target, [hidden]).float()).abs())
        return torch.cat(errors, dim=1).mean()

    def predict(self, context: Tensor, shown: Tensor, hidden: Tensor, number: int) -> Tensor:
        """The predictor on latents of the visible tokens alone: its forward pass selects them from latents of all tokens."""
        p = self.predictor
        x, positions = p.embeddings(context, [shown], [hidden], mask_index=number)
        order = torch.argsort(positions, dim=1)
        x, positions = p.sort_tokens(x, positions, order)
        for layer in p.layer:
            x = layer(x, positions)[0]
        return p.proj(p.unsort_tokens(p.layernorm(x), order)[:, shown.shape[1] :])

    @torch.no_grad()
    def update_teacher(self, momentum: float) -> None:
        """Move the teacher towards the encoder."""
        for slow, fast in zip(self.teacher.parameters(), self.encoder.parameters(), strict=True):
            slow.mul_(momentum).add_(fast, alpha=1 - momentum)
