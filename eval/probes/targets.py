"""Probe targets: properties of a clip's body at each frame, computed exactly from the ground truth.

All properties but `count` and `depth order` are of the only movable object ("the body"), in clips
that have exactly one, at frames where at least half of it is visible. With several bodies the target
of a probe would be ambiguous. NaN marks frames at which a property is not defined;
those frames are neither fitted nor scored.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eval.probes.ground_truth import ClipTruth

Values = NDArray[np.floating]

CONTACT_SOON_S = 0.5
MAX_TIME_TO_CONTACT_S = 1.0
MIN_DEPTH_GAP_M = 0.3  # two bodies that are nearer in depth have no depth order
MIN_LATERAL_GAP_PX = 4.0  # two bodies that are nearer horizontally have no left and right one
SHAPES = (
    *("sphere", "box", "cylinder", "capsule", "ellipsoid"),
    *("disc", "square", "triangle", "star", "pentagon", "cross"),  # of the flat world
)


@dataclass(frozen=True)
class Property:
    """A quantity that a probe predicts.

    `compute`: ClipTruth -> [T, C], NaN where undefined; a class is given by its index.
    """

    name: str
    compute: Callable[[ClipTruth], Values]
    description: str
    unit: str = ""
    classes: tuple[str, ...] = ()  # empty: the property is numeric
    input_steps: int = 1  # latent steps that a linear probe reads; a property that one frame does not show needs several
    of_body: bool = True  # the body must have been visible before the property can be forecast


def body_values(truth: ClipTruth, values: Callable[[int], Values]) -> Values:
    """values(body) [T, C] at frames where the body is visible, else NaN."""
    body = truth.body
    if body is None:
        return np.full((truth.frames, 1), np.nan)
    found = np.asarray(values(body), float).reshape(truth.frames, -1)
    return np.where(truth.visible[:, [body]], found, np.nan)


def position(truth: ClipTruth) -> Values:
    return body_values(truth, lambda body: truth.centre_px[:, body])


def velocity(truth: ClipTruth) -> Values:
    return body_values(truth, lambda body: _difference(truth.centre_px[:, body]) * truth.fps)


def acceleration(truth: ClipTruth) -> Values:
    return body_values(truth, lambda body: _difference(_difference(truth.centre_px[:, body])) * truth.fps**2)


def size(truth: ClipTruth) -> Values:
    return body_values(truth, lambda body: truth.width_px[:, body])


def colour(truth: ClipTruth) -> Values:
    """The hue as a point on the unit circle, so that hues on both sides of red are near each
    other."""

    def circle(body: int) -> Values:
        angle = 2 * np.pi * colorsys.rgb_to_hsv(*map(float, truth.colour_rgb[body]))[0]
        return np.tile([np.sin(angle), np.cos(angle)], (truth.frames, 1))

    return body_values(truth, circle)


def shape(truth: ClipTruth) -> Values:
    return body_values(truth, lambda body: np.full(truth.frames, float(SHAPES.index(str(truth.shape[body])))))


def count(truth: ClipTruth) -> Values:
    return np.minimum((truth.visible & ~truth.fixed).sum(1), 3).astype(float)[:, None]


def contact_soon(truth: ClipTruth) -> Values:
    return body_values(
        truth,
        lambda body: (
            np.where(np.isnan(_seconds_to_contact(truth, body, CONTACT_SOON_S)), 0.0, 1.0)
            + _undefined(truth, body, CONTACT_SOON_S)
        ),
    )


def time_to_contact(truth: ClipTruth) -> Values:
    return body_values(
        truth,
        lambda body: _seconds_to_contact(truth, body, MAX_TIME_TO_CONTACT_S) + _undefined(truth, body, 0.0),
    )


def depth_order(truth: ClipTruth) -> Values:
    """1 where the left one of the two most visible bodies is nearer to the camera, 0 where the
    right one is."""
    found = np.full((truth.frames, 1), np.nan)
    visible = truth.visible & ~truth.fixed
    for frame in np.flatnonzero(visible.sum(1) >= 2):
        bodies = np.flatnonzero(visible[frame])
        two = bodies[np.argsort(-truth.visible_px[frame, bodies], kind="stable")[:2]]
        left, right = two[np.argsort(truth.centre_px[frame, two, 0])]
        depth_m = truth.position_m[frame, [left, right], 1]
        x_px = truth.centre_px[frame, [left, right], 0]
        if abs(depth_m[1] - depth_m[0]) >= MIN_DEPTH_GAP_M and x_px[1] - x_px[0] >= MIN_LATERAL_GAP_PX:
            found[frame] = float(depth_m[0] < depth_m[1])
    return found


PROBE_TARGETS = {
    it.name: it
    for it in (
        Property("position", position, "position of the body's centre in the picture, x and y", "px"),
        Property("velocity", velocity, "change of the position since the previous frame", "px/s", input_steps=3),
        Property("acceleration", acceleration, "change of the velocity since the previous frame", "px/s²", input_steps=3),
        Property("size", size, "apparent width of the body", "px"),
        Property("colour", colour, "hue of the body, as sine and cosine of its angle on the colour circle"),
        Property("shape", shape, "sphere, box, cylinder, capsule or ellipsoid (flat world: disc, ...)", classes=SHAPES),
        Property(
            "count",
            count,
            "number of visible movable objects, in all videos",
            classes=("0", "1", "2", "3 or more"),
            of_body=False,
        ),
        Property(
            "contact soon",
            contact_soon,
            f"whether the body touches another object (not the floor) within {CONTACT_SOON_S:g} s; only while it touches none",
            classes=("no", "yes"),
            input_steps=3,
        ),
        Property(
            "time to contact",
            time_to_contact,
            f"time until the body touches another object, where that happens within {MAX_TIME_TO_CONTACT_S:g} s",
            "s",
            input_steps=3,
        ),
        Property(
            "depth order",
            depth_order,
            "which of the two most visible movable objects is nearer to the camera, the right or the left one, where they are "
            f"at least {MIN_DEPTH_GAP_M:g} m apart in depth; in videos with several",
            classes=("right", "left"),
            of_body=False,
        ),
    )
}


def _difference(values: Values) -> Values:
    """Change since the previous frame, NaN for the first: [T, C] -> [T, C]."""
    return np.concatenate([np.full_like(values[:1], np.nan), np.diff(values, axis=0)])


def _touches_other(truth: ClipTruth, body: int) -> NDArray[np.bool_]:
    """[T]: the body touched another object since the previous frame."""
    others = np.arange(len(truth.fixed)) != body
    return np.asarray(truth.contact[:, body, others].any(1))


def _seconds_to_contact(truth: ClipTruth, body: int, within_s: float) -> Values:
    """[T]: seconds until the next frame with a contact; NaN where there is none within
    `within_s`."""
    found, contacts = np.full(truth.frames, np.nan), np.flatnonzero(_touches_other(truth, body))
    for frame in range(truth.frames):
        later = contacts[contacts > frame]
        if len(later) and (later[0] - frame) / truth.fps <= within_s + 1e-9:
            found[frame] = (later[0] - frame) / truth.fps
    return found


def _undefined(truth: ClipTruth, body: int, within_s: float) -> Values:
    """[T]: NaN while the body touches an object, and where the clip ends before `within_s` have
    passed; else 0."""
    known = np.arange(truth.frames) + round(within_s * truth.fps) < truth.frames
    return np.where(known & ~_touches_other(truth, body), 0.0, np.nan)
