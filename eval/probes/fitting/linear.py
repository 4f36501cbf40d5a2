"""Linear probes of frozen latents by ridge regression. Pure functions of numpy arrays.

A row is one time step of a clip. Rows of one clip form a group. When the penalty is chosen, whole
groups are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.floating]
Groups = NDArray[np.integer]
"""The number of the clip that each row comes from: [R]."""

PENALTIES = 10.0 ** np.arange(-8, 3)  # per row, of features of unit variance
MIN_RELATIVE_STD = 1e-8  # features and components that vary less, relative to the largest, are left out


@dataclass(frozen=True)
class Standardiser:
    """Scale features to mean 0 and standard deviation 1 on the training rows.

    A constant feature becomes 0.
    """

    mean: Values
    std: Values  # infinite for a constant feature

    @classmethod
    def of(cls, x: Values) -> Standardiser:
        mean, std = x.mean(0), x.std(0)
        smallest = MIN_RELATIVE_STD * max(float(std.max(initial=0.0)), MIN_RELATIVE_STD)
        return cls(mean, np.where(std > smallest, std, np.inf))

    def __call__(self, x: Values) -> Values:
        return (x - self.mean) / self.std


@dataclass(frozen=True)
class LinearProbe:
    """Predictions [R, C] from features [R, ...], which are flattened."""

    standardiser: Standardiser
    weights: Values  # [P, C]
    offset: Values  # [C]
    penalty: float  # the one that was chosen

    def __call__(self, features: Values) -> Values:
        return self.standardiser(flatten(features)) @ self.weights + self.offset


def flatten(features: Values) -> Values:
    """[R, ...] -> [R, P] in float64: the change between time steps is a small difference of large,
    nearly equal features."""
    return features.reshape(len(features), -1).astype(np.float64)


def fit_ridge(features: Values, targets: Values, group: Groups, penalties: Values = PENALTIES) -> LinearProbe:
    """Fit a ridge regression (Hoerl & Kennard 1970) of targets [R, C] on features [R, ...] in
    closed form.

    The penalty is the one with the smallest leave-one-group-out error, which is also in closed
    form: with hat matrix H, the residuals r of the rows g of a group, when it is left out, are (I -
    H_gg)^-1 r_g (for single rows: Allen 1974). Only the features' mean and standard deviation are
    computed once, on all training groups.
    """
    x = flatten(features)
    standardiser = Standardiser.of(x)
    x, offset = standardiser(x), targets.mean(0)
    y = targets - offset
    left, spectrum = principal_components(x)
    projected = left.T @ y
    rows = len(x)
    errors = [
        leave_one_group_out_error(left, spectrum / (spectrum + rows * penalty), y, projected, group) for penalty in penalties
    ]
    penalty = float(penalties[int(np.argmin(errors))])
    weights = x.T @ (left @ (projected / (spectrum + rows * penalty)[:, None]))
    return LinearProbe(standardiser, weights, offset, penalty)


def principal_components(x: Values) -> tuple[Values, Values]:
    """Left singular vectors [R, K] and squared singular values [K] of x [R, P], from the smaller of
    its two Gram matrices."""
    if x.shape[1] <= len(x):
        spectrum, right = np.linalg.eigh(x.T @ x)
        large = spectrum > MIN_RELATIVE_STD * max(spectrum.max(initial=0.0), MIN_RELATIVE_STD)
        return (x @ right[:, large]) / np.sqrt(spectrum[large]), spectrum[large]
    spectrum, left = np.linalg.eigh(x @ x.T)
    large = spectrum > MIN_RELATIVE_STD * max(spectrum.max(initial=0.0), MIN_RELATIVE_STD)
    return left[:, large], spectrum[large]


def leave_one_group_out_error(left: Values, shrinkage: Values, y: Values, projected: Values, group: Groups) -> float:
    """Mean squared error on rows whose group was left out of the fit. y [R, C] is centred;
    projected = left' y."""
    rows = len(y)
    index, depth = _padded_index(group)

    def by_group(values: Values) -> Values:
        """[R, ...] -> [groups, rows of the largest group, ...], padded with zeros."""
        padded = np.zeros((int(index.max()) + 1, int(depth.max()) + 1, *values.shape[1:]))
        padded[index, depth] = values
        return padded

    residual = by_group(y - left @ (shrinkage[:, None] * projected))
    own, present = by_group(left), by_group(np.ones(rows))
    hat = np.matmul(own * shrinkage, own.transpose(0, 2, 1)) + present[:, :, None] * present[:, None, :] / rows
    try:
        return float(np.square(np.linalg.solve(np.eye(hat.shape[1]) - hat, residual)).sum() / rows)
    except np.linalg.LinAlgError:  # without one of the groups the fit is not determined
        return np.inf


def _padded_index(group: Groups) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each row: the index of its group, and its position among the rows of that group."""
    _, index, count = np.unique(group, return_inverse=True, return_counts=True)
    order = np.argsort(index, kind="stable")
    depth = np.empty(len(group), np.int64)
    depth[order] = np.arange(len(group)) - np.repeat(np.cumsum(count) - count, count)
    return index, depth
