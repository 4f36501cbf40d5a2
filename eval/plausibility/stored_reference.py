"""The reference distribution of `eval score` in the run folder, for use where the run's val split is missing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from numpy.typing import NDArray

from eval.cache import run_folder as run_reference
from eval.errors import EvalError
from eval.plausibility.reference_distribution import LawfulFilm, Yardstick
from eval.plausibility.reference_videos import FORMAT, Reference
from eval.plausibility.sliding_windows import Watched, arrays_of, watched_of
from eval.subject import Subject
from eval.voe.surprise.whitening import Whitening
from eval.voe.surprise.windows import WindowPlan
from worldmodel.manifest import Clip
from worldmodel.models.world_model import WorldModel
from worldmodel.process.terminal import say
from worldmodel.video.square import Square

KIND = "score"


def store_reference(
    folder: Path, reference: Reference, subject: Subject, square: Square, clips: Sequence[Clip], manifest: str
) -> None:
    """Write FOLDER/score-<key>.npz unless it is there or the folder cannot be written to.

    A distribution that lacks videos which could not be read is not stored.
    """
    films = reference.yardstick.films
    if reference.unread or not films:
        return
    about = {
        "format": FORMAT,
        "weights": subject.hash,
        "plan": asdict(reference.yardstick.plan),
        "square": square,
        "key": reference.key,
        "why_raw": reference.why_raw,
        "manifest": manifest,
        "clips": [asdict(clip) for clip in clips],
        "films": [[film.name, film.fold] for film in films],
        "fits": [fit.numbers for fit in reference.fits],
        "torch": torch.__version__,
    }
    arrays = arrays_of([film.watched for film in films])
    arrays |= {f"fit/{index}/{name}": array for index, fit in enumerate(reference.fits) for name, array in fit.arrays.items()}
    run_reference.store(folder / f"{KIND}-{reference.key}.npz", about, arrays)


def stored_reference(
    folder: Path, subject: Subject, square: Square, plan_of: Callable[[Sequence[Clip]], WindowPlan]
) -> tuple[Reference, str] | None:
    """(newest reference with these weights, squares and plan, its manifest); the plan asked for may depend on its clips."""
    assert subject.model is not None
    for stored in run_reference.load_all(folder, KIND):
        about = stored.about
        if (about.get("format"), about.get("weights"), about.get("square")) != (FORMAT, subject.hash, square):
            continue
        try:
            plan, clips, manifest = _plan(stored), stored.clips, str(about["manifest"])
        except (EvalError, KeyError, TypeError, ValueError) as error:
            say(f"{folder}: a stored reference is ignored: {type(error).__name__}: {error}", file=sys.stderr)
            continue
        if plan_of(clips) == plan:
            return _reference(stored, plan, subject.model), manifest
    return None


def _plan(stored: run_reference.Stored) -> WindowPlan:
    plan = stored.about["plan"]
    return WindowPlan(**{**plan, "contexts": tuple(plan["contexts"])})


def _reference(stored: run_reference.Stored, plan: WindowPlan, model: WorldModel) -> Reference:
    about = stored.about
    watched = watched_of({name: array for name, array in stored.arrays.items() if not name.startswith("fit/")})
    named = zip(about["films"], watched, strict=True)
    films = [LawfulFilm(name, fold, it) for (name, fold), it in named if isinstance(it, Watched)]
    fits = [Whitening.of_arrays(numbers, _below(stored.arrays, f"fit/{index}/")) for index, numbers in enumerate(about["fits"])]
    return Reference(Yardstick(films, plan), model.distance, fits, about["key"], about["why_raw"], {})


def _below(arrays: Mapping[str, NDArray], prefix: str) -> dict[str, NDArray]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
