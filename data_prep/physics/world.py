"""The laws: a scene becomes a MuJoCo model, MuJoCo moves it, and a track says where everything was at every frame."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from data_prep.physics.scenes import Format, Scene, Thing

STEPS_PER_S = 240
FIXED, MOVING, BACKDROP, ALONE = 0, 1, 2, 5
"""Geometry groups: what the camera caches, what it casts again, what casts no shadow, and what it asks about by itself
(hidden from every other question)."""
ELASTIC = "-6000 -4"  # stiffness and damping of a contact: nearly all the speed comes back
DULL = "0.02 1"


@dataclass(frozen=True)
class Track:
    """Where the O things of a scene were at each of T frames, and what touched what since the frame before."""

    names: tuple[str, ...]
    position_m: NDArray[np.float64]  # [T, O, 3]
    quaternion: NDArray[np.float64]  # [T, O, 4]
    velocity_m_s: NDArray[np.float64]  # [T, O, 3]
    contact: NDArray[np.bool_]  # [T, O, O]

    def reordered(self, scene: Scene) -> Track:
        """The track for another scene's things, by name: things this track does not know stand where the scene puts them."""
        frames = len(self.position_m)
        where = {name: index for index, name in enumerate(self.names)}
        count = len(scene.things)
        position = np.zeros((frames, count, 3))
        quaternion = np.zeros((frames, count, 4))
        velocity = np.zeros((frames, count, 3))
        contact = np.zeros((frames, count, count), bool)
        known = [where.get(thing.name) for thing in scene.things]
        for new, (thing, old) in enumerate(zip(scene.things, known, strict=True)):
            if old is None or thing.motion != "free":
                position[:, new], quaternion[:, new] = thing.position_m, thing.quaternion
            if old is not None:
                position[:, new], quaternion[:, new] = self.position_m[:, old], self.quaternion[:, old]
                velocity[:, new] = self.velocity_m_s[:, old]
                for other, its_old in enumerate(known):
                    if its_old is not None:
                        contact[:, new, other] = self.contact[:, old, its_old]
        return Track(tuple(thing.name for thing in scene.things), position, quaternion, velocity, contact)


def build(scene: Scene) -> mujoco.MjModel:
    """The scene as a MuJoCo model; geom i is thing i. Scripted things are mocap bodies that collide with nothing."""
    fixed, bodies = [], []
    for index, thing in enumerate(scene.things):
        geom = _geom(index, thing)
        if thing.motion == "fixed":
            fixed.append((index, geom))
        elif thing.motion == "free":
            bodies.append(
                f'<body name="b{index}" pos="{_row(thing.position_m)}" quat="{_row(thing.quaternion)}">'
                f"<freejoint/>{geom}</body>"
            )
        else:
            bodies.append(f'<body name="b{index}" mocap="true" pos="{_row(thing.position_m)}">{geom}</body>')
    return mujoco.MjModel.from_xml_string(
        f'<mujoco><compiler autolimits="true"/><option timestep="{1 / STEPS_PER_S!r}" integrator="implicitfast"/>'
        f"<worldbody>{''.join(geom for _, geom in fixed)}{''.join(bodies)}</worldbody></mujoco>"
    )


def geom_ids(model: mujoco.MjModel, scene: Scene) -> NDArray[np.int64]:
    """The model's geom id of each thing [O]."""
    return np.array([model.geom(f"g{index}").id for index in range(len(scene.things))])


