"""A take: the frames of one scene and the truth about them, and how takes are cut together."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from data_prep.physics.rendering.camera import RayCamera
from data_prep.physics.rendering.optics import apparent_px, project
from data_prep.physics.scenes import Format, Scene, Thing
from data_prep.physics.world import Puppets, Track, simulate

OCCLUDER_ID = 255
"""Of occluders and screens in a segmentation; 0 is scenery, i + 1 is object i."""


@dataclass(frozen=True)
class Take:
    """T frames and, for O objects, everything that was true of them. A thing that is not there has NaN for a place."""

    frames: NDArray[np.uint8]  # [T, H, W, 3]
    names: tuple[str, ...]
    shape: tuple[str, ...]
    fixed: NDArray[np.bool_]  # [O], part of the furniture: it cannot move
    colour_rgb: NDArray[np.float32]  # [O, 3]
    size_m: NDArray[np.float32]  # [O], its width
    half_size_m: NDArray[np.float32]  # [O, 3], along its own axes
    present: NDArray[np.bool_]  # [T, O]
    position_m: NDArray[np.float64]  # [T, O, 3]
    velocity_m_s: NDArray[np.float64]  # [T, O, 3]
    quaternion: NDArray[np.float64]  # [T, O, 4]
    contact: NDArray[np.bool_]  # [T, O, O], objects that touched since the frame before
    touching: NDArray[np.bool_]  # [T, O], touched anything at all, the floor too
    visible_px: NDArray[np.int32]  # [T, O]
    unoccluded_px: NDArray[np.int32]  # [T, O]
    centre_px: NDArray[np.float32]  # [T, O, 2]
    width_px: NDArray[np.float32]  # [T, O]
    segmentation: NDArray[np.uint8]  # [T, H, W]
    depth_m: NDArray[np.float16]  # [T, H, W]

    def truth(self) -> dict[str, NDArray]:
        """The arrays of the truth file: everything but the frames."""
        arrays = {field.name: np.asarray(getattr(self, field.name)) for field in fields(self) if field.name != "frames"}
        arrays["names"] = np.array(self.names, dtype="U32")
        arrays["shape"] = np.array(self.shape, dtype="U16")
        return arrays


def shoot(scene: Scene, film: Format, track: Track | None = None, stop: int | None = None, start: int = 0) -> Take:
    """Let a scene happen (or follow a given track) and film it; frames outside [start, stop) stay black and untrue."""
    track = simulate(scene, film) if track is None else track
    puppets = Puppets(scene, track)
    camera = RayCamera(scene, puppets, film)
    things = [index for index, thing in enumerate(scene.things) if thing.object]
    count, size, total = len(things), film.size_px, film.frames
    ids = np.zeros(len(scene.things) + 1, np.uint8)
    ids[things] = np.arange(1, count + 1)
    ids[[index for index, thing in enumerate(scene.things) if thing.occluder]] = OCCLUDER_ID
    frames = np.zeros((total, size, size, 3), np.uint8)
    segmentation = np.zeros((total, size, size), np.uint8)
    depth = np.zeros((total, size, size), np.float16)
    visible, unoccluded = np.zeros((2, total, count), np.int32)
    centre, width = np.zeros((total, count, 2), np.float32), np.zeros((total, count), np.float32)
    widths_m = np.array([_width_m(scene.things[index]) for index in things])
    for frame in range(start, total if stop is None else stop):
        view = camera.see(frame)
        frames[frame], depth[frame] = view.rgb, view.depth_m
        segmentation[frame] = ids[view.thing]
        visible[frame], unoccluded[frame] = view.visible_px[things], view.unoccluded_px[things]
        centre[frame] = project(scene.camera, film, frame, track.position_m[frame, things])
        width[frame] = apparent_px(scene.camera, film, frame, track.position_m[frame, things], widths_m)
    chosen = [scene.things[index] for index in things]
    return Take(
        frames=frames,
        names=tuple(thing.name for thing in chosen),
        shape=tuple(thing.shape for thing in chosen),
        fixed=np.array([thing.motion == "fixed" for thing in chosen], bool),
        colour_rgb=np.array([thing.colour_rgb for thing in chosen], np.float32).reshape(count, 3),
        size_m=widths_m.astype(np.float32),
        half_size_m=np.array([_half_sizes(thing) for thing in chosen], np.float32).reshape(count, 3),
        present=np.ones((total, count), bool),
        position_m=track.position_m[:, things],
        velocity_m_s=track.velocity_m_s[:, things],
        quaternion=track.quaternion[:, things],
        contact=track.contact[:, things][:, :, things],
        touching=np.asarray(track.contact[:, things].any(2)),
        visible_px=visible,
        unoccluded_px=unoccluded,
        centre_px=centre,
        width_px=width,
        segmentation=segmentation,
        depth_m=depth,
    )


def cut(before: Take, after: Take, frame: int) -> Take:
    """The frames of one take up to `frame`, then those of another; so the truth, matched by the objects' names."""
    names = (*before.names, *(name for name in after.names if name not in before.names))
    one, other = _spread(before, names), _spread(after, names)

    def join(name: str) -> NDArray:
        return np.concatenate([getattr(one, name)[:frame], getattr(other, name)[frame:]])

    known = [name in before.names for name in names]

    def either(name: str) -> NDArray:
        first, second = getattr(one, name), getattr(other, name)
        return np.where(known if first.ndim == 1 else np.array(known)[:, None], first, second)

    return Take(
        names=names,
        shape=tuple(a if there else b for there, a, b in zip(known, one.shape, other.shape, strict=True)),
        fixed=either("fixed"),
        colour_rgb=either("colour_rgb"),
        size_m=either("size_m"),
        half_size_m=either("half_size_m"),
        **{name: join(name) for name in _OVER_TIME},
    )


