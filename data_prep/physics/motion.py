"""Motion in closed form in a vertical plane: a path is a sequence of segments of constant acceleration.

The plane is in metres: x to the right, z up. The floor is z = 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GRAVITY_M_S2 = 9.81
EDGE_M = 2.0  # the picture shows x from -2 to 2
START_M = 2.3  # where bodies that slow down start, just outside the picture
ROLLING = 2 / 3  # a rolling disc accelerates on a slope by this fraction of a sliding body's acceleration
FLOOR = "floor"
Vec2 = tuple[float, float]


@dataclass(frozen=True)
class Segment:
    """Motion of constant acceleration, from `start_s` until the next segment starts."""

    start_s: float
    position_m: Vec2
    velocity_m_s: Vec2 = (0.0, 0.0)
    acceleration_m_s2: Vec2 = (0.0, 0.0)
    supported: bool = True  # touches the floor or a structure throughout; otherwise it is in free flight
    hits: str = ""  # name of what it hits at `start_s`: an object or FLOOR
    stands_on: str = ""  # name of the structure that it touches throughout


Path = tuple[Segment, ...]


@dataclass(frozen=True)
class Track:
    """A path at the times of T frames."""

    position_m: NDArray[np.float64]  # [T, 2]
    velocity_m_s: NDArray[np.float64]  # [T, 2]
    supported: NDArray[np.bool_]  # [T], touched something since the frame before
    touched: tuple[frozenset[str], ...]  # names of the objects touched since the frame before, per frame


def track(path: Path, times_s: NDArray[np.float64]) -> Track:
    """Evaluate a path at the times of frames."""
    starts = np.array([segment.start_s for segment in path])
    index = np.clip(np.searchsorted(starts, times_s, side="right") - 1, 0, None)
    elapsed = (times_s - starts[index])[:, None]
    start, velocity, acceleration = (
        np.array([getattr(segment, name) for segment in path])[index]
        for name in ("position_m", "velocity_m_s", "acceleration_m_s2")
    )
    before = np.concatenate([index[:1], index[:-1]])
    spans = [path[first : last + 1] for first, last in zip(before, index, strict=True)]
    touched = [frozenset({it.stands_on for it in span} | {it.hits for it in span[1:]}) - {""} for span in spans]
    return Track(
        position_m=start + velocity * elapsed + 0.5 * acceleration * elapsed**2,
        velocity_m_s=velocity + acceleration * elapsed,
        supported=np.array([any(it.supported for it in span) or any(it.hits for it in span[1:]) for span in spans]),
        touched=tuple(touched),
    )


def resting(x_m: float, z_m: float) -> Path:
    """A body that does not move."""
    return (Segment(0.0, (x_m, z_m)),)


def passing(side: int, speed_m_s: float, middle_s: float, z_m: float, stands_on: str = "") -> Path:
    """From a side (-1 left, 1 right) at constant speed, at x = 0 at `middle_s`."""
    return (Segment(0.0, (side * speed_m_s * middle_s, z_m), (-side * speed_m_s, 0.0), stands_on=stands_on),)


def stopping(side: int, rest_m: float, stop_s: float, z_m: float) -> Path:
    """From a side, slowed down by friction to rest at x = `rest_m` at time `stop_s`."""
    start_m = side * START_M
    deceleration = 2 * (start_m - rest_m) / stop_s**2
    sliding = Segment(0.0, (start_m, z_m), (-deceleration * stop_s, 0.0), (deceleration, 0.0))
    return sliding, Segment(stop_s, (rest_m, z_m))


def until_wall(
    side: int, speed_m_s: float, contact_s: float, contact_m: float, z_m: float, wall: str, *, bounces: bool
) -> Path:
    """From a side until it hits a wall at `contact_s`; it stops there or moves back at the same speed."""
    start = (contact_m + side * speed_m_s * contact_s, z_m)
    after = (side * speed_m_s if bounces else 0.0, 0.0)
    stands_on = "" if bounces else wall
    approach = Segment(0.0, start, (-side * speed_m_s, 0.0))
    return approach, Segment(contact_s, (contact_m, z_m), after, hits=wall, stands_on=stands_on)


def falling(x_m: float, z_m: float, rise_m_s: float, rest_z_m: float, restitution: float = 0.0, stands_on: str = "") -> Path:
    """Thrown up and falling to `rest_z_m`. It bounces with this coefficient of restitution, 0 for not at all."""
    segments, start_s, velocity = [], 0.0, rise_m_s
    height, hits = z_m, ""
    while True:
        segments.append(Segment(start_s, (x_m, height), (0.0, velocity), (0.0, -GRAVITY_M_S2), supported=False, hits=hits))
        flight_s = fall_s(height - rest_z_m, velocity)
        start_s, height, hits = start_s + flight_s, rest_z_m, stands_on or FLOOR
        velocity = restitution * (GRAVITY_M_S2 * flight_s - velocity)
        if velocity < 0.6:
            return *segments, Segment(start_s, (x_m, rest_z_m), hits=hits, stands_on=stands_on)


def fall_s(drop_m: float, rise_m_s: float) -> float:
    """Time of a free fall over `drop_m` that begins at an upward speed."""
    return float((rise_m_s + np.sqrt(rise_m_s**2 + 2 * GRAVITY_M_S2 * drop_m)) / GRAVITY_M_S2)


def down_ramp(
    z_m: float, rise_m_s: float, radius_m: float, lower_side: int, slope_rad: float, half_length_m: float, ramp: str
) -> Path:
    """A disc that falls on the middle of a ramp at x = 0, rolls down, and rolls on over the floor.

    lower_side: where the ramp meets the floor, -1 left or 1 right.
    """
    sine, cosine = float(np.sin(slope_rad)), float(np.cos(slope_rad))
    landing_z_m = half_length_m * sine / cosine + radius_m / cosine
    landing_s = fall_s(z_m - landing_z_m, rise_m_s)
    acceleration = ROLLING * GRAVITY_M_S2 * sine
    distance = (landing_z_m - radius_m) / sine
    roll_s = float(np.sqrt(2 * distance / acceleration))
    along = (lower_side * cosine * acceleration, -sine * acceleration)
    end_m = lower_side * distance * cosine
    return (
        Segment(0.0, (0.0, z_m), (0.0, rise_m_s), (0.0, -GRAVITY_M_S2), supported=False),
        Segment(landing_s, (0.0, landing_z_m), (0.0, 0.0), along, hits=ramp, stands_on=ramp),
        Segment(landing_s + roll_s, (end_m, radius_m), (along[0] * roll_s, 0.0), hits=ramp),
    )


def flying(
    side: int, speed_m_s: float, middle_s: float, middle_z_m: float, rise_m_s: float, floor_z_m: float, until_s: float
) -> Path:
    """From a side, in free flight; at `middle_s` it is at x = 0 and `middle_z_m` and rises at `rise_m_s`.

    floor_z_m: height of its centre when it touches the floor, where it bounces without losing speed.
    """
    bounce_m_s = float(np.sqrt(rise_m_s**2 + 2 * GRAVITY_M_S2 * (middle_z_m - floor_z_m)))
    period_s = 2 * bounce_m_s / GRAVITY_M_S2
    start_s = middle_s - (bounce_m_s - rise_m_s) / GRAVITY_M_S2
    start_s -= period_s * float(np.ceil(start_s / period_s))
    segments = []
    while start_s < until_s:
        start = (side * speed_m_s * (middle_s - start_s), floor_z_m)
        velocity = (-side * speed_m_s, bounce_m_s)
        segments.append(Segment(start_s, start, velocity, (0.0, -GRAVITY_M_S2), supported=False, hits=FLOOR))
        start_s += period_s
    return tuple(segments)


def launched(rest_m: float, z_m: float, hit_s: float, velocity_m_s: float, striker: str) -> Path:
    """A disc at rest that takes over the velocity of a disc of equal mass, which hits it at `hit_s`."""
    return Segment(0.0, (rest_m, z_m)), Segment(hit_s, (rest_m, z_m), (velocity_m_s, 0.0), hits=striker)