def simulate(scene: Scene, film: Format) -> Track:
    """Let the scene happen. Lawful by construction: nothing but MuJoCo moves a free thing."""
    model = build(scene)
    data = mujoco.MjData(model)
    owner = np.empty(model.ngeom, np.int64)
    owner[geom_ids(model, scene)] = np.arange(len(scene.things))
    free = _free_addresses(model, scene)
    for index, (_, dof) in free.items():
        thing = scene.things[index]
        data.qvel[dof : dof + 3] = thing.velocity_m_s
        data.qvel[dof + 3 : dof + 6] = thing.spin_rad_s
    count, steps = len(scene.things), round(STEPS_PER_S / film.fps)
    position = np.zeros((film.frames, count, 3))
    quaternion = np.zeros((film.frames, count, 4))
    velocity = np.zeros((film.frames, count, 3))
    contact = np.zeros((film.frames, count, count), bool)
    for index, thing in enumerate(scene.things):
        position[:, index], quaternion[:, index] = thing.position_m, thing.quaternion
        if thing.motion == "scripted":
            position[:, index], velocity[:, index] = _follow(thing, film)
    for frame in range(film.frames):
        for index, (joint, dof) in free.items():
            position[frame, index] = data.qpos[joint : joint + 3]
            quaternion[frame, index] = data.qpos[joint + 3 : joint + 7]
            velocity[frame, index] = data.qvel[dof : dof + 3]
        if frame + 1 == film.frames or not free:
            continue
        for _ in range(steps):
            mujoco.mj_step(model, data)
            for pair in data.contact.geom[: data.ncon]:
                one, other = owner[pair[0]], owner[pair[1]]
                contact[frame + 1, one, other] = contact[frame + 1, other, one] = True
    return Track(tuple(thing.name for thing in scene.things), position, quaternion, velocity, contact)


class Puppets:
    """Puts a model into the state of one frame of a track, for the camera."""

    def __init__(self, scene: Scene, track: Track) -> None:
        self.model = build(scene)
        self.data = mujoco.MjData(self.model)
        self.geoms = geom_ids(self.model, scene)
        self._track = track
        self._free = _free_addresses(self.model, scene)
        self._scripted = {
            index: int(self.model.body_mocapid[self.model.body(f"b{index}").id])
            for index, thing in enumerate(scene.things)
            if thing.motion == "scripted"
        }

    def script(self, frame: int) -> tuple[float, ...]:
        """Where the scripted things are at a frame, as one comparable value."""
        return tuple(float(x) for index in self._scripted for x in self._track.position_m[frame, index])

    def pose(self, frame: int) -> None:
        for index, (joint, _) in self._free.items():
            self.data.qpos[joint : joint + 3] = self._track.position_m[frame, index]
            self.data.qpos[joint + 3 : joint + 7] = self._track.quaternion[frame, index]
        for index, mocap in self._scripted.items():
            self.data.mocap_pos[mocap] = self._track.position_m[frame, index]
        mujoco.mj_kinematics(self.model, self.data)


def _geom(index: int, thing: Thing) -> str:
    touch = ' contype="0" conaffinity="0"' if thing.motion == "scripted" else ""
    weight = ' mass="1" priority="1"' if thing.motion == "free" else ""
    group = BACKDROP if thing.backdrop else FIXED if thing.motion == "fixed" else MOVING
    place = "" if thing.motion != "fixed" else f' pos="{_row(thing.position_m)}" quat="{_row(thing.quaternion)}"'
    return (
        f'<geom name="g{index}" type="{thing.shape}" size="{_row(thing.size_m)}"{place}{touch}{weight}'
        f' group="{group}" friction="{thing.friction!r} 0.005 0.00005"'
        f' solref="{ELASTIC if thing.bouncy else DULL}"/>'
    )


def _row(values: tuple[float, ...]) -> str:
    return " ".join(repr(float(value)) for value in values)


def _free_addresses(model: mujoco.MjModel, scene: Scene) -> dict[int, tuple[int, int]]:
    """Thing -> where its joint stands in qpos and in qvel."""
    addresses = {}
    for index, thing in enumerate(scene.things):
        if thing.motion == "free":
            joint = model.body(f"b{index}").jntadr[0]
            addresses[index] = (int(model.jnt_qposadr[joint]), int(model.jnt_dofadr[joint]))
    return addresses


def _follow(thing: Thing, film: Format) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    times = np.arange(film.frames) / film.fps
    keys = np.array([time for time, _ in thing.path])
    places = np.array([place for _, place in thing.path])
    position = np.stack([np.interp(times, keys, places[:, axis]) for axis in range(3)], axis=1)
    velocity = np.zeros_like(position)
    velocity[1:] = np.diff(position, axis=0) * film.fps
    return position, velocity
