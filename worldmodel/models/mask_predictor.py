"""Latents of visible tokens -> what is at the tokens that were not."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from worldmodel.config import Config
from worldmodel.models.layers import Blocks, check_heads, init_linear, rotary_angles
from worldmodel.models.video_encoder import NORM_EPS


class MaskPredictorConfig(Config):
    """A narrow transformer over what is visible and a mask token at each place that is wanted (V-JEPA, section 3.1)."""

    width: PositiveInt = 64  # features of a token inside the transformer
    depth: PositiveInt = 2  # blocks
    heads: PositiveInt = 4  # of attention, which share `width`
    mlp_ratio: float = Field(4.0, gt=0)  # width inside the MLP of a block, in multiples of `width`
    mask_tokens: PositiveInt | None = None  # learnt ones, one a view; null = as many as there are masks

    @model_validator(mode="after")
    def _check(self) -> MaskPredictorConfig:
        check_heads(self.width, self.heads, axes=3)
        return self


class MaskPredictor(nn.Module):
    """Latents of W features in, predictions of `features` features out."""

    called_by_name = ()  # only forward

    def __init__(
        self,
        config: MaskPredictorConfig,
        latent_dim: int,
        features: int,
        mask_tokens: int,
        tiled_rotary: bool,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.config, self.tiled_rotary = config, tiled_rotary
        self.embed = nn.Linear(latent_dim, config.width)
        self.mask_tokens = nn.Parameter(torch.zeros(mask_tokens, config.width))
        self.blocks = Blocks(config.depth, config.width, config.heads, config.mlp_ratio, checkpointing, NORM_EPS)
        self.norm = nn.LayerNorm(config.width, NORM_EPS)
        self.head = nn.Linear(config.width, features)
        self.embed.apply(init_linear)
        self.head.apply(init_linear)

    def forward(
        self, context: Tensor, visible: Sequence[Tensor], wanted: Sequence[Tensor], tokens: Sequence[int], positions: Tensor
    ) -> Tensor:
        """Predictions of all views, one after another: [B, sum M, features]. Views do not see one another.

        context [B, sum K, W]: latents at `visible`, each [B, K]; `wanted`, each [B, M]: what is predicted; `tokens`: which mask
        token stands for it in each view; positions [S, 3] of all tokens of a clip.
        """
        angles = rotary_angles(positions, self.config.width // self.config.heads, tiled=self.tiled_rotary)
        seen = self.embed(context).split([view.shape[1] for view in visible], dim=1)
        packed, numbers, lengths = [], [], []
        for part, here, there, token in zip(seen, visible, wanted, tokens, strict=True):
            packed += [part, self.mask_tokens[token].to(part.dtype).expand(*there.shape, -1)]
            numbers += [here, there]
            lengths += [here.shape[1], there.shape[1]]
        segments = [k + m for k, m in zip(lengths[::2], lengths[1::2], strict=True)]
        hidden = self.blocks(torch.cat(packed, 1), angles[torch.cat(numbers, 1)][:, None], segments=segments)
        return self.head(self.norm(torch.cat(hidden.split(lengths, dim=1)[1::2], dim=1)))
