"""Scenes of the look-away world: a scene of the built-in world, and when and why nothing of it is seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from data_prep.physics.motion import Path, track
from data_prep.physics.rendered_video import RenderedVideo
from data_prep.physics.video_format import VideoFormat
from data_prep.physics.worlds.builtin.rendering.video import render_video
from data_prep.physics.worlds.builtin.scenes import Camera, Scene
from data_prep.physics.worlds.builtin.simulation import Trajectory, follow_script, simulate

Cause = Literal["light", "camera"]
"""The light goes out, or the camera turns away."""
AWAY_DEG = 56.0  # how far the camera turns
TURN_FRAMES = 2  # at 24 frames: in how many frames it turns there, and in how many it turns back


@dataclass(frozen=True)
class LookAway:
    """When nothing is seen: the frames [start, stop)."""

    cause: Cause
    start: int
    stop: int
    side: int  # to which the camera turns, -1 left or 1 right

    def unseen_frames(self, video: VideoFormat) -> tuple[int, int]:
        """The frames in which the light is out, or the camera is turned away completely."""
        turning = turn_frames(video) if self.cause == "camera" else 0
        return self.start + turning, self.stop - turning


@dataclass(frozen=True)
class Turning:
    """A body that turns to and fro about its vertical axis, as on a torsion spring."""

    amplitude_rad: float
    period_s: float
    middle_s: float  # a time at which it is in the middle, on its way to positive angles

    def angle_rad(self, times_s: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.amplitude_rad * np.sin(2 * np.pi * (times_s - self.middle_s) / self.period_s)


@dataclass(frozen=True)
class LookAwayScene:
    """Everything that determines a video, except its format."""

    scene: Scene
    look_away: LookAway | None
    paths: Mapping[str, Path] = field(default_factory=dict)  # by name of free entity; without any, MuJoCo moves them all
    turns: Mapping[str, Turning] = field(default_factory=dict)  # by name of a sphere that stays where it is


def turn_frames(video: VideoFormat) -> int:
    """In how many frames the camera turns away."""
    return max(round(TURN_FRAMES * video.frames / 24), 1)


def render(scene: LookAwayScene, video: VideoFormat) -> RenderedVideo:
    """Move and render a scene. While the light is out, frames are black and nothing is visible."""
    trajectory = closed_form_trajectory(scene, video) if scene.paths else simulate(scene.scene, video)
    away = scene.look_away
    if away is None:
        return render_video(scene.scene, video, trajectory)
    if away.cause == "camera":
        return render_video(scene.scene, video, trajectory, cameras=_turning_camera(scene.scene.camera, away, video))
    rendered = render_video(scene.scene, video, trajectory)
    dark = slice(away.start, away.stop)
    rendered.frames[dark], rendered.segmentation[dark], rendered.visible_px[dark] = 0, 0, 0
    rendered.depth_m[dark] = np.inf
    return rendered


def _turning_camera(camera: Camera, away: LookAway, video: VideoFormat) -> list[Camera]:
    """The camera at each frame: it turns away, stays there, and turns back through the same positions."""
    turning = turn_frames(video)
    cameras = []
    for frame in range(video.frames):
        step = min(frame - away.start + 1, away.stop - frame, turning + 1)  # 0 or less: not turned
        cameras.append(_turned(camera, away.side * AWAY_DEG * step / (turning + 1)) if step > 0 else camera)
    return cameras


def _turned(camera: Camera, yaw_deg: float) -> Camera:
    """The camera turned about a vertical axis, to the right for positive angles."""
    sine, cosine = float(np.sin(np.deg2rad(yaw_deg))), float(np.cos(np.deg2rad(yaw_deg)))
    dx, dy = (target - eye for target, eye in zip(camera.look_at_m[:2], camera.position_m[:2], strict=True))
    eye_x, eye_y, _ = camera.position_m
    return replace(camera, look_at_m=(eye_x + cosine * dx + sine * dy, eye_y + cosine * dy - sine * dx, camera.look_at_m[2]))


def closed_form_trajectory(scene: LookAwayScene, video: VideoFormat) -> Trajectory:
    """The trajectory of bodies that follow paths along x, at the height of the scene plus that of the path. Spheres roll.

    A sphere has the orientation of the scene where its entity stands in the scene, so bodies that
    meet at that position look alike there.
    """
    entities = scene.scene.entities
    names = [entity.name for entity in entities]
    times_s, total, count = np.arange(video.frames) / video.fps, video.frames, len(entities)
    position, velocity = np.zeros((total, count, 3)), np.zeros((total, count, 3))
    quaternion = np.zeros((total, count, 4))
    contact = np.zeros((total, count, count), bool)
    for index, entity in enumerate(entities):
        position[:, index], quaternion[:, index] = entity.position_m, entity.quaternion
        if entity.motion == "scripted":
            position[:, index], velocity[:, index] = follow_script(entity, video)
        if entity.motion != "free":
            continue
        own = track(scene.paths[entity.name], times_s)
        position[:, index, 0], velocity[:, index, 0] = own.position_m[:, 0], own.velocity_m_s[:, 0]
        position[:, index, 2] += own.position_m[:, 1]
        velocity[:, index, 2] = own.velocity_m_s[:, 1]
        if entity.shape == "sphere":
            angle = (own.position_m[:, 0] - entity.position_m[0]) / entity.size_m[0]
            quaternion[:, index, 0], quaternion[:, index, 2] = np.cos(angle / 2), np.sin(angle / 2)
        if entity.name in scene.turns:
            angle = scene.turns[entity.name].angle_rad(times_s)
            quaternion[:, index] = 0.0
            quaternion[:, index, 0], quaternion[:, index, 3] = np.cos(angle / 2), np.sin(angle / 2)
        for frame, touched in enumerate(own.touched):
            floor = {"floor"} if own.supported[frame] else set()
            for other in map(names.index, floor | touched):
                contact[frame, index, other] = contact[frame, other, index] = True
    return Trajectory(tuple(names), position, quaternion, velocity, contact)
