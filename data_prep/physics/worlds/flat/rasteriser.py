"""Drawing of flat scenes: coverage of pixels from signed distances, composed from front to back.

What a fully covered pixel hides has weight 0 exactly, so a hidden body changes no bit of a frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.physics.motion import Track, track
from data_prep.physics.rendered_video import OCCLUDER_ID, RenderedVideo
from data_prep.physics.video_format import VideoFormat
from data_prep.physics.worlds.flat.backgrounds import FLOOR_FRACTION, draw_background
from data_prep.physics.worlds.flat.scenes import FlatEntity, FlatScene
from data_prep.physics.worlds.flat.shapes import darkening, signed_distance

Floats = NDArray[np.float32]
PICTURE_M = 4.0  # width and height of the picture
TOP_M = PICTURE_M * (1 - FLOOR_FRACTION)
OVERHANG = 1.3  # parts of a shape may be this many half sizes away from its centre
SHOWN_WEIGHT = 1 / 256  # a pixel with less of an object does not count as visible
OCCLUDER_DEPTH_M, OBJECT_DEPTH_M = 1.0, 2.0  # layers, since a flat picture has no depth


@dataclass(frozen=True)
class Sprite:
    """The pixels of one entity in N frames (N = 1: the same in every frame)."""

    coverage: Floats  # [N, h, w]
    rgb: Floats  # [N, h, w, 3]
    left: NDArray[np.int64]  # [N], column of the first pixel
    top: NDArray[np.int64]  # [N]


def render(scene: FlatScene, video: VideoFormat) -> RenderedVideo:
    """Move and draw a scene, with its ground truth."""
    size, total = video.size_px, video.frames
    times_s = np.arange(total) / video.fps
    objects = [entity for entity in scene.entities if entity.is_object]
    number_of = {entity.name: index for index, entity in enumerate(objects)}
    tracks = [track(entity.path, times_s) for entity in scene.entities]
    rgb = np.zeros((total, size, size, 3), np.float32)
    clear = np.ones((total, size, size), np.float32)
    segmentation = np.zeros((total, size, size), np.uint8)
    depth = np.full((total, size, size), np.inf, np.float16)
    visible, unoccluded = np.zeros((2, total, len(objects)), np.int32)
    for entity, own in zip(reversed(scene.entities), reversed(tracks), strict=True):
        index = number_of.get(entity.name)
        sprite = _draw(entity, own, size)
        label = OCCLUDER_ID if index is None else index + 1
        for number, frames in _runs(sprite, total):
            rows, columns, inner_rows, inner_columns = _window(sprite, number, size)
            coverage = sprite.coverage[number, inner_rows, inner_columns]
            if not coverage.size:
                continue
            weight = clear[frames, rows, columns] * coverage
            rgb[frames, rows, columns] += weight[..., None] * sprite.rgb[number, inner_rows, inner_columns]
            clear[frames, rows, columns] *= 1 - coverage
            mostly = weight > 0.5
            segmentation[frames, rows, columns][mostly] = label
            depth[frames, rows, columns][mostly] = OCCLUDER_DEPTH_M if index is None else OBJECT_DEPTH_M
            if index is not None:
                visible[frames, index] = np.count_nonzero(weight > SHOWN_WEIGHT, axis=(-2, -1))
                unoccluded[frames, index] = np.count_nonzero(coverage > SHOWN_WEIGHT)
    rgb += clear[..., None] * draw_background(scene.background, size)
    return RenderedVideo(
        frames=(np.clip(rgb, 0, 1) * 255 + np.float32(0.5)).astype(np.uint8),
        visible_px=visible,
        unoccluded_px=unoccluded,
        segmentation=segmentation,
        depth_m=depth,
        **_motion_truth(objects, [own for entity, own in zip(scene.entities, tracks, strict=True) if entity.is_object], video),
    )


def _draw(entity: FlatEntity, own: Track, size_px: int) -> Sprite:
    per_m = size_px / PICTURE_M
    position = own.position_m
    if (position == position[0]).all():
        position = position[:1]
    centre = np.stack([(position[:, 0] + PICTURE_M / 2) * per_m, (TOP_M - position[:, 1]) * per_m], axis=1)
    width, height = (2 * int(np.ceil(OVERHANG * half * per_m + 1)) + 1 for half in entity.half_m)
    left = np.floor(centre[:, 0]).astype(np.int64) - width // 2
    top = np.floor(centre[:, 1]).astype(np.int64) - height // 2
    # coordinates relative to the centre in metres, z up
    x = ((left[:, None] + np.arange(width) + 0.5 - centre[:, :1]) / per_m).astype(np.float32)[:, None, :]
    z = (-(top[:, None] + np.arange(height) + 0.5 - centre[:, 1:]) / per_m).astype(np.float32)[:, :, None]
    distance = signed_distance(entity.shape, x, z, entity.half_m, entity.mirrored)
    coverage = np.clip(np.float32(0.5) - distance * np.float32(per_m), 0, 1)
    rgb = np.broadcast_to(np.asarray(entity.colour_rgb, np.float32), (*coverage.shape, 3))
    if entity.pattern != "plain":
        turn = _turn(entity, position)
        sine, cosine = np.sin(turn).astype(np.float32), np.cos(turn).astype(np.float32)
        local_x: Floats = cosine * x + sine * z
        local_z: Floats = cosine * z - sine * x
        dark = darkening(entity.pattern, local_x, local_z, max(entity.half_m), 1 / per_m)
        rgb = rgb * (1 - np.float32(entity.pattern_amount) * dark)[..., None]
    return Sprite(coverage, rgb, left, top)


def _turn(entity: FlatEntity, position: NDArray[np.float64]) -> Floats:
    """The angle by which an entity has rolled, counter-clockwise [N, 1, 1]. Only discs roll."""
    if entity.shape != "disc":
        return np.zeros((1, 1, 1), np.float32)
    return (-(position[:, 0] - position[0, 0]) / entity.half_m[0]).astype(np.float32)[:, None, None]


def _runs(sprite: Sprite, total: int) -> list[tuple[int, slice | int]]:
    """Pairs of an index into the sprite and the frames that it is drawn in."""
    return [(0, slice(None))] if len(sprite.left) == 1 else [(frame, frame) for frame in range(total)]


def _window(sprite: Sprite, number: int, size_px: int) -> tuple[slice, slice, slice, slice]:
    """Rows and columns of the picture, then of the sprite, that overlap."""
    _, height, width = sprite.coverage.shape
    slices = []
    for start, length in ((int(sprite.top[number]), height), (int(sprite.left[number]), width)):
        first, last = max(start, 0), max(min(start + length, size_px), 0)
        slices.append((slice(first, max(last, first)), slice(first - start, max(last, first) - start)))
    return slices[0][0], slices[1][0], slices[0][1], slices[1][1]


def _motion_truth(objects: list[FlatEntity], tracks: list[Track], video: VideoFormat) -> dict[str, Any]:
    """The fields of RenderedVideo that follow from the paths. The plane is y = 0 of a world with z up."""
    count, total, per_m = len(objects), video.frames, video.size_px / PICTURE_M
    position, velocity = np.zeros((2, total, count, 3))
    quaternion, contact = np.zeros((total, count, 4)), np.zeros((total, count, count), bool)
    touching = np.zeros((total, count), bool)
    for index, (entity, own) in enumerate(zip(objects, tracks, strict=True)):
        position[:, index, ::2], velocity[:, index, ::2] = own.position_m, own.velocity_m_s
        turn = -_turn(entity, own.position_m)[:, 0, 0]  # about y
        quaternion[:, index, 0], quaternion[:, index, 2] = np.cos(turn / 2), np.sin(turn / 2)
        touching[:, index] |= own.supported
        for other, twin in enumerate(objects):
            together = np.array([twin.name in names for names in own.touched])
            contact[:, index, other] |= together
            contact[:, other, index] |= together
    half = np.array([(entity.half_m[0], 0.5, entity.half_m[1]) for entity in objects], np.float32).reshape(count, 3)
    return {
        "names": tuple(entity.name for entity in objects),
        "shape": tuple(entity.shape for entity in objects),
        "fixed": np.array([entity.is_fixed for entity in objects], bool),
        "colour_rgb": np.array([entity.colour_rgb for entity in objects], np.float32).reshape(count, 3),
        "size_m": 2 * half[:, 0],
        "half_size_m": half,
        "present": np.ones((total, count), bool),
        "position_m": position,
        "velocity_m_s": velocity,
        "quaternion": quaternion,
        "contact": contact,
        "touching": touching | contact.any(2),
        "centre_px": np.stack([(position[..., 0] + PICTURE_M / 2) * per_m, (TOP_M - position[..., 2]) * per_m], axis=-1).astype(
            np.float32
        ),
        "width_px": np.broadcast_to(2 * half[:, 0] * np.float32(per_m), (total, count)).astype(np.float32),
    }
