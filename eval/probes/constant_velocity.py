"""The constant-velocity baseline, computed from the body's true positions, and the last position at
which it was visible."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eval.probes.aligned_truth import AlignedTruth

Values = NDArray[np.floating]
Indices = NDArray[np.int64]

CONSTANT_VELOCITY = "constant velocity"
KINEMATIC = ("position", "velocity", "acceleration")  # properties that the baseline predicts
MIN_VISIBLE_STEPS = 3  # of a context in which a body must be visible, so that its velocity is known


def constant_velocity(truth: AlignedTruth, rows: Sequence[tuple[int, Indices]], horizon: int) -> dict[str, Values]:
    """Predictions from the last two visible positions in each context.

    By property: [R, 2] in px, px/s and px/s².

    `rows`: pairs of a context length in latent steps and the clips that are scored after it.
    """
    centre, visible = truth.body_track()
    positions: list[Values] = [np.zeros((0, 2))]
    velocities: list[Values] = [np.zeros((0, 2))]
    for context, clips in rows:
        position, per_step = extrapolate(centre[clips, :context], visible[clips, :context], horizon)
        positions.append(position)
        velocities.append(per_step / truth.step_s)
    velocity = np.concatenate(velocities)
    return {"position": np.concatenate(positions), "velocity": velocity, "acceleration": np.zeros_like(velocity)}


def extrapolate(centre: Values, visible: NDArray[np.bool_], horizon: int) -> tuple[Values, Values]:
    """Continue the straight line through the last two visible positions by `horizon` steps after
    the context.

    centre [R, S, 2], visible [R, S] -> position [R, 2], change per step [R, 2].
    """
    row, steps = np.arange(len(centre)), np.arange(centre.shape[1])
    last = last_visible_step(visible)
    before = np.where(visible & (steps < last[:, None]), steps, -1).max(1)
    per_step = (centre[row, last] - centre[row, before]) / (last - before)[:, None]
    return centre[row, last] + per_step * (centre.shape[1] - 1 + horizon - last)[:, None], per_step


def last_seen_position(centre: Values, visible: NDArray[np.bool_]) -> Values:
    """The position at the last visible step: centre [R, S, 2], visible [R, S] -> [R, 2]."""
    return centre[np.arange(len(centre)), last_visible_step(visible)]


def last_visible_step(visible: NDArray[np.bool_]) -> Indices:
    """Index of the last visible step of each row, which must have one: [R, S] -> [R]."""
    return np.where(visible, np.arange(visible.shape[1]), -1).max(1)
