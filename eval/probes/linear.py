"""Linear probes: what can be read off frozen latents by a weighted sum. Pure functions of numpy arrays.

Rows are moments of films, and rows of one film are never divided: a scene (film) is left out whole when the strength of
the regularisation is chosen, and `Folded` reads each scene by a probe that was fitted on other scenes alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from eval.errors import EvalError

Values = NDArray[np.floating]
Scenes = NDArray[np.integer]

PENALTIES = 10.0 ** np.arange(-8, 3)  # per row, of features of unit variance
SOFTMAX_PENALTIES = 10.0 ** np.arange(0.0, -5.0, -1.0)  # strongest first: each fit begins where the stronger one ended
SOFTMAX_FOLDS = 3
SOFTMAX_DIRECTIONS = 256  # leading principal directions that a softmax probe looks at
FLAT = 1e-8  # a feature or direction that varies less, relative to the largest, says nothing


class Probe(Protocol):
    """Features [R, ...] -> readings [R, C], or classes [R]."""

    def __call__(self, features: Values) -> Values: ...


@dataclass(frozen=True)
class Standard:
    """Features as the training scenes see them: mean 0, standard deviation 1; what never varies becomes 0."""

    mean: Values
    std: Values

    @classmethod
    def of(cls, x: Values) -> Standard:
        mean, std = x.mean(0), x.std(0)
        return cls(mean, np.where(std > FLAT * max(float(std.max(initial=0.0)), FLAT), std, np.inf))

    def __call__(self, x: Values) -> Values:
        return (x - self.mean) / self.std


@dataclass(frozen=True)
class LinearProbe:
    """Readings [R, C] of features [R, ...], which are flattened."""

    standard: Standard
    weights: Values  # [P, C]
    offset: Values  # [C]
    penalty: float  # chosen

    def __call__(self, features: Values) -> Values:
        return self.standard(flat(features)) @ self.weights + self.offset


@dataclass(frozen=True)
class SoftmaxProbe:
    """The most likely class [R] of features [R, ...]."""

    linear: LinearProbe
    classes: NDArray[np.int64]

    def __call__(self, features: Values) -> Values:
        return self.classes[self.linear(features).argmax(1)]


def flat(features: Values) -> Values:
    """[R, ...] -> [R, P] in float64: the change between moments is a small difference of large, nearly equal features."""
    return features.reshape(len(features), -1).astype(np.float64)


# --- numbers: ridge ----------------------------------------------------------------------------------------------------
def fit_ridge(features: Values, targets: Values, scene: Scenes, penalties: Values = PENALTIES) -> LinearProbe:
    """Ridge regression (Hoerl & Kennard 1970) of targets [R, C] on features [R, ...], in closed form.

    The penalty is the one with the smallest error on training scenes that are left out, one at a time. That, too, is in
    closed form: with hat matrix H, the residuals r of rows g are (I - H_gg)^-1 r_g where g was not fitted on (for single
    rows: Allen 1974). Only the features' mean and standard deviation are those of all training scenes.
    """
    x = flat(features)
    standard = Standard.of(x)
    x, offset = standard(x), targets.mean(0)
    y = targets - offset
    left, spectrum = principal_rows(x)
    inside = left.T @ y
    rows = len(x)
    errors = [left_out_error(left, spectrum / (spectrum + rows * penalty), y, inside, scene) for penalty in penalties]
    penalty = float(penalties[int(np.argmin(errors))])
    weights = x.T @ (left @ (inside / (spectrum + rows * penalty)[:, None]))
    return LinearProbe(standard, weights, offset, penalty)


def principal_rows(x: Values) -> tuple[Values, Values]:
    """Left singular vectors [R, K] of x [R, P] and squared singular values [K], by the smaller of its two Gram matrices."""
    if x.shape[1] <= len(x):
        spectrum, right = np.linalg.eigh(x.T @ x)
        kept = spectrum > FLAT * max(spectrum.max(initial=0.0), FLAT)
        return (x @ right[:, kept]) / np.sqrt(spectrum[kept]), spectrum[kept]
    spectrum, left = np.linalg.eigh(x @ x.T)
    kept = spectrum > FLAT * max(spectrum.max(initial=0.0), FLAT)
    return left[:, kept], spectrum[kept]


def left_out_error(left: Values, shrink: Values, y: Values, inside: Values, scene: Scenes) -> float:
    """Mean squared error on rows whose scene was left out of the fit; y [R, C] is centred, inside = left' y."""
    rows = len(y)
    place, depth = _places(scene)

    def by_scene(values: Values) -> Values:
        """[R, ...] -> [scenes, most rows of one, ...], zeros where a scene has fewer."""
        padded = np.zeros((int(place.max()) + 1, int(depth.max()) + 1, *values.shape[1:]))
        padded[place, depth] = values
        return padded

    residual = by_scene(y - left @ (shrink[:, None] * inside))
    mine, there = by_scene(left), by_scene(np.ones(rows))
    hat = np.matmul(mine * shrink, mine.transpose(0, 2, 1)) + there[:, :, None] * there[:, None, :] / rows
    try:
        return float(np.square(np.linalg.solve(np.eye(hat.shape[1]) - hat, residual)).sum() / rows)
    except np.linalg.LinAlgError:  # some readings hang on their own scene alone: without it there would be none
        return np.inf


