"""A slow, obvious implementation of a V-JEPA 2 training step, written from the paper (Assran et al. 2025, section 2).

It is a contender of benchmarks/step.py and the frozen reference that tests compare the model with. As the published code does,
it embeds patches by a 3-D convolution, encodes and predicts each mask by itself, sorts the predictor's tokens by position, and
computes rotary sines and cosines for queries and keys in every block.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldmodel.models.masked import MaskedConfig, MaskedWorldModel

NORM_EPS = 1e-6


class ReferenceAttention(nn.Module):
    """Self-attention with rotary positions of three axes, each of which has a third of the features of a head."""

    def __init__(self, width: int, heads: int, tiled: bool) -> None:
        super().__init__()
        self.heads, self.tiled = heads, tiled
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """x [B, S, W], positions [B, S, 3] -> [B, S, W]."""
        batch, count, width = x.shape
        q, k, v = self.qkv(x).reshape(batch, count, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        q, k = self.turned(q, positions), self.turned(k, positions)
        attended = F.scaled_dot_product_attention(q, k, v)
        return self.out(attended.transpose(1, 2).reshape(batch, count, width))

    def turned(self, x: Tensor, positions: Tensor) -> Tensor:
        """Rotate a third of the features by time, a third by row, a third by column; the rest stays."""
        size = 2 * (x.shape[-1] // 3 // 2)
        parts = [self.turned_by(x[..., axis * size : (axis + 1) * size], positions[..., axis]) for axis in range(3)]
        return torch.cat([*parts, x[..., 3 * size :]], dim=-1)

    def turned_by(self, x: Tensor, position: Tensor) -> Tensor:
        pairs = x.shape[-1] // 2
        frequency = 10_000 ** (-torch.arange(pairs, dtype=torch.float32, device=x.device) / pairs)
        angle = position[:, None, :, None].float() * frequency
        angle = torch.cat((angle, angle), dim=-1) if self.tiled else angle.repeat_interleave(2, dim=-1)
        pair = x.unflatten(-1, (pairs, 2))
        swapped = torch.stack((-pair[..., 1], pair[..., 0]), dim=-1).flatten(-2)
        return x * angle.cos().to(x.dtype) + swapped * angle.sin().to(x.dtype)


class ReferenceBlock(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, width: int, heads: int, mlp_ratio: float, tiled: bool) -> None:
        super().__init__()
        hidden = int(width * mlp_ratio)
        self.norm_attention = nn.LayerNorm(width, NORM_EPS)
        self.attention = ReferenceAttention(width, heads, tiled)
        self.norm_mlp = nn.LayerNorm(width, NORM_EPS)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        x = x + self.attention(self.norm_attention(x), positions)
        return x + self.mlp(self.norm_mlp(x))


class ReferenceEncoder(nn.Module):
    """Clip [B, T, 3, H, W] -> latents of all tokens, or of those in `kept` [B, K]."""

    def __init__(self, config: MaskedConfig) -> None:
        super().__init__()
        c = config.encoder
        size = (c.tubelet_size, c.patch_px, c.patch_px)
        self.patch = nn.Conv3d(3, c.width, kernel_size=size, stride=size)
        self.layers = nn.ModuleList(ReferenceBlock(c.width, c.heads, c.mlp_ratio, config.tiled_rotary) for _ in range(c.depth))
        self.norm = nn.LayerNorm(c.width, NORM_EPS)

    def forward(self, frames: Tensor, kept: Tensor | None = None) -> Tensor:
        grid = self.patch(frames.transpose(1, 2))
        positions = grid_of(grid.shape[2:], frames.shape[0])
        x = grid.flatten(2).transpose(1, 2)
        if kept is not None:
            x, positions = selected(x, kept), selected(positions, kept)
        for layer in self.layers:
            x = layer(x, positions)
        return self.norm(x)


class ReferencePredictor(nn.Module):
    """Latents of visible tokens -> predictions of masked tokens, for one mask."""

    def __init__(self, config: MaskedConfig) -> None:
        super().__init__()
        c = config.predictor
        self.embed = nn.Linear(config.encoder.width, c.width)
        self.mask_tokens = nn.Parameter(torch.zeros(c.mask_tokens or len(config.masks), c.width))
        self.layers = nn.ModuleList(ReferenceBlock(c.width, c.heads, c.mlp_ratio, config.tiled_rotary) for _ in range(c.depth))
        self.norm = nn.LayerNorm(c.width, NORM_EPS)
        self.head = nn.Linear(c.width, config.encoder.width)

    def forward(self, latents: Tensor, visible: Tensor, masked: Tensor, number: int, grid: Tensor) -> Tensor:
        """[B, K, W], indices [B, K] and [B, M], index of the mask, positions of all tokens [B, S, 3] -> [B, M, W]."""
        context = self.embed(latents)
        unknown = self.mask_tokens[number].to(context.dtype).expand(*masked.shape, -1)
        x, indices = torch.cat((context, unknown), dim=1), torch.cat((visible, masked), dim=1)
        order = indices.argsort(dim=1)
        x, positions = selected(x, order), selected(grid, indices.gather(1, order))
        for layer in self.layers:
            x = layer(x, positions)
        back = selected(self.norm(x), order.argsort(dim=1))
        return self.head(back[:, visible.shape[1] :])


class ReferenceVJEPA2(nn.Module):
    """Encoder, predictor and EMA teacher, with the weights of a MaskedWorldModel."""

    def __init__(self, model: MaskedWorldModel) -> None:
        super().__init__()
        self.encoder, self.predictor = ReferenceEncoder(model.config), ReferencePredictor(model.config)
        self.teacher = copy.deepcopy(self.encoder).requires_grad_(False)
        self.load_state_dict(dict(renamed(model.state_dict(), self.state_dict())))

    def loss(self, frames: Tensor, visible: Sequence[Tensor], masked: Sequence[Tensor]) -> Tensor:
        """Mean absolute error of all predicted values. Frames [B, T, 3, H, W], token indices [B, K] and [B, M] of each mask."""
        with torch.no_grad():
            target = self.teacher(frames)
            target = F.layer_norm(target, target.shape[-1:])
        c = self.encoder.patch.stride
        steps, side = frames.shape[1] // c[0], frames.shape[-1] // c[1]
        grid = grid_of((steps, side, side), frames.shape[0]).to(frames.device)
        errors = []
        for number, (shown, hidden) in enumerate(zip(visible, masked, strict=True)):
            predicted = self.predictor(self.encoder(frames, shown), shown, hidden, number, grid)
            errors.append((predicted.float() - selected(target, hidden).float()).abs())
        return torch.cat(errors, dim=1).mean()

    @torch.no_grad()
    def update_teacher(self, momentum: float) -> None:
        """Move the teacher towards the encoder."""
        slow: list[Tensor] = list(self.teacher.parameters())
        fast: list[Tensor] = list(self.encoder.parameters())
        torch._foreach_mul_(slow, momentum)
        torch._foreach_add_(slow, fast, alpha=1 - momentum)


def grid_of(shape: Sequence[int], batch: int) -> Tensor:
    """Time step, row and column of every token: [B, S, 3]."""
    axes = torch.meshgrid(*(torch.arange(count) for count in shape), indexing="ij")
    return torch.stack([axis.flatten() for axis in axes], dim=-1).expand(batch, -1, -1)


def selected(x: Tensor, indices: Tensor) -> Tensor:
    """Rows of every clip by index: [B, S, W], [B, K] -> [B, K, W]."""
    return x.gather(1, indices[:, :, None].expand(-1, -1, x.shape[-1]))


def renamed(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The weights of a MaskedWorldModel under the names and in the shapes of the reference."""
    return {
        (name := key.replace(".blocks.layers.", ".layers.")): value.reshape(expected[name].shape)
        for key, value in weights.items()
    }
