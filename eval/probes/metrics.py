"""How good readings are: R2, error in units, balanced accuracy; intervals by drawing scenes again, never rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eval.intervals import bootstrap_of_sums

Values = NDArray[np.floating]
Scenes = NDArray[np.integer]


@dataclass(frozen=True)
class Statistic:
    """A number that is computed from sums over scenes, so that scenes can be drawn again, those of several numbers together."""

    sums: Values  # [G, Q], of each scene
    of: Callable[[Values], Values]  # their totals [..., Q] -> [...]; NaN where it has no value

    def interval(self) -> tuple[float, float, float]:
        """(value, low, high), 95 %."""
        return bootstrap_of_sums(self.sums, self.of)


def mean(some: Sequence[Statistic]) -> Statistic:
    """Of numbers of the same scenes."""
    ends = np.cumsum([0, *(it.sums.shape[1] for it in some)])

    def of(total: Values) -> Values:
        return np.mean([it.of(total[..., a:b]) for it, a, b in zip(some, ends[:-1], ends[1:], strict=True)], axis=0)

    return Statistic(np.concatenate([it.sums for it in some], axis=1), of)


def difference(first: Statistic, second: Statistic) -> Statistic:
    """first - second, of the same scenes: what is hard for both cancels."""
    cut = first.sums.shape[1]
    sums = np.concatenate([first.sums, second.sums], axis=1)
    return Statistic(sums, lambda total: first.of(total[..., :cut]) - second.of(total[..., cut:]))


@dataclass(frozen=True)
class Score:
    """One number with its 95 % interval over n scenes, what guessing gets, and its error in units where it has one."""

    metric: str  # R2 | balanced accuracy | accuracy
    value: float
    low: float
    high: float
    n: int  # scenes
    rows: int
    chance: float
    error: float | None = None  # root of the mean squared distance
    error_low: float | None = None
    error_high: float | None = None
    unit: str = ""


def by_scene(values: Values, scene: Scenes) -> Values:
    """Sums over the rows of each scene: [R, Q] -> [G, Q]."""
    _, place = np.unique(scene, return_inverse=True)
    sums = np.zeros((int(place.max()) + 1, values.shape[1]))
    np.add.at(sums, place, values)
    return sums


def r2(truth: Values, reading: Values, scene: Scenes, unit: str = "") -> Score:
    """With the error in its unit."""
    explained = r2_statistic(truth, reading, scene)
    components = truth.shape[1]
    error = Statistic(explained.sums, lambda total: np.sqrt(total[..., 2 + components] / total[..., 0]))
    return Score("R2", *explained.interval(), len(explained.sums), len(truth), 0.0, *error.interval(), unit)


def r2_statistic(truth: Values, reading: Values, scene: Scenes) -> Statistic:
    """1 - squared error / variance of the truth, both summed over components: [R, C] twice.

    The variance is about the mean of the rows judged, so that guessing the mean gets 0 at best, and never more.
    """
    components = truth.shape[1]
    centred = truth - truth.mean(0)
    rows = [np.ones((len(truth), 1)), centred, np.square(centred).sum(1, keepdims=True)]
    sums = by_scene(np.concatenate([*rows, np.square(reading - truth).sum(1, keepdims=True)], axis=1), scene)

    def explained(total: Values) -> Values:
        count, about = total[..., 0], total[..., 1 : 1 + components]
        spread = total[..., 1 + components] - np.square(about).sum(-1) / count
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(spread > 1e-12 * count, 1 - total[..., 2 + components] / spread, np.nan)

    return Statistic(sums, explained)


def balanced_accuracy(truth: Values, reading: Values, scene: Scenes) -> Score:
    share = recall_statistic(truth, reading, scene)
    return Score("balanced accuracy", *share.interval(), len(share.sums), len(truth), 1 / len(np.unique(truth)))


def recall_statistic(truth: Values, reading: Values, scene: Scenes) -> Statistic:
    """Mean over classes of the share of their rows that is read right: classes [R] twice. A constant gets 1 / classes."""
    classes = np.unique(truth)
    one_hot = truth[:, None] == classes
    right = one_hot & (reading == truth)[:, None]
    sums = by_scene(np.concatenate([one_hot, right], axis=1).astype(float), scene)

    def recall(total: Values) -> Values:
        with np.errstate(invalid="ignore"):
            share = total[..., len(classes) :] / total[..., : len(classes)]
        there = np.isfinite(share)
        return np.where(there, share, 0).sum(-1) / there.sum(-1)

    return Statistic(sums, recall)


def accuracy(truth: NDArray, reading: NDArray, scene: Scenes, chance: float) -> Score:
    """The share of rows read right: classes [R] twice; `chance` is what the most frequent class of the training data gets."""
    sums = by_scene(np.stack([np.ones(len(truth)), reading == truth], axis=1).astype(float), scene)
    value, low, high = bootstrap_of_sums(sums, lambda total: total[..., 1] / total[..., 0])
    return Score("accuracy", value, low, high, len(sums), len(truth), chance)
