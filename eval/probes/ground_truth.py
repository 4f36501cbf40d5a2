"""The truth of a film of the physics world, as far as probes need it, and where its body is in sight or hidden."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eval.errors import EvalError
from eval.npz_files import load_arrays
from worldmodel.manifest import Clip

Values = NDArray[np.floating]
Mask = NDArray[np.bool_]

IN_SIGHT = 0.5  # share of what is in the picture of a body that must show


@dataclass(frozen=True)
class FilmTruth:
    """T frames of the file, O objects; the arrays are those of the npz (see docs/physics_world.md)."""

    fps: float
    width: int  # of the picture, px
    height: int
    fixed: Mask  # [O] furniture, which cannot move
    shape: NDArray[np.str_]  # [O]
    colour_rgb: Values  # [O, 3]
    present: Mask  # [T, O]
    position_m: Values  # [T, O, 3]
    centre_px: Values  # [T, O, 2], also while hidden
    width_px: Values  # [T, O]
    visible_px: Values  # [T, O]
    unoccluded_px: Values  # [T, O], what would show if nothing were in front of it
    contact: Mask  # [T, O, O], touched since the frame before

    @property
    def frames(self) -> int:
        return len(self.present)

    @cached_property
    def body(self) -> int | None:
        """The one object that can move. None where there are none or several: a reading would not say whose it is."""
        movable = np.flatnonzero(~self.fixed)
        return int(movable[0]) if len(movable) == 1 else None

    @cached_property
    def in_picture(self) -> Mask:
        """[T, O]: its centre lies within the picture, seen or not."""
        x, y = np.nan_to_num(self.centre_px, nan=-1.0).transpose(2, 0, 1)
        inside = (x >= 0) & (x < self.width) & (y >= 0) & (y < self.height)
        return self.present & inside & (self.unoccluded_px > 0)

    @cached_property
    def in_sight(self) -> Mask:
        """[T, O]: in the picture, and at least half of what is there of it shows."""
        return self.in_picture & (self.visible_px >= IN_SIGHT * self.unoccluded_px)

    @cached_property
    def hidden(self) -> Mask:
        """[T, O]: in the picture, and not a pixel of it shows."""
        return self.in_picture & (self.visible_px == 0)


def read_truth(clip: Clip) -> FilmTruth:
    """Raises EvalError where the clip has no truth, or none of the physics world."""
    if clip.truth is None:
        raise EvalError(
            f"{clip.path}: the manifest names no truth for it; probes of physics need films of `data_prep synthesize`"
        )
    names = ("fixed", "shape", "colour_rgb", "present", "position_m", "centre_px", "width_px", "visible_px", "unoccluded_px")
    arrays = _truth(clip.truth, (*names, "contact"))
    return FilmTruth(clip.fps, clip.width, clip.height, **arrays)


def read_segmentation(truth: str) -> NDArray[np.uint8]:
    """[T, H, W]: object i is i + 1, an occluder 255, scenery 0."""
    return _truth(truth, ("segmentation",))["segmentation"]


def _truth(path: str, names: Sequence[str]) -> dict[str, NDArray]:
    """Arrays of a truth file, by name. Raises EvalError where it is damaged or lacks one of them."""
    try:
        arrays = load_arrays(Path(path))
    except EvalError as error:
        raise EvalError(f"{path} cannot be read: {error}; make the films again") from None
    if missing := [name for name in names if name not in arrays]:
        raise EvalError(f"{path} has no {', '.join(missing)}: it is no truth of the physics world")
    return {name: arrays[name] for name in names}
