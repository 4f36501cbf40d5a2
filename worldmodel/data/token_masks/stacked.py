"""Masks of a micro-batch, as tensors. They are copied to a device at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from worldmodel.data.token_masks.drawing import MaskRequest, MaskRule, WindowMasks, draw_masks
from worldmodel.process.devices import to_device


@dataclass(frozen=True)
class View:
    """Token indices (step * tokens per step + token) of B clips, in order. K and M depend on the training step only."""

    visible: Tensor  # [B, K] int64
    masked: Tensor  # [B, M] int64: the tokens to predict


@dataclass(frozen=True)
class BatchMasks:
    """Masks of the windows of a micro-batch."""

    rule: MaskRule
    indices: Tensor  # int64 [B, sum of lengths], see `WindowMasks`
    lengths: tuple[int, ...]

    @property
    def views(self) -> list[View]:
        """The views of a window, in their order."""
        count, parts = len(self.rule.views), self.indices.split(self.lengths, dim=1)
        return [View(visible, masked) for visible, masked in zip(parts[:count], parts[count : 2 * count], strict=True)]

    @property
    def of_teacher(self) -> Tensor | None:
        """The tokens [B, K] that a teacher sees; None: all."""
        return self.indices.split(self.lengths, dim=1)[-1].contiguous() if self.rule.for_teacher else None

    def to(self, device: torch.device) -> BatchMasks:
        """Copy them to a device, without waiting for it."""
        return replace(self, indices=to_device(self.indices, device))


def stack_masks(rule: MaskRule, windows: Sequence[WindowMasks], pin: bool = False) -> BatchMasks:
    """Stack the masks of the windows of a micro-batch. pin: in memory from which a GPU copies while the program goes on."""
    indices = torch.from_numpy(np.stack([window.indices for window in windows]).astype(np.int64))
    return BatchMasks(rule, indices.pin_memory() if pin else indices, windows[0].lengths)


def draw_batch(rule: MaskRule, window_ids: Sequence[int], step_seed: int) -> BatchMasks:
    """Draw the masks of a micro-batch in this process."""
    return stack_masks(rule, [draw_masks(MaskRequest(rule, step_seed, window_id)) for window_id in window_ids])


def mask_arguments(masks: BatchMasks | None) -> dict[str, Any]:
    """Keyword arguments of a model's `forward`: models without masks do not know them."""
    return {} if masks is None else {"masks": masks}
