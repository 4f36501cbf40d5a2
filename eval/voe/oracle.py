"""A scorer that reads the ground truth and counts violations: the upper bound of a property.

It checks seven rules on the true state of each frame: a body that was present is still present; its
displacement fits its velocity; its velocity changes only on contact; a body that touches nothing
falls; a body that turns where it stands does not turn by a jump; no body is inside another; no body
in the picture is below the floor.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from data_prep.physics.worlds.flat.shapes import BELOW

GRAVITY_M_S2 = 9.81
POSITION_TOLERANCE_M = 0.06  # rounding to frames changes a position by up to this
SPEED_TOLERANCE_M_S, SPEED_TOLERANCE_FRACTION = 0.04, 0.15  # a larger change of speed, beyond friction, needs a contact
TURN_TOLERANCE_RAD = 0.2  # a body may turn by this much more in one frame than in the frames before and after
FALL_TOLERANCE_M_S = 0.25  # a body in free fall may differ from gravity by this in one frame
PENETRATION_FRACTION = 0.4  # of its half width: how near a body's middle may come to another's surface
OVERLAP_FRACTION = 0.8  # two moving bodies may come as near as this fraction of the sum of their smallest half sizes
SUNK_TOLERANCE_M = 0.06  # how far below the floor a body's lowest point may be
SUBSTEPS = 12
UNTOUCHED = "changes velocity untouched"


def count_violations(truth: Mapping[str, NDArray], fps: float) -> int:
    """Weighted number of violations in a video. `truth` is the video's npz file.

    A violation counts 2, a change of velocity without contact 1: a sliding box sometimes catches
    on its own edge, which the ground truth does not record.
    """
    return sum(1 if UNTOUCHED in message else 2 for message in violations(truth, fps))


def violations(truth: Mapping[str, NDArray], fps: float) -> list[str]:
    """The violations in a video as messages: "frame 12: ball disappears"."""
    found = []
    names = [str(name) for name in truth["names"]]
    present = truth["present"]
    for index, name in enumerate(names):
        for frame in np.nonzero(present[1:, index] != present[:-1, index])[0] + 1:
            found.append(f"frame {frame}: {name} {'appears' if present[frame, index] else 'disappears'}")
        frames = np.flatnonzero(present[1:, index] & present[:-1, index])  # present in the frame and in the next
        if truth["fixed"][index]:
            continue
        found += [f"frame {frame + 1}: {name} {message}" for frame, message in _motion(truth, index, frames, fps)]
        found += [f"frame {frame + 1}: {name} turns by a jump" for frame in _jumps_in_turning(truth, index, frames)]
        found += [f"frame {frame}: {name} is below the floor" for frame in _frames_below_the_floor(truth, index)]
        for other in range(len(names)):
            inside = _frames_inside(truth, index, other, frames)
            if other > index and not truth["fixed"][other]:
                inside = _frames_overlapping(truth, index, other, frames)
            found += [f"frame {frame + 1}: {name} is inside {names[other]}" for frame in inside]
    return found


def _motion(truth: Mapping[str, NDArray], index: int, frames: NDArray, fps: float) -> list[tuple[int, str]]:
    position, velocity = truth["position_m"][:, index], truth["velocity_m_s"][:, index]
    touching, contact = truth["touching"][:, index], np.asarray(truth["contact"][:, index].any(1))
    found = []
    change = np.zeros(len(position))
    change[:-1] = np.abs(np.diff(velocity[:, :2], axis=0)).max(1)
    for frame in frames:
        displacement = position[frame + 1] - position[frame]
        mean = (velocity[frame + 1] + velocity[frame]) / 2 / fps
        slack = np.full(3, POSITION_TOLERANCE_M + np.abs(velocity[frame + 1] - velocity[frame]).max() / 2 / fps)
        if touching[frame + 1]:  # it may have bounced, and gravity has taken back part of the change of velocity
            slack[2] += GRAVITY_M_S2 / fps / 2 / fps
        if (np.abs(displacement - mean) > slack).any():
            found.append((frame, "jumps"))
        elif not touching[frame + 1]:  # nothing touched it from this frame to the next
            fall_error = abs(velocity[frame + 1, 2] - velocity[frame, 2] + GRAVITY_M_S2 / fps)
            if fall_error > FALL_TOLERANCE_M_S or change[frame] > 0.1:
                found.append((frame, "does not fall freely"))
        elif touching[frame] and not contact[max(frame - 1, 0) : frame + 3].any():
            around = max(_value_at(change, frame - 1), _value_at(change, frame + 1))
            speed = np.abs(velocity[frame, :2]).max()
            if change[frame] > SPEED_TOLERANCE_M_S + SPEED_TOLERANCE_FRACTION * speed + 1.5 * around:
                found.append((frame, UNTOUCHED))
    return found


def _jumps_in_turning(truth: Mapping[str, NDArray], index: int, frames: NDArray) -> list[int]:
    """Frames after which a body that stays at its position turns by more than in the frames before and after."""
    position, quaternion = truth["position_m"][:, index], truth["quaternion"][:, index]
    stays = (np.diff(position, axis=0) == 0).all(1)
    cosine = np.abs((quaternion[1:] * quaternion[:-1]).sum(1))
    angle = 2 * np.arccos(np.clip(np.nan_to_num(cosine, nan=1.0), 0, 1))
    around = np.maximum(np.append(angle[1:], np.inf), np.insert(angle[:-1], 0, np.inf))
    stays_around = stays & np.append(stays[1:], False) & np.insert(stays[:-1], 0, False)
    return [int(frame) for frame in frames if stays_around[frame] and angle[frame] > around[frame] + TURN_TOLERANCE_RAD]


def _value_at(values: NDArray, index: int) -> float:
    """values[index], or 0 where it is outside or not finite."""
    return float(values[index]) if 0 <= index < len(values) and np.isfinite(values[index]) else 0.0


def _frames_inside(truth: Mapping[str, NDArray], index: int, other: int, frames: NDArray) -> list[int]:
    """Frames after which a moving body's middle passes through a box that does not move."""
    position, solid = truth["position_m"][:, index], truth["position_m"][:, other]
    still = np.abs(np.diff(solid, axis=0)).max() == 0 if np.isfinite(solid).all() else False
    if index == other or str(truth["shape"][other]) != "box" or not still or np.abs(np.diff(position, axis=0)).max() == 0:
        return []
    rotation = _rotation_matrix(truth["quaternion"][0, other])
    # a box may be thinner than a body moves in a frame, so its bounds grow by a fraction of the
    # body's own width
    bounds = truth["half_size_m"][other] + PENETRATION_FRACTION * truth["half_size_m"][index].min()
    found = []
    for frame in frames:
        path = position[frame] + np.linspace(0, 1, SUBSTEPS)[:, None] * (position[frame + 1] - position[frame])
        if (np.abs((path - solid[frame]) @ rotation) < bounds).all(1).any():
            found.append(int(frame))
    return found


