"""Geometry of a pinhole camera and of lamps: pure functions of rows of rays.

Each pixel has SAMPLES consecutive rays.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from data_prep.physics.video_format import VideoFormat
from data_prep.physics.worlds.builtin.scenes import Camera, Scene

SAMPLES = 4


def dot(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Row-wise dot product: [R, 3], [R, 3] -> [R]."""
    return np.einsum("ri,ri->r", one, other)


def pixels(rays: NDArray[np.int64]) -> int:
    """The number of pixels to which these rays belong. Their indices must be in rising order."""
    return int(np.count_nonzero(np.diff(rays // SAMPLES)) + 1) if len(rays) else 0


def lens(size_px: int, fov_deg: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Unit rays [R, 3] of a camera that looks along -z, and their cosines to its axis [R]."""
    focal = 0.5 * size_px / np.tan(np.deg2rad(fov_deg) / 2)
    inner = np.array([0.25, 0.75])
    y, x, dy, dx = np.meshgrid(np.arange(size_px), np.arange(size_px), inner, inner, indexing="ij")
    right, down = (x + dx - size_px / 2).ravel(), (y + dy - size_px / 2).ravel()
    rays = np.stack([right / focal, -down / focal, -np.ones_like(right)], axis=1)
    length = np.sqrt(dot(rays, rays))
    return rays / length[:, None], 1 / length


def pose(camera: Camera, frame: int, video: VideoFormat) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The position of the camera [3] and its axes as columns [3, 3]: right, up, backwards. Read only."""
    return _pose(camera, frame / max(video.frames - 1, 1) if any(camera.drift_m) else 0.0)


@lru_cache(maxsize=64)  # every frame needs it several times, and a camera without drift has one pose
def _pose(camera: Camera, progress: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    eye = np.asarray(camera.position_m, float) + progress * np.asarray(camera.drift_m)
    back = eye - np.asarray(camera.look_at_m)
    back = back / np.sqrt((back * back).sum())
    right = np.cross([0.0, 0.0, 1.0], back)
    right = right / np.sqrt((right * right).sum())
    axes = np.stack([right, np.cross(back, right), back], axis=1)
    eye.setflags(write=False)
    axes.setflags(write=False)
    return eye, axes


def focal_px(camera: Camera, video: VideoFormat) -> float:
    """Focal length in pixels."""
    return float(0.5 * video.size_px / np.tan(np.deg2rad(camera.fov_deg) / 2))


def project(camera: Camera, video: VideoFormat, frame: int, points_m: NDArray[np.float64]) -> NDArray[np.float32]:
    """Project points [O, 3] to pixels [O, 2] (x right, y down), whether or not they are visible."""
    eye, axes = pose(camera, frame, video)
    local = (points_m - eye) @ axes
    scale = focal_px(camera, video) / np.maximum(-local[:, 2], 1e-6)
    half = video.size_px / 2
    return np.stack([half + scale * local[:, 0], half - scale * local[:, 1]], axis=1).astype(np.float32)


def apparent_px(
    camera: Camera, video: VideoFormat, frame: int, points_m: NDArray[np.float64], widths_m: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Widths in pixels [O] of entities of these widths in metres [O] at these points [O, 3]."""
    eye, axes = pose(camera, frame, video)
    distance = np.maximum(-((points_m - eye) @ axes)[:, 2], 1e-6)
    return (focal_px(camera, video) * widths_m / distance).astype(np.float32)


def from_lamp(
    lamp: NDArray[np.float64], points: NDArray[np.float64], normal: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Unit directions [R, 3] from a lamp to points [R, 3], distances [R], cosines of incidence [R]."""
    direction = points - lamp
    distance = np.sqrt(dot(direction, direction))
    direction /= distance[:, None]
    return direction, distance, -dot(direction, normal)


def ambient(scene: Scene, normal: NDArray[np.float64]) -> NDArray[np.float32]:
    """Ambient light [R] on surfaces with these normals [R, 3]. Upward surfaces get more of it."""
    return (scene.light.ambient * (0.8 + 0.2 * normal[:, 2])).astype(np.float32)


def sky(scene: Scene, size_px: int) -> NDArray[np.float32]:
    """The colour of the sky behind each ray [R, 3]. It changes with the row of the picture."""
    fade = np.linspace(0.85, 1.0, size_px, dtype=np.float32)
    rows = np.asarray(scene.sky_rgb, np.float32)[None] * fade[:, None]
    return np.repeat(rows, size_px * SAMPLES, axis=0)


def average(samples: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Mean over the rays of each pixel: [P, 4, 3] from 0 to 1 -> [P, 3] uint8."""
    mean = (samples[:, 0] + samples[:, 1] + samples[:, 2] + samples[:, 3]) * np.float32(0.25)
    return (mean * 255 + np.float32(0.5)).astype(np.uint8)