_OVER_TIME = (
    "frames",
    "present",
    "position_m",
    "velocity_m_s",
    "quaternion",
    "contact",
    "touching",
    "visible_px",
    "unoccluded_px",
    "centre_px",
    "width_px",
    "segmentation",
    "depth_m",
)


def _spread(take: Take, names: tuple[str, ...]) -> Take:
    """The same take with its objects in another order, and those it lacks absent."""
    where = [take.names.index(name) if name in take.names else None for name in names]
    have = [new for new, old in enumerate(where) if old is not None]
    take_from = [old for old in where if old is not None]
    count, total = len(names), len(take.frames)

    def over_time(name: str, empty: object) -> NDArray:
        old = getattr(take, name)
        new = np.full((total, count, *old.shape[2:]), empty, old.dtype)
        new[:, have] = old[:, take_from]
        return new

    def constant(name: str) -> NDArray:
        old = getattr(take, name)
        new = np.zeros((count, *old.shape[1:]), old.dtype)
        new[have] = old[take_from]
        return new

    ids = np.arange(256, dtype=np.uint8)
    for new, old in zip(have, take_from, strict=True):
        ids[old + 1] = new + 1
    contact = np.zeros((total, count, count), bool)
    contact[np.ix_(range(total), have, have)] = take.contact[np.ix_(range(total), take_from, take_from)]
    return Take(
        frames=take.frames,
        names=names,
        shape=tuple("" if old is None else take.shape[old] for old in where),
        fixed=constant("fixed"),
        colour_rgb=constant("colour_rgb"),
        size_m=constant("size_m"),
        half_size_m=constant("half_size_m"),
        present=over_time("present", False),
        position_m=over_time("position_m", np.nan),
        velocity_m_s=over_time("velocity_m_s", np.nan),
        quaternion=over_time("quaternion", np.nan),
        contact=contact,
        touching=over_time("touching", False),
        visible_px=over_time("visible_px", 0),
        unoccluded_px=over_time("unoccluded_px", 0),
        centre_px=over_time("centre_px", np.nan),
        width_px=over_time("width_px", 0),
        segmentation=ids[take.segmentation],
        depth_m=take.depth_m,
    )


def _width_m(thing: Thing) -> float:
    half = _half_sizes(thing)
    return 2 * (half[2] if thing.shape == "capsule" else half[0])  # a capsule lies along x


def _half_sizes(thing: Thing) -> tuple[float, float, float]:
    if thing.shape == "sphere":
        return (thing.size_m[0],) * 3
    if thing.shape in ("cylinder", "capsule"):
        radius, half = thing.size_m
        return radius, radius, half + (radius if thing.shape == "capsule" else 0.0)
    return thing.size_m[0], thing.size_m[1], thing.size_m[2]
