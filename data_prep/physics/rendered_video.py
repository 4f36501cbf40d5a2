"""Rendered videos with their ground truth, and how two of them are spliced."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

OCCLUDER_ID = 255
"""Value of occluders and screens in a segmentation. 0 is scenery, and i + 1 is object i."""


@dataclass(frozen=True)
class RenderedVideo:
    """T frames with the ground truth of O objects.

    The position of an object is NaN in frames in which it does not exist. The names of the fields
    are those of the arrays in the ground-truth files.
    """

    frames: NDArray[np.uint8]  # [T, H, W, 3]
    names: tuple[str, ...]
    shape: tuple[str, ...]
    fixed: NDArray[np.bool_]  # [O], a structure, which cannot move
    colour_rgb: NDArray[np.float32]  # [O, 3]
    size_m: NDArray[np.float32]  # [O], width
    half_size_m: NDArray[np.float32]  # [O, 3], along the axes of the object
    present: NDArray[np.bool_]  # [T, O]
    position_m: NDArray[np.float64]  # [T, O, 3]
    velocity_m_s: NDArray[np.float64]  # [T, O, 3]
    quaternion: NDArray[np.float64]  # [T, O, 4]
    contact: NDArray[np.bool_]  # [T, O, O], objects that touched each other since the frame before
    touching: NDArray[np.bool_]  # [T, O], touched anything, including the floor
    visible_px: NDArray[np.int32]  # [T, O], number of visible pixels
    unoccluded_px: NDArray[np.int32]  # [T, O], number of pixels that would be visible without anything in front
    centre_px: NDArray[np.float32]  # [T, O, 2], x to the right, y down; also while hidden
    width_px: NDArray[np.float32]  # [T, O], also while hidden
    segmentation: NDArray[np.uint8]  # [T, H, W], see OCCLUDER_ID
    depth_m: NDArray[np.float16]  # [T, H, W], infinite for the sky

    def ground_truth(self) -> dict[str, NDArray]:
        """The arrays of the ground-truth file: everything but the frames."""
        arrays = {field.name: np.asarray(getattr(self, field.name)) for field in fields(self) if field.name != "frames"}
        arrays["names"] = np.array(self.names, dtype="U32")
        arrays["shape"] = np.array(self.shape, dtype="U16")
        return arrays


def concatenate(before: RenderedVideo, after: RenderedVideo, frame: int) -> RenderedVideo:
    """The frames of one video before `frame`, and those of another from `frame` on.

    Objects are matched by name.
    """
    names = (*before.names, *(name for name in after.names if name not in before.names))
    one, other = _with_objects(before, names), _with_objects(after, names)
    in_before = np.array([name in before.names for name in names], bool)

    def join(name: str) -> NDArray:
        return np.concatenate([getattr(one, name)[:frame], getattr(other, name)[frame:]])

    def either(name: str) -> NDArray:
        first, second = getattr(one, name), getattr(other, name)
        return np.where(in_before if first.ndim == 1 else in_before[:, None], first, second)

    return RenderedVideo(
        names=names,
        shape=tuple(a if first else b for first, a, b in zip(in_before, one.shape, other.shape, strict=True)),
        **{name: either(name) for name in _CONSTANT},
        **{name: join(name) for name in (*_VALUE_IF_ABSENT, "contact", "frames", "segmentation", "depth_m")},
    )


_CONSTANT = ("fixed", "colour_rgb", "size_m", "half_size_m")
"""Fields [O, ...] that are the same in all frames."""

_VALUE_IF_ABSENT: dict[str, bool | int | float] = {
    **dict.fromkeys(("present", "touching"), False),
    **dict.fromkeys(("visible_px", "unoccluded_px", "width_px"), 0),
    **dict.fromkeys(("position_m", "velocity_m_s", "quaternion", "centre_px"), np.nan),
}
"""Fields [T, O, ...], and their values for objects that are not present."""


def _with_objects(rendered: RenderedVideo, names: tuple[str, ...]) -> RenderedVideo:
    """The same video with the objects of these names, in this order.

    Those that it lacks are not present.
    """
    old_index_of = [rendered.names.index(name) if name in rendered.names else None for name in names]
    new_indices = [new for new, old in enumerate(old_index_of) if old is not None]
    old_indices = [old for old in old_index_of if old is not None]
    count, total = len(names), len(rendered.frames)

    def constant(name: str) -> NDArray:
        old = getattr(rendered, name)
        new = np.zeros((count, *old.shape[1:]), old.dtype)
        new[new_indices] = old[old_indices]
        return new

    def per_frame(name: str, value_if_absent: float) -> NDArray:
        old = getattr(rendered, name)
        new = np.full((total, count, *old.shape[2:]), value_if_absent, old.dtype)
        new[:, new_indices] = old[:, old_indices]
        return new

    ids = np.arange(256, dtype=np.uint8)
    for new, old in zip(new_indices, old_indices, strict=True):
        ids[old + 1] = new + 1
    contact = np.zeros((total, count, count), bool)
    contact[np.ix_(range(total), new_indices, new_indices)] = rendered.contact[np.ix_(range(total), old_indices, old_indices)]
    return RenderedVideo(
        frames=rendered.frames,
        names=names,
        shape=tuple("" if old is None else rendered.shape[old] for old in old_index_of),
        contact=contact,
        segmentation=ids[rendered.segmentation],
        depth_m=rendered.depth_m,
        **{name: constant(name) for name in _CONSTANT},
        **{name: per_frame(name, value) for name, value in _VALUE_IF_ABSENT.items()},
    )
