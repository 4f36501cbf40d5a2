"""Ground truth of a clip of the physics world: the parts that probes need, and when an object is
visible or occluded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from eval.errors import EvalError
from eval.npz_files import load_arrays
from worldmodel.manifest import Clip

Values = NDArray[np.floating]
Mask = NDArray[np.bool_]

MIN_VISIBLE_FRACTION = 0.5  # of an object's pixels in the picture; with fewer it does not count as visible


@dataclass(frozen=True)
class ClipTruth:
    """T frames of the file, O objects.

    The arrays are those of the npz file (see docs/physics_world.md).
    """

    fps: float
    width: int  # of the picture, px
    height: int
    fixed: Mask  # [O] scenery that cannot move
    shape: NDArray[np.str_]  # [O]
    colour_rgb: Values  # [O, 3]
    present: Mask  # [T, O]
    position_m: Values  # [T, O, 3]
    centre_px: Values  # [T, O, 2], also while occluded
    width_px: Values  # [T, O]
    visible_px: Values  # [T, O] number of pixels that show
    unoccluded_px: Values  # [T, O] number of pixels that would show with nothing in front of the object
    contact: Mask  # [T, O, O] the two touched since the previous frame

    @property
    def frames(self) -> int:
        return len(self.present)

    @cached_property
    def body(self) -> int | None:
        """Index of the only movable object.

        None where there is no movable object, or more than one, because a probe targets a single body.
        """
        movable = np.flatnonzero(~self.fixed)
        return int(movable[0]) if len(movable) == 1 else None

    @cached_property
    def in_picture(self) -> Mask:
        """[T, O]: the object's centre lies within the picture, occluded or not."""
        x, y = np.nan_to_num(self.centre_px, nan=-1.0).transpose(2, 0, 1)
        inside = (x >= 0) & (x < self.width) & (y >= 0) & (y < self.height)
        return self.present & inside & (self.unoccluded_px > 0)

    @cached_property
    def visible(self) -> Mask:
        """[T, O]: the object is in the picture and at least MIN_VISIBLE_FRACTION of its pixels
        show."""
        return self.in_picture & (self.visible_px >= MIN_VISIBLE_FRACTION * self.unoccluded_px)

    @cached_property
    def occluded(self) -> Mask:
        """[T, O]: the object is in the picture and none of its pixels show."""
        return self.in_picture & (self.visible_px == 0)


def read_ground_truth(clip: Clip) -> ClipTruth:
    """Read a clip's ground truth.

    Raises EvalError where it has none, or none of the physics world.
    """
    if clip.truth is None:
        raise EvalError(
            f"{clip.path}: the manifest lists no ground truth for it; probes of physics need videos made by "
            "`data_prep synthesize`"
        )
    names = ("fixed", "shape", "colour_rgb", "present", "position_m", "centre_px", "width_px", "visible_px", "unoccluded_px")
    arrays = _read_arrays(clip.truth, (*names, "contact"))
    return ClipTruth(clip.fps, clip.width, clip.height, **arrays)


def read_segmentation(truth_file: str) -> NDArray[np.uint8]:
    """[T, H, W]: object i has the value i + 1, an occluder 255, the scenery 0."""
    return _read_arrays(truth_file, ("segmentation",))["segmentation"]


def _read_arrays(truth_file: str, names: Sequence[str]) -> dict[str, NDArray]:
    """Read arrays by name. Raises EvalError where the file is damaged or lacks one of them."""
    try:
        arrays = load_arrays(truth_file)
    except EvalError as error:
        raise EvalError(f"{truth_file} cannot be read: {error}; make the videos again") from None
    if missing := [name for name in names if name not in arrays]:
        raise EvalError(f"{truth_file} has no {', '.join(missing)}: it is not a ground truth file of the physics world")
    return {name: arrays[name] for name in names}
