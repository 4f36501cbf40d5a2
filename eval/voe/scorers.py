"""Identifiers of scorers.

A scorer is a forecaster and a distance that turns its forecast error into surprise.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

MODEL = "model"
UNTRAINED = "untrained"
PIXEL_BASELINES = ("pixel copy", "visible copy", "pixel extrapolation", "motion change", "motion energy")
"""Baselines that see pixels and have no learned parameters. Visible copy and motion change are for locked
windows only, motion energy for sliding windows only.
"""
NOT_IN_TERMINAL = ("visible copy", "motion change")
"""Baselines that are on pages and in Markdown tables only, because tables in a terminal are 100 characters wide."""
LATENT_BASELINES = ("latent copy", "latent extrapolation")
"""Forecasts in the model's latents that learned no dynamics."""
PATH_STATISTICS = ("step length", "turning angle", "acceleration", "linear prediction")
"""Statistics of the path of a video's latents. They use no forecast."""
CONTEXT_ABLATIONS = ("shuffled context", "masked context")
"""The model with its context in another order, and the model with the end of its context alone."""
FORECASTERS = (MODEL, UNTRAINED, *PIXEL_BASELINES, *LATENT_BASELINES, *PATH_STATISTICS, *CONTEXT_ABLATIONS)

Distance = Literal["raw", "whitened", "adjusted", "diagonal"]
"""How an error becomes surprise. raw: the forecaster's own distance. whitened: Mahalanobis distance
under the covariance of errors on possible videos. adjusted: whitened minus a control variate.
diagonal: whitened without correlations.
"""
RAW_OF_MODEL = "latent distance"  # the name of the model's raw scorer, which has no other name


@dataclass(frozen=True)
class Fit:
    """Which fit of the error covariance is used.

    The default is the full fit; the others are for an ablation.
    """

    videos: int | None = None  # of this many calibration videos; None: of all
    per_token: bool = False  # one covariance per spatial token instead of a shared one

    def __str__(self) -> str:
        """ "25 videos", "per token", or "" for the full fit."""
        return f"{self.videos} videos" if self.videos is not None else "per token" if self.per_token else ""

    @classmethod
    def parse(cls, text: str) -> Fit:
        """Inverse of `str`. Raises ValueError for a text that is not a fit."""
        number, space, unit = text.partition(" ")
        if space and unit == "videos" and number.isdecimal():
            return cls(videos=int(number))
        if text == "per token":
            return cls(per_token=True)
        if not text:
            return cls()
        raise ValueError(f"{text!r} is no fit; expected a number of videos (25 videos) or 'per token'")


FULL_FIT = Fit()


@dataclass(frozen=True)
class ScorerId:
    """One scorer. Its text form is the name in traces.parquet, scores.json and on pages.

    ScorerId()                                -> "latent distance"
    ScorerId(distance="whitened")             -> "whitened"
    ScorerId("latent copy", "whitened")       -> "latent copy, whitened"
    ScorerId("untrained", "adjusted", seed=3) -> "untrained 3, adjusted"
    ScorerId("untrained")                     -> "untrained", the mean over all untrained networks
    """

    forecaster: str = MODEL
    distance: Distance = "raw"
    seed: int | None = None  # of one untrained network
    fit: Fit = FULL_FIT

    def __str__(self) -> str:
        if self.forecaster == MODEL:
            parts = [RAW_OF_MODEL if self.distance == "raw" else self.distance]
        else:
            parts = [self.forecaster if self.seed is None else f"{self.forecaster} {self.seed}"]
            parts += [] if self.distance == "raw" else [self.distance]
        return ", ".join([*parts, str(self.fit)] if str(self.fit) else parts)

    @classmethod
    def parse(cls, text: str) -> ScorerId:
        """Inverse of `str`. Raises ValueError for a text that names no scorer."""
        head, *rest = text.split(", ")
        distances: dict[str, Distance] = {name: name for name in get_args(Distance) if name != "raw"}
        name, _, seed = head.rpartition(" ")
        if head == RAW_OF_MODEL or head in distances:
            found = cls(distance=distances.get(head, "raw"), fit=Fit.parse(", ".join(rest)))
        elif name == UNTRAINED and seed.isdecimal():
            found = cls(UNTRAINED, distances.get(rest[0], "raw") if rest else "raw", int(seed))
        else:
            found = cls(head, distances.get(rest[0], "raw") if rest else "raw")
        if str(found) != text or found.forecaster not in FORECASTERS:
            raise ValueError(f"{text!r} is no scorer; forecasters are {', '.join(FORECASTERS)}")
        return found

    @property
    def forecaster_name(self) -> str:
        """The name without the distance: "latent copy, whitened" -> "latent copy"."""
        return str(ScorerId(self.forecaster, seed=self.seed))

    @property
    def is_baseline(self) -> bool:
        """Whether the model is compared with this scorer. Every other scorer is the model's own."""
        return self.forecaster != MODEL

    @property
    def is_whitening_ablation(self) -> bool:
        """Whether it shows what whitening does: "diagonal", "whitened, 25 videos"."""
        return self.distance == "diagonal" or self.fit != FULL_FIT


OWN = (ScorerId(distance="whitened"), ScorerId(), ScorerId(distance="adjusted"), ScorerId(distance="diagonal"))
"""The model's own scorers in the order in which they are shown. Others follow by name."""


def whitening_steps(scorers: Iterable[ScorerId]) -> list[ScorerId]:
    """The model's scorers by degree of whitening.

    Raw, diagonal, a growing number of calibration videos, all videos, per token.
    """
    own = [it for it in scorers if it.forecaster == MODEL]
    plain = [it for it in (ScorerId(), ScorerId(distance="diagonal")) if it in own]
    fewer = sorted((it for it in own if it.fit.videos is not None), key=lambda it: it.fit.videos or 0)
    most = [ScorerId(distance="whitened"), ScorerId(distance="whitened", fit=Fit(per_token=True))]
    return [*plain, *fewer, *(it for it in most if it in own)]


def evaluated_scorers(scorers: Iterable[ScorerId], model_spec: str) -> list[ScorerId]:
    """The scorers of the subject of an evaluation: the model's, or that of `baseline:NAME`."""
    kind, colon, name = model_spec.partition(":")
    if kind == "baseline" and colon:
        return [ScorerId.parse(name)]
    rank = {scorer: index for index, scorer in enumerate(OWN)}
    return sorted((it for it in scorers if not it.is_baseline), key=lambda it: (rank.get(it, len(OWN)), str(it)))


def seeds_of(pool: ScorerId, scorers: Iterable[ScorerId]) -> list[ScorerId]:
    """The untrained networks of a pool, by seed; none for other scorers."""
    if pool.forecaster != UNTRAINED or pool.seed is not None:
        return []
    found = [it for it in scorers if it.forecaster == UNTRAINED and it.seed is not None and it.distance == pool.distance]
    return sorted(found, key=lambda it: it.seed or 0)


def baselines_of(scorer: ScorerId, scorers: Iterable[ScorerId]) -> list[ScorerId]:
    """The baselines among `scorers` that a scorer is compared with.

    They have the scorer's distance if they were scored with it.
    """
    present = list(scorers)
    distance = scorer.distance if scorer.distance in ("whitened", "adjusted") and not scorer.is_baseline else "raw"
    names = (UNTRAINED, *LATENT_BASELINES, *CONTEXT_ABLATIONS)
    same = [ScorerId(name, distance) if ScorerId(name, distance) in present else ScorerId(name) for name in names]
    return [it for it in (*same, *map(ScorerId, PATH_STATISTICS)) if it in present and it != scorer]
