"""Rendering of a scene as a video with its ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from data_prep.physics.rendered_video import OCCLUDER_ID, RenderedVideo
from data_prep.physics.video_format import VideoFormat
from data_prep.physics.worlds.builtin.rendering.camera import RayCamera
from data_prep.physics.worlds.builtin.rendering.optics import apparent_px, project
from data_prep.physics.worlds.builtin.scenes import Camera, Entity, Scene
from data_prep.physics.worlds.builtin.simulation import PosedModel, Trajectory, simulate


def render_video(
    scene: Scene,
    video: VideoFormat,
    trajectory: Trajectory | None = None,
    start: int = 0,
    cameras: Sequence[Camera] | None = None,
) -> RenderedVideo:
    """Simulate a scene, unless a trajectory is given, and render it.

    Frames before `start` stay black. cameras: one for each frame; by default that of the scene.
    """
    trajectory = simulate(scene, video) if trajectory is None else trajectory
    posed = PosedModel(scene, trajectory)
    cameras = [scene.camera] * video.frames if cameras is None else cameras
    views = {camera: RayCamera(replace(scene, camera=camera), posed, video) for camera in dict.fromkeys(cameras)}
    indices = [index for index, entity in enumerate(scene.entities) if entity.is_object]
    objects = [scene.entities[index] for index in indices]
    count, size, total = len(objects), video.size_px, video.frames
    ids = np.zeros(len(scene.entities) + 1, np.uint8)
    ids[indices] = np.arange(1, count + 1)
    ids[[index for index, entity in enumerate(scene.entities) if entity.is_occluder]] = OCCLUDER_ID
    frames = np.zeros((total, size, size, 3), np.uint8)
    segmentation = np.zeros((total, size, size), np.uint8)
    depth = np.zeros((total, size, size), np.float16)
    visible, unoccluded = np.zeros((2, total, count), np.int32)
    centre, width = np.zeros((total, count, 2), np.float32), np.zeros((total, count), np.float32)
    widths_m = np.array([_width_m(entity) for entity in objects])
    for frame in range(start, total):
        camera = cameras[frame]
        rendered = views[camera].render(frame)
        frames[frame], depth[frame] = rendered.rgb, rendered.depth_m
        segmentation[frame] = ids[rendered.entity]
        visible[frame], unoccluded[frame] = rendered.visible_px[indices], rendered.unoccluded_px[indices]
        centre[frame] = project(camera, video, frame, trajectory.position_m[frame, indices])
        width[frame] = apparent_px(camera, video, frame, trajectory.position_m[frame, indices], widths_m)
    return RenderedVideo(
        frames=frames,
        names=tuple(entity.name for entity in objects),
        shape=tuple(entity.shape for entity in objects),
        fixed=np.array([entity.motion == "fixed" for entity in objects], bool),
        colour_rgb=np.array([entity.colour_rgb for entity in objects], np.float32).reshape(count, 3),
        size_m=widths_m.astype(np.float32),
        half_size_m=np.array([_half_sizes(entity) for entity in objects], np.float32).reshape(count, 3),
        present=np.ones((total, count), bool),
        position_m=trajectory.position_m[:, indices],
        velocity_m_s=trajectory.velocity_m_s[:, indices],
        quaternion=trajectory.quaternion[:, indices],
        contact=trajectory.contact[:, indices][:, :, indices],
        touching=np.asarray(trajectory.contact[:, indices].any(2)),
        visible_px=visible,
        unoccluded_px=unoccluded,
        centre_px=centre,
        width_px=width,
        segmentation=segmentation,
        depth_m=depth,
    )


def _width_m(entity: Entity) -> float:
    half = _half_sizes(entity)
    return 2 * (half[2] if entity.shape == "capsule" else half[0])  # a capsule lies along x


def _half_sizes(entity: Entity) -> tuple[float, float, float]:
    if entity.shape == "sphere":
        return (entity.size_m[0],) * 3
    if entity.shape in ("cylinder", "capsule"):
        radius, half = entity.size_m
        return radius, radius, half + (radius if entity.shape == "capsule" else 0.0)
    return entity.size_m[0], entity.size_m[1], entity.size_m[2]