def _places(scene: Scenes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each row: the number of its scene, and its place among the rows of that scene."""
    _, place, count = np.unique(scene, return_inverse=True, return_counts=True)
    order = np.argsort(place, kind="stable")
    depth = np.empty(len(scene), np.int64)
    depth[order] = np.arange(len(scene)) - np.repeat(np.cumsum(count) - count, count)
    return place, depth


# --- classes: softmax --------------------------------------------------------------------------------------------------
def fit_softmax(features: Values, labels: Values, scene: Scenes) -> SoftmaxProbe:
    """Softmax regression on classes [R], every class weighing the same however frequent it is.

    It looks at the leading principal directions of the standardised features. The penalty is the weakest before the weighted
    cross-entropy on training scenes left out, a third at a time, rises.
    """
    x = flat(features)
    standard = Standard.of(x)
    x = standard(x)
    left, spectrum = principal_rows(x)
    leading = np.argsort(spectrum)[::-1][:SOFTMAX_DIRECTIONS]
    size = np.sqrt(spectrum[leading])
    scores = left[:, leading] * size
    classes, label = np.unique(labels.astype(np.int64), return_inverse=True)
    weight = 1 / np.bincount(label)[label] / len(classes)
    fold = scene_folds(np.unique(scene, return_inverse=True)[1], SOFTMAX_FOLDS)
    judged = [fold == held for held in range(SOFTMAX_FOLDS)]
    paths = [_softmax_path(scores[~rows], label[~rows], weight[~rows], len(classes)) for rows in judged]
    errors: list[float] = []
    for fits in zip(*paths, strict=True):  # weaker and weaker, as long as that helps: weak ones are the slowest to fit
        left_out = zip(fits, judged, strict=True)
        errors.append(sum(_cross_entropy(w, scores[rows], label[rows], weight[rows])[0] for w, rows in left_out))
        if len(errors) > 1 and errors[-1] > errors[-2]:
            break
    best = int(np.argmin(errors))
    w = next(islice(_softmax_path(scores, label, weight, len(classes)), best, None))
    directions = x.T @ (left[:, leading] / size)
    return SoftmaxProbe(LinearProbe(standard, directions @ w[:-1], w[-1], float(SOFTMAX_PENALTIES[best])), classes)


def _softmax_path(x: Values, label: NDArray, weight: Values, classes: int) -> Iterator[Values]:
    """Weights and offsets [P + 1, classes] at each of SOFTMAX_PENALTIES, from the strongest on.

    Columns of x are nearly orthogonal, and differ in size by orders of magnitude. So weights are sought in units of what the
    curvature of each is about: 1/4 of the column's mean square (of a class that is as likely as not), and the penalty.
    """
    weight, shape = weight / weight.sum(), (x.shape[1] + 1, classes)
    curvature = np.append(weight @ np.square(x), 1.0) / 4
    w = np.zeros(shape)

    def loss(vector: Values, penalty: float, unit: Values) -> tuple[float, Values]:
        w = vector.reshape(shape) * unit
        value, gradient = _cross_entropy(w, x, label, weight)
        gradient[:-1] += penalty * w[:-1]
        return value + penalty / 2 * float(np.square(w[:-1]).sum()), (gradient * unit).ravel()

    for penalty in SOFTMAX_PENALTIES.tolist():
        unit = 1 / np.sqrt(curvature + np.append(np.full(len(curvature) - 1, penalty), 0.0))[:, None]
        start, options = (w / unit).ravel(), {"maxiter": 60, "ftol": 1e-6}
        done = minimize(loss, start, (penalty, unit), "L-BFGS-B", jac=True, options=options)
        w = done.x.reshape(shape) * unit
        yield w


def _cross_entropy(w: Values, x: Values, label: NDArray, weight: Values) -> tuple[float, Values]:
    """Weighted sum over rows, and its gradient [P + 1, classes]."""
    logits = x @ w[:-1] + w[-1]
    logits -= logits.max(1, keepdims=True)
    odds = np.exp(logits)
    share = odds / odds.sum(1, keepdims=True)
    rows = np.arange(len(x))
    value = -float((weight * np.log(np.maximum(share[rows, label], 1e-300))).sum())
    share[rows, label] -= 1
    share *= weight[:, None]
    return value, np.concatenate([x.T @ share, share.sum(0, keepdims=True)])


# --- scenes ------------------------------------------------------------------------------------------------------------
def scene_folds(scene: Scenes, folds: int) -> NDArray[np.int64]:
    """The fold of each row: a function of its scene's number alone, whatever rows it comes with. Scenes are numbered in an
    order that says nothing about them (eval.probes.clips)."""
    return scene.astype(np.int64) % folds


Fit = Callable[[Values, Values, Scenes], Probe]


@dataclass(frozen=True)
class Folded:
    """A probe for each fold of scenes, fitted on the scenes of all other folds."""

    probes: Sequence[Probe]

    @classmethod
    def fit(cls, fit: Fit, features: Values, targets: Values, scene: Scenes, folds: int) -> Folded:
        """Raises EvalError where scenes are too few."""
        if (there := len(np.unique(scene))) < 2 * folds:
            raise EvalError(f"{there} films have it, too few for {folds} folds of at least two")
        fold = scene_folds(scene, folds)
        fits = [fold != held for held in range(folds)]
        return cls([fit(features[rows], targets[rows], scene[rows]) for rows in fits])

    def __call__(self, features: Values, scene: Scenes) -> Values:
        """Readings of rows, each by the probe that its scene had no part in."""
        fold = scene_folds(scene, len(self.probes))
        readings = None
        for held, probe in enumerate(self.probes):
            rows = fold == held
            if rows.any():
                read = probe(features[rows])
                readings = np.zeros((len(features), *read.shape[1:]), read.dtype) if readings is None else readings
                readings[rows] = read
        return np.zeros(0) if readings is None else readings
