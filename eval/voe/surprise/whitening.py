"""Is this error of the usual kind? Surprise relative to the covariance of a forecaster's own errors on lawful films.

Whitened surprise of an error r at horizon k is (r - m_k)' S_k^-1 (r - m_k) / D, with m and S its mean and covariance on
films in which nothing impossible happens: about 1 there. What moves is always mispredicted a little, along the same
directions; a thing that is missing is wrong in another. Fitted on lawful films alone, never on a suite's. Places share one
S: with one each, where seldom anything happens everything would be a surprise (the ablation shows it).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from eval.npz_files import load_arrays
from worldmodel.files.atomic import write_arrays

MOST_NUMBERS = 2**26  # of a covariance per horizon and place; beyond, the ablation that has one each is left out
MOST_FEATURES = 256  # errors of more features are looked at along so many fixed random directions


@functools.cache
def _directions(features: int) -> Tensor:
    """Orthonormal, the same for all who ask: [features, MOST_FEATURES]."""
    dice = torch.Generator().manual_seed(0)
    return torch.linalg.qr(torch.randn(features, MOST_FEATURES, dtype=torch.float64, generator=dice)).Q


def narrowed(error: Tensor) -> Tensor:
    """[..., D] -> [..., min(D, MOST_FEATURES)]: a thousand features cost a million numbers a horizon and as many films."""
    if error.shape[-1] <= MOST_FEATURES:
        return error
    return error @ _directions(error.shape[-1]).to(error)


@dataclass
class ErrorMoments:
    """Sums over films, in float64: all that is needed of them. K horizons, N places (1: they share), D features (narrowed)."""

    films: int
    count: NDArray[np.float64]  # [K] errors
    total: NDArray[np.float64]  # [K, N, D] sum of errors
    gram: NDArray[np.float64]  # [K, N, D, D] sum of outer products
    film_squares: NDArray[np.float64]  # [K, N, D, D] sum over films of the square of a film's gram: how films differ

    @classmethod
    def empty(cls, horizon: int, places: int, dim: int) -> ErrorMoments:
        dim = min(dim, MOST_FEATURES)
        square = np.zeros((horizon, places, dim, dim))
        return cls(0, np.zeros(horizon), np.zeros((horizon, places, dim)), square, square.copy())

    def add(self, windows: Sequence[Tensor]) -> None:
        """Errors of the same films in each of their windows: each [films, steps, N, D]."""
        films = windows[0].shape[0]
        at_once = max(1, 2**25 // self.gram.size)
        for first in range(0, films, at_once):
            gram = np.zeros((min(at_once, films - first), *self.gram.shape))
            for error in windows:
                exact = narrowed(error[first : first + at_once]).cpu().double()
                if self.total.shape[1] < exact.shape[2]:  # shared: added up over places before D x D numbers are kept for each
                    exact = rearrange(exact, "b s n d -> b s 1 n d")
                else:
                    exact = rearrange(exact, "b s n d -> b s n 1 d")
                outer, sums = exact.mT @ exact, exact.sum((0, 3))
                steps = exact.shape[1]
                self.count[:steps] += len(exact) * exact.shape[3]
                self.total[:steps] += sums.numpy()
                gram[:, :steps] += outer.numpy()
            self.gram += gram.sum(0)
            self.film_squares += (gram**2).sum(0)
        self.films += films

    @property
    def can_be_fitted(self) -> bool:
        """Whether there are two films, and errors at every horizon."""
        return self.films > 1 and bool(self.count.all())

    def like(self) -> ErrorMoments:
        """Empty, of the same shape."""
        return ErrorMoments(0, *(np.zeros_like(getattr(self, field.name)) for field in fields(self)[1:]))

    def merge(self, other: ErrorMoments) -> None:
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


@dataclass(frozen=True)
class Whitening:
    """What whitens errors at each horizon and place."""

    films: int
    mean: Tensor  # [K, N, D]
    whiten: Tensor  # [K, N, D, D]: W with W S W' = 1
    scale: Tensor  # [K, N, D]: standard deviations, for the ablation that ignores covariances
    shrinkage: float  # mean over horizons and places

    @classmethod
    def fit(cls, moments: ErrorMoments) -> Whitening:
        """Correlations are shrunk towards none by as much as films disagree about them (Schäfer & Strimmer 2005, table 1),
        films being the unit, since windows of one film are not independent. Raises ValueError where they cannot be fitted."""
        if not moments.can_be_fitted:
            reached, horizon = np.count_nonzero(moments.count), len(moments.count)
            raise ValueError(
                f"the errors of {moments.films} possible videos, which reach {reached} of {horizon} latent steps, are too few "
                "to calibrate surprise: at least 2 videos must reach all of them"
            )
        count, films = moments.count[:, None, None], moments.films
        mean = moments.total / count
        covariance = moments.gram / count[..., None] - mean[..., :, None] * mean[..., None, :]
        spread = (moments.film_squares - moments.gram**2 / films) * films / (films - 1) / count[..., None] ** 2
        variance = np.diagonal(covariance, axis1=-2, axis2=-1)
        variance = np.maximum(variance, 1e-6 * variance.mean(-1, keepdims=True) + 1e-12)
        product = variance[..., :, None] * variance[..., None, :]
        off = 1 - np.eye(mean.shape[-1])
        noise, signal = (off * spread / product).sum((-2, -1)), (off * covariance**2 / product).sum((-2, -1))
        share = np.clip(noise / np.maximum(signal, 1e-12), 0, 1)
        shrunk = covariance * off * (1 - share[..., None, None]) + variance[..., None] * np.eye(mean.shape[-1])
        values, vectors = np.linalg.eigh(shrunk)
        values = np.maximum(values, 1e-6 * values.mean(-1, keepdims=True))
        whiten = np.swapaxes(vectors, -2, -1) / np.sqrt(values)[..., None]
        as_tensor = torch.from_numpy
        return cls(
            films,
            as_tensor(mean).float(),
            as_tensor(whiten).float(),
            as_tensor(np.sqrt(variance)).float(),
            float(share.mean()),
        )

    @property
    def numbers(self) -> dict[str, float]:
        """Its plain numbers; with `arrays` all that `of_arrays` needs."""
        return {"films": self.films, "shrinkage": self.shrinkage}

    @property
    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """W transposed, as it lies in memory: a product of another layout differs in the last bits."""
        found = {"mean": self.mean, "whiten_transposed": self.whiten.mT, "scale": self.scale}
        return {name: tensor.contiguous().numpy() for name, tensor in found.items()}

    @classmethod
    def of_arrays(cls, numbers: Mapping[str, float], arrays: Mapping[str, NDArray[np.float32]]) -> Whitening:
        mean, transposed, scale = (torch.from_numpy(arrays[name]) for name in ("mean", "whiten_transposed", "scale"))
        return cls(int(numbers["films"]), mean, transposed.mT, scale, float(numbers["shrinkage"]))

    def surprise(self, error: Tensor) -> Tensor:
        """[B, steps, N, D] -> [B, steps, N]."""
        steps = error.shape[1]
        centred = narrowed(error.float()) - self.mean[:steps].to(error.device)
        return torch.einsum("knde,bkne->bknd", self.whiten[:steps].to(error.device), centred).square().mean(-1)

    def surprise_by_feature(self, error: Tensor) -> Tensor:
        """The same without covariances: each feature by its own standard deviation. [B, steps, N, D] -> [B, steps, N]."""
        steps = error.shape[1]
        centred = narrowed(error.float()) - self.mean[:steps].to(error.device)
        return (centred / self.scale[:steps].to(error.device)).square().mean(-1)


def save_moments(path: Path, moments: dict[str, ErrorMoments]) -> None:
    """Numbers alone (npz without pickles)."""
    arrays = {f"{name}/{f.name}": np.asarray(getattr(m, f.name)) for name, m in moments.items() for f in fields(m)}
    write_arrays(path, arrays)


def load_moments(path: Path) -> dict[str, ErrorMoments]:
    """Raises EvalError that names the file where it is damaged."""
    read = load_arrays(path)
    names = dict.fromkeys(key.rpartition("/")[0] for key in read)
    found: dict[str, Any] = {name: {f.name: read[f"{name}/{f.name}"] for f in fields(ErrorMoments)} for name in names}
    return {name: ErrorMoments(**{**arrays, "films": int(arrays["films"])}) for name, arrays in found.items()}
