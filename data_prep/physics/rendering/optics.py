"""The geometry of a pinhole and of lamps: pure functions on rows of rays. Rays lie pixel by pixel, SAMPLES to each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from data_prep.physics.scenes import Camera, Format, Scene

SAMPLES = 4


def dot(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Row by row: [R, 3], [R, 3] -> [R]."""
    return np.einsum("ri,ri->r", one, other)


def pixels(rays: NDArray[np.int64]) -> int:
    """How many pixels these rays (in rising order) belong to."""
    return int(np.count_nonzero(np.diff(rays // SAMPLES)) + 1) if len(rays) else 0


def lens(size_px: int, fov_deg: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Unit rays [R, 3] in the camera's axes (it looks along -z), four to a pixel, and their cosine to its axis [R]."""
    focal = 0.5 * size_px / np.tan(np.deg2rad(fov_deg) / 2)
    inner = np.array([0.25, 0.75])
    y, x, dy, dx = np.meshgrid(np.arange(size_px), np.arange(size_px), inner, inner, indexing="ij")
    right, down = (x + dx - size_px / 2).ravel(), (y + dy - size_px / 2).ravel()
    rays = np.stack([right / focal, -down / focal, -np.ones_like(right)], axis=1)
    length = np.sqrt(dot(rays, rays))
    return rays / length[:, None], 1 / length


def pose(camera: Camera, frame: int, film: Format) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the eye is, and its axes as columns: right, up, backwards."""
    along = frame / max(film.frames - 1, 1)
    eye = np.asarray(camera.position_m, float) + along * np.asarray(camera.drift_m)
    back = eye - np.asarray(camera.look_at_m)
    back = back / np.sqrt((back * back).sum())
    right = np.cross([0.0, 0.0, 1.0], back)
    right = right / np.sqrt((right * right).sum())
    return eye, np.stack([right, np.cross(back, right), back], axis=1)


def focal_px(camera: Camera, film: Format) -> float:
    """Distance from the eye to the picture, in pixels."""
    return float(0.5 * film.size_px / np.tan(np.deg2rad(camera.fov_deg) / 2))


def project(camera: Camera, film: Format, frame: int, points_m: NDArray[np.float64]) -> NDArray[np.float32]:
    """World points [O, 3] -> where they appear [O, 2] in pixels (x right, y down), whether or not they can be seen."""
    eye, axes = pose(camera, frame, film)
    local = (points_m - eye) @ axes
    scale = focal_px(camera, film) / np.maximum(-local[:, 2], 1e-6)
    half = film.size_px / 2
    return np.stack([half + scale * local[:, 0], half - scale * local[:, 1]], axis=1).astype(np.float32)


def apparent_px(
    camera: Camera, film: Format, frame: int, points_m: NDArray[np.float64], widths_m: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Apparent width [O] of things of these widths [O] at these points [O, 3]."""
    eye, axes = pose(camera, frame, film)
    away = np.maximum(-((points_m - eye) @ axes)[:, 2], 1e-6)
    return (focal_px(camera, film) * widths_m / away).astype(np.float32)


def from_lamp(
    lamp: NDArray[np.float64], points: NDArray[np.float64], normal: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Unit directions [R, 3] from a lamp to points, distances [R], cosines of incidence [R]."""
    direction = points - lamp
    reach = np.sqrt(dot(direction, direction))
    direction /= reach[:, None]
    return direction, reach, -dot(direction, normal)


def ambient(scene: Scene, normal: NDArray[np.float64]) -> NDArray[np.float32]:
    return (scene.light.ambient * (0.8 + 0.2 * normal[:, 2])).astype(np.float32)


def sky(scene: Scene, size_px: int) -> NDArray[np.float32]:
    """The sky behind each ray [R, 3]: paler towards the horizon."""
    fade = np.linspace(0.85, 1.0, size_px, dtype=np.float32)
    rows = np.asarray(scene.sky_rgb, np.float32)[None] * fade[:, None]
    return np.repeat(rows, size_px * SAMPLES, axis=0)


def average(samples: NDArray[np.float32]) -> NDArray[np.uint8]:
    """[P, 4, 3] between 0 and 1 -> [P, 3] uint8."""
    mean = (samples[:, 0] + samples[:, 1] + samples[:, 2] + samples[:, 3]) * np.float32(0.25)
    return (mean * 255 + np.float32(0.5)).astype(np.uint8)
