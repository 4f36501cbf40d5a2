"""Whitening: the Mahalanobis distance of errors under their covariance on possible videos.

The whitened surprise of an error r at horizon k is (r - m_k)' S_k^-1 (r - m_k) / D, with m_k and
S_k the mean and the covariance of errors on videos in which nothing impossible happens. On such
videos it is about 1. Forecasts of moving objects always have small errors along the same directions;
a missing object causes errors along other directions. The covariance is fitted on possible videos alone, never on those of a
suite. All spatial tokens have one covariance. With a covariance per token, every event at a token
where almost nothing happens would get a high surprise (the ablation "per token" shows this).
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

from eval.errors import EvalError
from eval.npz_files import load_arrays
from eval.voe.scorers import FULL_FIT, Fit
from eval.voe.surprise.windows import WindowKind
from worldmodel.files.atomic import write_arrays

MAX_COVARIANCE_SIZE = 2**26  # largest number of values of the per-token covariances; above it, that ablation is left out
MAX_FEATURES = 256  # errors of more features are projected onto this many fixed random directions


@functools.cache
def _directions(features: int) -> Tensor:
    """Orthonormal random directions [features, MAX_FEATURES], the same in every process."""
    rng = torch.Generator().manual_seed(0)
    return torch.linalg.qr(torch.randn(features, MAX_FEATURES, dtype=torch.float64, generator=rng)).Q


def project_features(error: Tensor) -> Tensor:
    """[..., D] -> [..., min(D, MAX_FEATURES)].

    A covariance of 1000 features has a million numbers per horizon, and needs as many videos to be
    estimated.
    """
    if error.shape[-1] <= MAX_FEATURES:
        return error
    return error @ _directions(error.shape[-1]).to(error)


@dataclass(frozen=True)
class ErrorKey:
    """The errors of one forecaster in one kind of window, and their fit."""

    windows: WindowKind
    forecaster: str
    fit: Fit = FULL_FIT

    def __str__(self) -> str:
        """The name in files: "locked/latent copy", "sliding/model, 25 videos"."""
        return f"{self.windows}/{self.forecaster}" + (f", {self.fit}" if str(self.fit) else "")

    @classmethod
    def parse(cls, text: str) -> ErrorKey:
        """Inverse of `str`. Raises ValueError."""
        windows, slash, rest = text.partition("/")
        if not slash or windows not in ("locked", "sliding"):
            raise ValueError(f"{text!r} names no errors; expected WINDOWS/FORECASTER")
        forecaster, _, fit = rest.partition(", ")
        return cls("locked" if windows == "locked" else "sliding", forecaster, Fit.parse(fit))


@dataclass
class ErrorMoments:
    """Sums over videos in float64 from which a covariance and its uncertainty follow.

    K horizons, N tokens (1 for a common covariance), D features (projected).
    """

    videos: int
    count: NDArray[np.float64]  # [K] errors
    total: NDArray[np.float64]  # [K, N, D] sum of errors
    gram: NDArray[np.float64]  # [K, N, D, D] sum of outer products
    video_squares: NDArray[np.float64]  # [K, N, D, D] sum over videos of the squared gram of each

    @classmethod
    def empty(cls, horizon: int, tokens: int, dim: int) -> ErrorMoments:
        dim = min(dim, MAX_FEATURES)
        square = np.zeros((horizon, tokens, dim, dim))
        return cls(0, np.zeros(horizon), np.zeros((horizon, tokens, dim)), square, square.copy())

    def add(self, windows: Sequence[Tensor]) -> None:
        """Add the errors of the same videos in each of their windows: each [videos, steps, N, D]."""
        videos = windows[0].shape[0]
        at_once = max(1, 2**25 // self.gram.size)
        for first in range(0, videos, at_once):
            gram = np.zeros((min(at_once, videos - first), *self.gram.shape))
            for error in windows:
                exact = project_features(error[first : first + at_once]).cpu().double()
                if self.total.shape[1] < exact.shape[2]:  # one covariance: sum over tokens first, to save memory
                    exact = rearrange(exact, "b s n d -> b s 1 n d")
                else:
                    exact = rearrange(exact, "b s n d -> b s n 1 d")
                outer, sums = exact.mT @ exact, exact.sum((0, 3))
                steps = exact.shape[1]
                self.count[:steps] += len(exact) * exact.shape[3]
                self.total[:steps] += sums.numpy()
                gram[:, :steps] += outer.numpy()
            self.gram += gram.sum(0)
            self.video_squares += (gram**2).sum(0)
        self.videos += videos

    @property
    def can_be_fitted(self) -> bool:
        """Whether there are at least two videos, and errors at every horizon."""
        return self.videos > 1 and bool(self.count.all())

    def empty_like(self) -> ErrorMoments:
        """Empty moments of the same shape."""
        return ErrorMoments(0, *(np.zeros_like(getattr(self, field.name)) for field in fields(self)[1:]))

    def merge(self, other: ErrorMoments) -> None:
        """Add the sums of other videos."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


def merge_moments(total: dict[ErrorKey, ErrorMoments], more: Mapping[ErrorKey, ErrorMoments]) -> None:
    """Add moments of other videos to those of the same key."""
    for key, moments in more.items():
        total.setdefault(key, moments.empty_like()).merge(moments)