def _frames_overlapping(truth: Mapping[str, NDArray], index: int, other: int, frames: NDArray) -> list[int]:
    """Frames after which two bodies that can move are inside each other. Touching is allowed."""
    apart = truth["position_m"][:, index] - truth["position_m"][:, other]  # NaN where one of them is not present
    nearest = OVERLAP_FRACTION * (truth["half_size_m"][index].min() + truth["half_size_m"][other].min())
    steps = np.linspace(0, 1, SUBSTEPS)[:, None]
    return [
        int(frame)
        for frame in frames
        if (np.linalg.norm(apart[frame] + steps * (apart[frame + 1] - apart[frame]), axis=1) < nearest).any()
    ]


def _frames_below_the_floor(truth: Mapping[str, NDArray], index: int) -> NDArray:
    """Frames in which a body in the picture is lower than where it would stand on the floor."""
    standing_m = BELOW.get(str(truth["shape"][index]), 1.0) * truth["half_size_m"][index].min()
    return np.flatnonzero(
        (truth["unoccluded_px"][:, index] > 0) & (truth["position_m"][:, index, 2] < standing_m - SUNK_TOLERANCE_M)
    )


def _rotation_matrix(quaternion: NDArray) -> NDArray:
    """Rotation matrix of a unit quaternion (w, x, y, z)."""
    w, x, y, z = quaternion
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
