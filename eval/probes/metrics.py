"""Scores of probes: R2, error in units, balanced accuracy.

Intervals come from a bootstrap over clips, never over rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eval.intervals import bootstrap_of_sums

Values = NDArray[np.floating]
Groups = NDArray[np.integer]
"""The number of the clip that each row comes from: [R]."""


@dataclass(frozen=True)
class Statistic:
    """A number that is a function of sums over clips, so that clips can be resampled, also for
    several numbers together."""

    sums: Values  # [G, Q] what each clip adds
    compute: Callable[[Values], Values]  # totals [..., Q] -> [...]; NaN where the number is not defined

    def interval(self) -> tuple[float, float, float]:
        """(value, low, high), 95 %."""
        return bootstrap_of_sums(self.sums, self.compute)


def mean_statistic(statistics: Sequence[Statistic]) -> Statistic:
    """The mean of several statistics of the same clips."""
    ends = np.cumsum([0, *(it.sums.shape[1] for it in statistics)])

    def compute(total: Values) -> Values:
        parts = zip(statistics, ends[:-1], ends[1:], strict=True)
        return np.mean([it.compute(total[..., start:stop]) for it, start, stop in parts], axis=0)

    return Statistic(np.concatenate([it.sums for it in statistics], axis=1), compute)


def difference(first: Statistic, second: Statistic) -> Statistic:
    """first - second, of the same clips. The common difficulty of a clip cancels."""
    split = first.sums.shape[1]
    sums = np.concatenate([first.sums, second.sums], axis=1)
    return Statistic(sums, lambda total: first.compute(total[..., :split]) - second.compute(total[..., split:]))


@dataclass(frozen=True)
class Score:
    """One number with its 95 % interval over n clips, the chance level, and its error in units
    where it has one."""

    metric: str  # R2 | balanced accuracy | accuracy
    value: float
    low: float
    high: float
    n: int  # clips
    rows: int
    chance: float
    error: float | None = None  # root of the mean squared distance
    error_low: float | None = None
    error_high: float | None = None
    unit: str = ""


def sums_by_clip(values: Values, group: Groups) -> Values:
    """Add up the rows of each clip: [R, Q] -> [G, Q]."""
    _, index = np.unique(group, return_inverse=True)
    sums = np.zeros((int(index.max()) + 1, values.shape[1]))
    np.add.at(sums, index, values)
    return sums


def r2(truth: Values, predicted: Values, group: Groups, unit: str = "") -> Score:
    """R2 of predictions [R, C], with the root mean squared error in `unit`."""
    explained = r2_statistic(truth, predicted, group)
    components = truth.shape[1]
    error = Statistic(explained.sums, lambda total: np.sqrt(total[..., 2 + components] / total[..., 0]))
    return Score("R2", *explained.interval(), len(explained.sums), len(truth), 0.0, *error.interval(), unit)


def r2_statistic(truth: Values, predicted: Values, group: Groups) -> Statistic:
    """1 - squared error / variance of the truth, both summed over components: [R, C] twice.

    The variance is about the mean of the rows that are scored: predicting a constant gets at most
    0.
    """
    components = truth.shape[1]
    centred = truth - truth.mean(0)
    rows = [np.ones((len(truth), 1)), centred, np.square(centred).sum(1, keepdims=True)]
    sums = sums_by_clip(np.concatenate([*rows, np.square(predicted - truth).sum(1, keepdims=True)], axis=1), group)

    def compute(total: Values) -> Values:
        count, about = total[..., 0], total[..., 1 : 1 + components]
        variance = total[..., 1 + components] - np.square(about).sum(-1) / count
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(variance > 1e-12 * count, 1 - total[..., 2 + components] / variance, np.nan)

    return Statistic(sums, compute)


def balanced_accuracy(truth: Values, predicted: Values, group: Groups) -> Score:
    recall = recall_statistic(truth, predicted, group)
    return Score("balanced accuracy", *recall.interval(), len(recall.sums), len(truth), 1 / len(np.unique(truth)))


def recall_statistic(truth: Values, predicted: Values, group: Groups) -> Statistic:
    """Mean recall over classes (balanced accuracy): classes [R] twice.

    A constant gets 1 / number of classes.
    """
    classes = np.unique(truth)
    one_hot = truth[:, None] == classes
    right = one_hot & (predicted == truth)[:, None]
    sums = sums_by_clip(np.concatenate([one_hot, right], axis=1).astype(float), group)

    def compute(total: Values) -> Values:
        with np.errstate(invalid="ignore"):
            recall = total[..., len(classes) :] / total[..., : len(classes)]
        present = np.isfinite(recall)
        return np.where(present, recall, 0).sum(-1) / present.sum(-1)

    return Statistic(sums, compute)


def accuracy(truth: NDArray, predicted: NDArray, group: Groups, chance: float) -> Score:
    """The fraction of correct rows: classes [R] twice. chance: accuracy of always the most frequent
    class in training."""
    sums = sums_by_clip(np.stack([np.ones(len(truth)), predicted == truth], axis=1).astype(float), group)
    value, low, high = bootstrap_of_sums(sums, lambda total: total[..., 1] / total[..., 0])
    return Score("accuracy", value, low, high, len(sums), len(truth), chance)