@dataclass(frozen=True)
class Whitening:
    """Whitening matrices of each horizon and token."""

    videos: int
    mean: Tensor  # [K, N, D]
    whiten: Tensor  # [K, N, D, D]: W with W S W' = 1
    scale: Tensor  # [K, N, D]: standard deviations, for the diagonal ablation
    shrinkage: float  # mean over horizons and tokens

    @classmethod
    def fit(cls, moments: ErrorMoments) -> Whitening:
        """Fit with correlations shrunk towards 0, more so the more they differ between videos.

        Schäfer & Strimmer 2005, table 1, with videos as the unit, because windows of one video are
        not independent. Raises ValueError where there are too few errors.
        """
        if not moments.can_be_fitted:
            reached, horizon = np.count_nonzero(moments.count), len(moments.count)
            raise ValueError(
                f"the errors of {moments.videos} possible videos, which reach {reached} of {horizon} latent steps, are too few "
                "to calibrate surprise: at least 2 videos must reach all of them"
            )
        count, videos = moments.count[:, None, None], moments.videos
        mean = moments.total / count
        covariance = moments.gram / count[..., None] - mean[..., :, None] * mean[..., None, :]
        spread = (moments.video_squares - moments.gram**2 / videos) * videos / (videos - 1) / count[..., None] ** 2
        variance = np.diagonal(covariance, axis1=-2, axis2=-1)
        variance = np.maximum(variance, 1e-6 * variance.mean(-1, keepdims=True) + 1e-12)
        product = variance[..., :, None] * variance[..., None, :]
        off = 1 - np.eye(mean.shape[-1])
        noise, signal = (off * spread / product).sum((-2, -1)), (off * covariance**2 / product).sum((-2, -1))
        shrinkage = np.clip(noise / np.maximum(signal, 1e-12), 0, 1)
        shrunk = covariance * off * (1 - shrinkage[..., None, None]) + variance[..., None] * np.eye(mean.shape[-1])
        values, vectors = np.linalg.eigh(shrunk)
        values = np.maximum(values, 1e-6 * values.mean(-1, keepdims=True))
        whiten = np.swapaxes(vectors, -2, -1) / np.sqrt(values)[..., None]
        as_tensor = torch.from_numpy
        return cls(
            videos,
            as_tensor(mean).float(),
            as_tensor(whiten).float(),
            as_tensor(np.sqrt(variance)).float(),
            float(shrinkage.mean()),
        )

    @property
    def numbers(self) -> dict[str, float]:
        """The plain numbers. `of_arrays` needs these and `arrays`."""
        return {"videos": self.videos, "shrinkage": self.shrinkage}

    @property
    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """The arrays. W is transposed as in memory: another layout differs in the last bits."""
        found = {"mean": self.mean, "whiten_transposed": self.whiten.mT, "scale": self.scale}
        return {name: tensor.contiguous().numpy() for name, tensor in found.items()}

    @classmethod
    def of_arrays(cls, numbers: Mapping[str, float], arrays: Mapping[str, NDArray[np.float32]]) -> Whitening:
        """Inverse of `numbers` and `arrays`. Raises KeyError where one is missing."""
        mean, transposed, scale = (torch.from_numpy(arrays[name]) for name in ("mean", "whiten_transposed", "scale"))
        return cls(int(numbers["videos"]), mean, transposed.mT, scale, float(numbers["shrinkage"]))

    def surprise(self, error: Tensor) -> Tensor:
        """Whitened surprise: error [B, steps, N, D] -> [B, steps, N]."""
        steps = error.shape[1]
        centred = project_features(error.float()) - self.mean[:steps].to(error.device)
        return torch.einsum("knde,bkne->bknd", self.whiten[:steps].to(error.device), centred).square().mean(-1)

    def diagonal_surprise(self, error: Tensor) -> Tensor:
        """Whitened surprise without correlations: error [B, steps, N, D] -> [B, steps, N]."""
        steps = error.shape[1]
        centred = project_features(error.float()) - self.mean[:steps].to(error.device)
        return (centred / self.scale[:steps].to(error.device)).square().mean(-1)


def save_moments(path: Path, moments: Mapping[ErrorKey, ErrorMoments]) -> None:
    """Write moments into an npz file without pickles."""
    arrays = {f"{key}/{f.name}": np.asarray(getattr(it, f.name)) for key, it in moments.items() for f in fields(it)}
    write_arrays(path, arrays)


def load_moments(path: Path) -> dict[ErrorKey, ErrorMoments]:
    """Read what `save_moments` wrote. Raises EvalError that names the file where it is damaged."""
    read = load_arrays(path)
    names = dict.fromkeys(name.rpartition("/")[0] for name in read)
    found: dict[str, Any] = {name: {f.name: read[f"{name}/{f.name}"] for f in fields(ErrorMoments)} for name in names}
    try:
        return {ErrorKey.parse(name): ErrorMoments(**{**it, "videos": int(it["videos"])}) for name, it in found.items()}
    except ValueError as error:
        raise EvalError(f"{path} holds no moments of errors ({error})") from None
