"""Predictor of the masked family: from the latents of visible tokens to the latents of masked tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from worldmodel.config import Config
from worldmodel.models.blocks.layers import Blocks, Segment, check_heads, init_linear
from worldmodel.models.blocks.rotary import rotary_angles, rotary_table
from worldmodel.models.video_encoder import NORM_EPS


class MaskPredictorConfig(Config):
    """A narrow transformer over visible tokens, and a mask token at each masked position (V-JEPA, section 3.1)."""

    width: PositiveInt = 64
    """features of a token inside the transformer"""
    depth: PositiveInt = 2
    """transformer blocks"""
    heads: PositiveInt = 4
    """number of attention heads, among which `width` is divided"""
    mlp_ratio: float = Field(4.0, gt=0)
    """width inside the MLP of a block, in multiples of `width`"""
    mask_tokens: PositiveInt | None = None
    """learnt mask tokens, one per view; null = as many as there are masks"""

    @model_validator(mode="after")
    def _check(self) -> MaskPredictorConfig:
        check_heads(self.width, self.heads, axes=3)
        return self


class MaskPredictor(nn.Module):
    """Maps latents of `latent_dim` features to predictions of `features` features."""

    extra_forward_methods = ()  # only `forward` is called

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
        self,
        context: Tensor,
        visible: Sequence[Tensor],
        masked: Sequence[Tensor],
        mask_tokens: Sequence[int],
        positions: Tensor,
    ) -> Tensor:
        """Predict the masked tokens of all views, one after another: [B, sum M, features]. Views do not attend to one another.

        context [B, sum K, W]: latents of the tokens `visible`, each [B, K] indices. `masked`, each [B, M] indices: the
        tokens to predict. `mask_tokens`: index of the mask token of each view. positions [S, 3] of all tokens of a clip.
        """
        rotary = rotary_table(rotary_angles(positions, self.config.width // self.config.heads, tiled=self.tiled_rotary))
        embedded = self.embed(context).split([view.shape[1] for view in visible], dim=1)
        packed, indices, segments = [], [], []
        for part, shown, hidden, number in zip(embedded, visible, masked, mask_tokens, strict=True):
            packed += [part, self.mask_tokens[number].to(part.dtype).expand(*hidden.shape, -1)]
            indices += [shown, hidden]
            segments.append(Segment(shown.shape[1] + hidden.shape[1], outputs=hidden.shape[1]))
        states = self.blocks(torch.cat(packed, 1), rotary[torch.cat(indices, 1)][:, None], segments)
        return self.head(self.norm(states))
