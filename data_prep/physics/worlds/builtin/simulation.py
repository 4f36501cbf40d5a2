"""Simulation with MuJoCo: a scene gives a trajectory, with positions and contacts at every frame."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from data_prep.physics.video_format import VideoFormat
from data_prep.physics.worlds.builtin.scenes import Entity, Scene

STEPS_PER_S = 240
FIXED, MOVING, BACKDROP, ISOLATED = 0, 1, 2, 5
"""Groups of geoms for the ray caster: cached, cast for every frame, without shadow, cast alone."""
ELASTIC_CONTACT = "-6000 -4"  # stiffness and damping (MuJoCo's solref): a body keeps nearly all its speed
DAMPED_CONTACT = "0.02 1"


@dataclass(frozen=True)
class Trajectory:
    """Positions of the O entities of a scene at each of T frames, and their contacts."""

    names: tuple[str, ...]
    position_m: NDArray[np.float64]  # [T, O, 3]
    quaternion: NDArray[np.float64]  # [T, O, 4]
    velocity_m_s: NDArray[np.float64]  # [T, O, 3]
    contact: NDArray[np.bool_]  # [T, O, O]

    def reordered(self, scene: Scene) -> Trajectory:
        """The trajectory for the entities of another scene, matched by name.

        Entities that this trajectory does not know stay where the scene places them.
        """
        frames = len(self.position_m)
        index_of = {name: index for index, name in enumerate(self.names)}
        count = len(scene.entities)
        position = np.zeros((frames, count, 3))
        quaternion = np.zeros((frames, count, 4))
        velocity = np.zeros((frames, count, 3))
        contact = np.zeros((frames, count, count), bool)
        old_indices = [index_of.get(entity.name) for entity in scene.entities]
        for new, (entity, old) in enumerate(zip(scene.entities, old_indices, strict=True)):
            if old is None or entity.motion != "free":
                position[:, new], quaternion[:, new] = entity.position_m, entity.quaternion
            if old is not None:
                position[:, new], quaternion[:, new] = self.position_m[:, old], self.quaternion[:, old]
                velocity[:, new] = self.velocity_m_s[:, old]
                for other, old_other in enumerate(old_indices):
                    if old_other is not None:
                        contact[:, new, other] = self.contact[:, old, old_other]
        return Trajectory(tuple(entity.name for entity in scene.entities), position, quaternion, velocity, contact)


def build(scene: Scene) -> mujoco.MjModel:
    """The scene as a MuJoCo model.

    The geom of entity i is named g{i}. Scripted entities are mocap bodies without collisions.
    """
    fixed, bodies = [], []
    for index, entity in enumerate(scene.entities):
        geom = _geom(index, entity)
        if entity.motion == "fixed":
            fixed.append((index, geom))
        elif entity.motion == "free":
            bodies.append(
                f'<body name="b{index}" pos="{_row(entity.position_m)}" quat="{_row(entity.quaternion)}">'
                f"<freejoint/>{geom}</body>"
            )
        else:
            bodies.append(f'<body name="b{index}" mocap="true" pos="{_row(entity.position_m)}">{geom}</body>')
    return mujoco.MjModel.from_xml_string(
        f'<mujoco><compiler autolimits="true"/><option timestep="{1 / STEPS_PER_S!r}" integrator="implicitfast"/>'
        f"<worldbody>{''.join(geom for _, geom in fixed)}{''.join(bodies)}</worldbody></mujoco>"
    )


def geom_ids(model: mujoco.MjModel, scene: Scene) -> NDArray[np.int64]:
    """The model's geom id of each entity [O]."""
    return np.array([model.geom(f"g{index}").id for index in range(len(scene.entities))])


