"""Cross-fitting: each clip is scored by a probe that was fitted on other clips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from eval.errors import EvalError
from eval.probes.fitting.linear import Groups, Values


class Probe(Protocol):
    """Features [R, ...] -> predictions [R, C], or classes [R]."""

    def __call__(self, features: Values) -> Values: ...


def group_folds(group: Groups, folds: int) -> NDArray[np.int64]:
    """The fold of each row, a function of its group's number alone.

    Clips are numbered in the order of their ids, which are hashes (eval.probes.clips), so the folds
    are random.
    """
    return group.astype(np.int64) % folds


Fit = Callable[[Values, Values, Groups], Probe]


@dataclass(frozen=True)
class CrossFittedProbe:
    """One probe for each fold of groups, fitted on the groups of all other folds."""

    probes: Sequence[Probe]

    @classmethod
    def fit(cls, fit: Fit, features: Values, targets: Values, group: Groups, folds: int) -> CrossFittedProbe:
        """Raises EvalError where groups are too few."""
        if (groups := len(np.unique(group))) < 2 * folds:
            raise EvalError(f"{groups} videos have this property, too few for {folds} folds of at least two")
        fold = group_folds(group, folds)
        training = [fold != held_out for held_out in range(folds)]
        return cls([fit(features[rows], targets[rows], group[rows]) for rows in training])

    def __call__(self, features: Values, group: Groups) -> Values:
        """Predictions for rows, each by the probe that was fitted without the row's group."""
        fold = group_folds(group, len(self.probes))
        predictions = None
        for held_out, probe in enumerate(self.probes):
            rows = fold == held_out
            if rows.any():
                found = probe(features[rows])
                if predictions is None:
                    predictions = np.zeros((len(features), *found.shape[1:]), found.dtype)
                predictions[rows] = found
        return np.zeros(0) if predictions is None else predictions
