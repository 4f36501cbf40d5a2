"""What is read off latents: properties of a film's body at each moment, exact, from the truth.

Of several bodies a reading would not say which is meant. So all but `count` and `depth order` are of the one body that
can move, in films that have exactly one, at moments when at least half of it shows. NaN stands where a property is not
defined; such moments are neither fitted nor judged.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eval.probes.ground_truth import FilmTruth

Values = NDArray[np.floating]

SOON_S = 0.5
WITHIN_S = 1.0
APART_M = 0.3  # bodies that are nearer in depth than this have no order
APART_PX = 4.0  # and neither have those that lie above one another, of which none is the left one
SHAPES = ("sphere", "box", "cylinder", "capsule", "ellipsoid")


@dataclass(frozen=True)
class Property:
    """One thing to read. `read`: a film's truth -> [T, C], NaN where it is not defined; a class is its number."""

    name: str
    read: Callable[[FilmTruth], Values]
    meaning: str
    unit: str = ""
    classes: tuple[str, ...] = ()  # none: numbers
    moments: int = 1  # latents it is read off, the last ones: what no single picture shows needs several
    of_body: bool = True  # of the one body, which must have been in sight before it can be forecast


def of_body(truth: FilmTruth, values: Callable[[int], Values]) -> Values:
    """values(body) [T, C] at moments when the body is in sight, else NaN."""
    body = truth.body
    if body is None:
        return np.full((truth.frames, 1), np.nan)
    found = np.asarray(values(body), float).reshape(truth.frames, -1)
    return np.where(truth.in_sight[:, [body]], found, np.nan)


def position(truth: FilmTruth) -> Values:
    return of_body(truth, lambda body: truth.centre_px[:, body])


def velocity(truth: FilmTruth) -> Values:
    return of_body(truth, lambda body: _change(truth.centre_px[:, body]) * truth.fps)


def acceleration(truth: FilmTruth) -> Values:
    return of_body(truth, lambda body: _change(_change(truth.centre_px[:, body])) * truth.fps**2)


def size(truth: FilmTruth) -> Values:
    return of_body(truth, lambda body: truth.width_px[:, body])


def colour(truth: FilmTruth) -> Values:
    """On the circle of hues, where red is next to itself."""

    def circle(body: int) -> Values:
        angle = 2 * np.pi * colorsys.rgb_to_hsv(*map(float, truth.colour_rgb[body]))[0]
        return np.tile([np.sin(angle), np.cos(angle)], (truth.frames, 1))

    return of_body(truth, circle)


def shape(truth: FilmTruth) -> Values:
    return of_body(truth, lambda body: np.full(truth.frames, float(SHAPES.index(str(truth.shape[body])))))


def count(truth: FilmTruth) -> Values:
    return np.minimum((truth.in_sight & ~truth.fixed).sum(1), 3).astype(float)[:, None]


def contact_soon(truth: FilmTruth) -> Values:
    return of_body(truth, lambda body: np.where(np.isnan(_ahead_s(truth, body, SOON_S)), 0.0, 1.0) + _not_asked(truth, body))


def time_to_contact(truth: FilmTruth) -> Values:
    return of_body(truth, lambda body: _ahead_s(truth, body, WITHIN_S) + _not_asked(truth, body, 0.0))


def depth_order(truth: FilmTruth) -> Values:
    found = np.full((truth.frames, 1), np.nan)
    there = truth.in_sight & ~truth.fixed
    for frame in np.flatnonzero(there.sum(1) >= 2):
        bodies = np.flatnonzero(there[frame])
        two = bodies[np.argsort(-truth.visible_px[frame, bodies], kind="stable")[:2]]
        left, right = two[np.argsort(truth.centre_px[frame, two, 0])]
        away = truth.position_m[frame, [left, right], 1]
        across = truth.centre_px[frame, [left, right], 0]
        if abs(away[1] - away[0]) >= APART_M and across[1] - across[0] >= APART_PX:
            found[frame] = float(away[0] < away[1])
    return found


PROPERTIES = {
    it.name: it
    for it in (
        Property("position", position, "where its centre appears in the picture, x and y", "px"),
        Property("velocity", velocity, "how far its centre moved in the picture since the frame before", "px/s", moments=3),
        Property("acceleration", acceleration, "how its velocity changed since the frame before", "px/s²", moments=3),
        Property("size", size, "its apparent width", "px"),
        Property("colour", colour, "its hue, as sine and cosine of the angle on the circle of hues"),
        Property("shape", shape, "sphere, box, cylinder, capsule or ellipsoid", classes=SHAPES),
        Property(
            "count",
            count,
            "how many things that can move are in sight, in all films",
            classes=("0", "1", "2", "3 or more"),
            of_body=False,
        ),
        Property(
            "contact soon",
            contact_soon,
            f"whether it touches another object (not the floor) within {SOON_S:g} s, asked while it touches none",
            classes=("no", "yes"),
            moments=3,
        ),
        Property(
            "time to contact",
            time_to_contact,
            f"until it touches another object, where it does within {WITHIN_S:g} s",
            "s",
            moments=3,
        ),
        Property(
            "depth order",
            depth_order,
            f"whether the left of the two movable things that show most is the nearer one, where they are {APART_M:g} m or "
            "more apart in depth, in films with several",
            classes=("right", "left"),
            of_body=False,
        ),
    )
}


def _change(values: Values) -> Values:
    """[T, C] -> [T, C], since the frame before; NaN for the first."""
    return np.concatenate([np.full_like(values[:1], np.nan), np.diff(values, axis=0)])


def _meets(truth: FilmTruth, body: int) -> NDArray[np.bool_]:
    """[T]: it touched another object since the frame before."""
    others = np.arange(len(truth.fixed)) != body
    return np.asarray(truth.contact[:, body, others].any(1))


def _ahead_s(truth: FilmTruth, body: int, within_s: float) -> Values:
    """[T]: seconds until the next frame by which it touched another object; NaN where that is not within so many."""
    found, meets = np.full(truth.frames, np.nan), np.flatnonzero(_meets(truth, body))
    for frame in range(truth.frames):
        later = meets[meets > frame]
        if len(later) and (later[0] - frame) / truth.fps <= within_s + 1e-9:
            found[frame] = (later[0] - frame) / truth.fps
    return found


def _not_asked(truth: FilmTruth, body: int, ahead_s: float = SOON_S) -> Values:
    """[T]: NaN while it touches something, and where the film ends before one can know; else 0."""
    known = np.arange(truth.frames) + round(ahead_s * truth.fps) < truth.frames
    return np.where(known & ~_meets(truth, body), 0.0, np.nan)
