"""A scorer that reads the truth of a film and counts what cannot have happened: the upper bound of every property.

It asks five things of the true state, frame by frame: is what was there still there, did it move as fast as its velocity
says, did it change its way only when something touched it, does what touches nothing fall, is nothing inside another.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

GRAVITY_M_S2 = 9.81
PLACE_M = 0.06  # what the rounding of a frame may make of a place
STEP_M_S, STEP_SHARE = 0.04, 0.15  # a change of pace that needs a reason, beyond what friction does before and after it
FALL_M_S = 0.25  # what a body in free fall may miss of gravity in a frame
INSIDE = 0.4  # of its half width, how near a body's middle may come to another's surface
SUBSTEPS = 12
UNTOUCHED = "changes its way untouched"


def count_violations(truth: Mapping[str, NDArray], fps: float) -> int:
    """How many things in a film are impossible; 0 for a lawful one. `truth` is the film's npz.

    A change of way counts half: now and then a sliding box stumbles over its own edge, which the truth does not tell.
    """
    return sum(1 if UNTOUCHED in words else 2 for words in violations(truth, fps))


def violations(truth: Mapping[str, NDArray], fps: float) -> list[str]:
    """What is impossible in a film, in words: "frame 12: ball is gone"."""
    found = []
    names = [str(name) for name in truth["names"]]
    present = truth["present"]
    for index, name in enumerate(names):
        for frame in np.nonzero(present[1:, index] != present[:-1, index])[0] + 1:
            found.append(f"frame {frame}: {name} is {'there' if present[frame, index] else 'gone'}")
        frames = np.flatnonzero(present[1:, index] & present[:-1, index])  # both it and the next
        if truth["fixed"][index]:
            continue
        found += [f"frame {frame + 1}: {name} {what}" for frame, what in _motion(truth, index, frames, fps)]
        for other in range(len(names)):
            found += [f"frame {frame + 1}: {name} is in {names[other]}" for frame in _inside(truth, index, other, frames)]
    return found


def _motion(truth: Mapping[str, NDArray], index: int, frames: NDArray, fps: float) -> list[tuple[int, str]]:
    place, velocity = truth["position_m"][:, index], truth["velocity_m_s"][:, index]
    touching, met = truth["touching"][:, index], np.asarray(truth["contact"][:, index].any(1))
    found = []
    change = np.zeros(len(place))
    change[:-1] = np.abs(np.diff(velocity[:, :2], axis=0)).max(1)
    for frame in frames:
        step = place[frame + 1] - place[frame]
        mean = (velocity[frame + 1] + velocity[frame]) / 2 / fps
        slack = np.abs(velocity[frame + 1] - velocity[frame]).max() / 2 / fps
        if np.abs(step - mean).max() > PLACE_M + slack:
            found.append((frame, "jumps"))
        elif not touching[frame + 1]:  # nothing touched it from this frame to the next
            if abs(velocity[frame + 1, 2] - velocity[frame, 2] + GRAVITY_M_S2 / fps) > FALL_M_S or change[frame] > 0.1:
                found.append((frame, "flies as nothing flies"))
        elif touching[frame] and not met[max(frame - 1, 0) : frame + 3].any():
            around = max(_finite(change, frame - 1), _finite(change, frame + 1))
            pace = np.abs(velocity[frame, :2]).max()
            if change[frame] > STEP_M_S + STEP_SHARE * pace + 1.5 * around:
                found.append((frame, UNTOUCHED))
    return found


def _finite(values: NDArray, place: int) -> float:
    return float(values[place]) if 0 <= place < len(values) and np.isfinite(values[place]) else 0.0


def _inside(truth: Mapping[str, NDArray], index: int, other: int, frames: NDArray) -> list[int]:
    """Frames on whose way to the next a moving body's middle is in a box that stands still."""
    place, solid = truth["position_m"][:, index], truth["position_m"][:, other]
    still = np.abs(np.diff(solid, axis=0)).max() == 0 if np.isfinite(solid).all() else False
    if index == other or str(truth["shape"][other]) != "box" or not still or np.abs(np.diff(place, axis=0)).max() == 0:
        return []
    turn = _matrix(truth["quaternion"][0, other])
    # a box that small bodies pass through is as thin as it is; they may not come nearer than a part of their own width
    bounds = truth["half_size_m"][other] + INSIDE * truth["half_size_m"][index].min()
    found = []
    for frame in frames:
        way = place[frame] + np.linspace(0, 1, SUBSTEPS)[:, None] * (place[frame + 1] - place[frame])
        if (np.abs((way - solid[frame]) @ turn) < bounds).all(1).any():
            found.append(int(frame))
    return found


def _matrix(quaternion: NDArray) -> NDArray:
    """Rotation matrix of a unit quaternion (w, x, y, z)."""
    w, x, y, z = quaternion
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
