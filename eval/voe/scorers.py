"""Names of scorers, and which is compared with which. The one place where they stand."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable

BLIND = ("pixel copy", "pixel extrapolation", "motion energy")
"""They look at pixels and know nothing."""

LATENT = ("latent copy", "latent extrapolation")
PATHS = ("step", "turning angle", "acceleration", "linear prediction")
ABLATED = ("shuffled context", "masked context")
UNTRAINED = "untrained"
"""Baselines in the model's own latents, its ablations, and its architecture as it is born ("untrained 0", ...)."""

WHITENED, ADJUSTED = ", whitened", ", adjusted"
MEASURED = ("", WHITENED, ADJUSTED)
"""How a forecaster's surprise is measured, as its scorer's name ends: raw, whitened, adjusted for what surprises anyway."""
ORDER = ("whitened", "distance", "adjusted", "diagonal")
"""The model's own scorers, as they are shown; later ones follow by name."""


def unmeasured(scorer: str) -> str:
    """Whose surprise it is, however measured: "latent copy, whitened" -> "latent copy"."""
    return scorer.removesuffix(WHITENED).removesuffix(ADJUSTED)


def is_baseline(scorer: str) -> bool:
    """Whether a scorer is one that the model is compared with; every other one is the model's."""
    bare = unmeasured(scorer)
    return bare in (*BLIND, *LATENT, *PATHS, *ABLATED, UNTRAINED) or re.fullmatch(rf"{UNTRAINED} \d+", bare) is not None


def is_ablation(scorer: str) -> bool:
    """Whether it is there to show what whitening does: "diagonal", "whitened, 25 films", "whitened, per place"."""
    return scorer == "diagonal" or scorer.startswith("whitened, ")


def whitening_steps(scorers: Collection[str]) -> list[str]:
    """The model's scorers by how much they whiten: not at all, features apart, by ever more films, by all, place by place."""
    rank = {"distance": -2.0, "diagonal": -1.0, "whitened": math.inf}
    found = {name: rank[name] for name in scorers if name in rank}
    found |= {name: float(match[1]) for name in scorers if (match := re.fullmatch(r"whitened, (\d+) films", name))}
    return [*sorted(found, key=found.__getitem__), *(name for name in scorers if name == "whitened, per place")]


def subjects(scorers: Iterable[str], model_spec: str) -> list[str]:
    """The scorers that are evaluated: whitened first, then the model's own distance, then its ablations."""
    kind, colon, name = model_spec.partition(":")
    if kind == "blind" and colon:
        return [name]
    order = {scorer: place for place, scorer in enumerate(ORDER)}
    return sorted((s for s in scorers if not is_baseline(s)), key=lambda s: (order.get(s, len(ORDER)), s))


def seeds_of(pool: str, there: Iterable[str]) -> list[str]:
    """Untrained networks that "untrained", "untrained, whitened" or "untrained, adjusted" is the mean of, by number."""
    measure = pool.removeprefix(UNTRAINED)
    found = [(match, s) for s in there if (match := re.fullmatch(rf"{UNTRAINED} (\d+){measure}", s))]
    return [s for _, s in sorted((int(match[1]), s) for match, s in found)]


def baselines_of(subject: str, there: Iterable[str]) -> list[str]:
    """What a subject stands beside: whitened forecasters beside whitened ones, adjusted beside adjusted, raw beside raw."""
    there = list(there)
    names = [UNTRAINED, *LATENT, *ABLATED]
    measure = next((m for m in (WHITENED, ADJUSTED) if subject.startswith(m.removeprefix(", "))), "")
    names = [name + measure if name + measure in there else name for name in names]
    return [name for name in (*names, *PATHS) if name in there and name != subject]