def simulate(scene: Scene, video: VideoFormat) -> Trajectory:
    """Simulate a scene. The result is physically possible, since only MuJoCo moves free entities."""
    model = build(scene)
    data = mujoco.MjData(model)
    owner = np.empty(model.ngeom, np.int64)
    owner[geom_ids(model, scene)] = np.arange(len(scene.entities))
    free = _free_addresses(model, scene)
    for index, (_, dof) in free.items():
        entity = scene.entities[index]
        data.qvel[dof : dof + 3] = entity.velocity_m_s
        data.qvel[dof + 3 : dof + 6] = entity.spin_rad_s
    count, steps = len(scene.entities), round(STEPS_PER_S / video.fps)
    position = np.zeros((video.frames, count, 3))
    quaternion = np.zeros((video.frames, count, 4))
    velocity = np.zeros((video.frames, count, 3))
    contact = np.zeros((video.frames, count, count), bool)
    for index, entity in enumerate(scene.entities):
        position[:, index], quaternion[:, index] = entity.position_m, entity.quaternion
        if entity.motion == "scripted":
            position[:, index], velocity[:, index] = follow_script(entity, video)
    for frame in range(video.frames):
        for index, (joint, dof) in free.items():
            position[frame, index] = data.qpos[joint : joint + 3]
            quaternion[frame, index] = data.qpos[joint + 3 : joint + 7]
            velocity[frame, index] = data.qvel[dof : dof + 3]
        if frame + 1 == video.frames or not free:
            continue
        for _ in range(steps):
            mujoco.mj_step(model, data)
            for pair in data.contact.geom[: data.ncon]:
                one, other = owner[pair[0]], owner[pair[1]]
                contact[frame + 1, one, other] = contact[frame + 1, other, one] = True
    return Trajectory(tuple(entity.name for entity in scene.entities), position, quaternion, velocity, contact)


class PosedModel:
    """A MuJoCo model that is put into the state of one frame of a trajectory, for the camera."""

    def __init__(self, scene: Scene, trajectory: Trajectory) -> None:
        self.model = build(scene)
        self.data = mujoco.MjData(self.model)
        self.geoms = geom_ids(self.model, scene)
        self._trajectory = trajectory
        self._free = _free_addresses(self.model, scene)
        self._scripted = {
            index: int(self.model.body_mocapid[self.model.body(f"b{index}").id])
            for index, entity in enumerate(scene.entities)
            if entity.motion == "scripted"
        }

    def scripted_positions(self, frame: int) -> tuple[float, ...]:
        """The positions of the scripted entities at a frame, as one hashable value."""
        return tuple(float(x) for index in self._scripted for x in self._trajectory.position_m[frame, index])

    def pose(self, frame: int) -> None:
        """Put the model into the state of a frame."""
        for index, (joint, _) in self._free.items():
            self.data.qpos[joint : joint + 3] = self._trajectory.position_m[frame, index]
            self.data.qpos[joint + 3 : joint + 7] = self._trajectory.quaternion[frame, index]
        for index, mocap in self._scripted.items():
            self.data.mocap_pos[mocap] = self._trajectory.position_m[frame, index]
        mujoco.mj_kinematics(self.model, self.data)


def _geom(index: int, entity: Entity) -> str:
    collision = ' contype="0" conaffinity="0"' if entity.motion == "scripted" else ""
    mass = ' mass="1" priority="1"' if entity.motion == "free" else ""
    group = BACKDROP if entity.is_backdrop else FIXED if entity.motion == "fixed" else MOVING
    pose = "" if entity.motion != "fixed" else f' pos="{_row(entity.position_m)}" quat="{_row(entity.quaternion)}"'
    return (
        f'<geom name="g{index}" type="{entity.shape}" size="{_row(entity.size_m)}"{pose}{collision}{mass}'
        f' group="{group}" friction="{entity.friction!r} 0.005 0.00005"'
        f' solref="{ELASTIC_CONTACT if entity.elastic else DAMPED_CONTACT}"/>'
    )


def _row(values: tuple[float, ...]) -> str:
    return " ".join(repr(float(value)) for value in values)


def _free_addresses(model: mujoco.MjModel, scene: Scene) -> dict[int, tuple[int, int]]:
    """The first index of each free entity in qpos and in qvel."""
    addresses = {}
    for index, entity in enumerate(scene.entities):
        if entity.motion == "free":
            joint = model.body(f"b{index}").jntadr[0]
            addresses[index] = (int(model.jnt_qposadr[joint]), int(model.jnt_dofadr[joint]))
    return addresses


def follow_script(entity: Entity, video: VideoFormat) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Positions and velocities [T, 3] of a scripted entity."""
    times_s = np.arange(video.frames) / video.fps
    key_times_s = np.array([time_s for time_s, _ in entity.path])
    key_positions = np.array([position_m for _, position_m in entity.path])
    position = np.stack([np.interp(times_s, key_times_s, key_positions[:, axis]) for axis in range(3)], axis=1)
    velocity = np.zeros_like(position)
    velocity[1:] = np.diff(position, axis=0) * video.fps
    return position, velocity
