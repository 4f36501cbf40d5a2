"""The windows of a micro-batch as planes, and their conversion to RGB frames on the device."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import torch
from torch import Tensor

from worldmodel.data.planar.convert import rgb_of_planes
from worldmodel.process.devices import to_device
from worldmodel.video.geometry import covering_size, crop
from worldmodel.video.planes import FrameLayout
from worldmodel.video.resize import target_size

MAX_PIXELS = 1 << 26  # that are converted at once: each takes 4 bytes or more on the device


@dataclass(frozen=True)
class PlanarFrames:
    """Windows of T frames, which may have different sizes. Each has its own layout (`worldmodel.video.planes`)."""

    data: Tensor  # uint8 [bytes]
    begins: tuple[int, ...]  # of each window in `data`
    layouts: tuple[FrameLayout, ...]
    positions: tuple[float, ...]  # where the square is cut out, see `worldmodel.video.geometry.crop_square`
    frames: int  # T
    size_px: tuple[int, int]  # height and width of the RGB frames

    def to_rgb(self, device: torch.device) -> Tensor:
        """Copy the windows to a device and convert them there: uint8 [B, T, height, width, 3].

        They are resized until they cover `size_px`, and cut out, as `read_square_frames` does.
        """
        data = to_device(self.data, device)
        rgb = torch.empty(len(self.begins), self.frames, *self.size_px, 3, dtype=torch.uint8, device=device)
        groups: dict[FrameLayout, list[int]] = defaultdict(list)
        for index, layout in enumerate(self.layouts):
            groups[layout].append(index)
        for layout, indices in groups.items():
            at_once = max(1, MAX_PIXELS // (self.frames * layout.height * layout.width))
            for first in range(0, len(indices), at_once):
                self._convert(data, layout, indices[first : first + at_once], rgb)
        return rgb

    def _convert(self, data: Tensor, layout: FrameLayout, indices: list[int], rgb: Tensor) -> None:
        """Convert windows of one layout."""
        length = self.frames * layout.nbytes
        windows = [data[self.begins[index] :][:length].view(self.frames, -1) for index in indices]
        if layout.matrix is None:  # RGB frames of the final size
            for index, window in zip(indices, windows, strict=True):
                rgb[index] = window.view(rgb.shape[1:])
            return
        square = self.size_px[0] if self.size_px[0] == self.size_px[1] else self.size_px
        size = target_size(layout.height, layout.width, covering_size(square))
        resized = rgb_of_planes(torch.cat(windows), layout, size).view(len(indices), self.frames, *size, 3)
        for index, window in zip(indices, resized, strict=True):
            rgb[index] = crop(window, self.size_px, self.positions[index])
