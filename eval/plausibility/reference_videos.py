"""Lawful films as a model sees them, kept for the next films that are scored by it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from eval.cache.cache_lock import cache_lock
from eval.plausibility.batches import Viewing
from eval.plausibility.reference_distribution import DISTANCE, FOLDS, WHITENED, LawfulFilm, Yardstick
from eval.plausibility.sliding_windows import Measure, Watched
from eval.result_folder import read_json
from eval.voe.surprise.whitening import Whitening
from worldmodel.files.atomic import write_json
from worldmodel.manifest import Clip
from worldmodel.process.launch import on_main_process
from worldmodel.video.container.source import shown_name

FORMAT = 1
UNREAD = "unread.json"  # places of clips that could not be watched, in the list of all
STRETCHES = 400  # of lawful films together, so that a few long ones give as many as many short ones


@dataclass(frozen=True)
class Reference:
    """What a film is compared with, and by which measures."""

    yardstick: Yardstick
    distance: Measure  # the model's own
    fits: Sequence[Whitening]  # what each fold is whitened by; none where nothing is
    key: str  # of everything that determines it
    why_raw: str  # why nothing is whitened, where nothing is
    unread: dict[str, str]  # lawful films that could not be watched, with the reason

    @property
    def measures(self) -> dict[str, Measure]:
        """Of a film that is compared: "distance", and "whitened <fold>" as each fold is."""
        return {DISTANCE: self.distance, **{f"{WHITENED} {fold}": whitened(fit) for fold, fit in enumerate(self.fits)}}


def lawful_reference(viewing: Viewing, weights: str, clips: Sequence[Clip], cache: Path) -> Reference:
    """Lawful clips, watched now or when this model (by the hash of its weights) was asked before.

    Files are split into two folds in turn; each fold's errors are whitened by the other's.
    """
    key = _key(viewing, weights, clips)
    folder = cache / "lawful" / key
    most = max(1, STRETCHES // max(1, len(clips)))
    with cache_lock(folder, "lawful films", viewing.ranks):
        on_main_process(viewing.ranks, lambda: _discard_outdated(viewing, clips, folder, most))
        return _reference(viewing, key, clips, folder, most)


def _discard_outdated(viewing: Viewing, clips: Sequence[Clip], folder: Path, most: int) -> None:
    """Remove all files if they were made while a clip could not be read that can be read now: all of them depend on it."""
    if not (folder / UNREAD).exists():
        return
    places = (read_json(folder / UNREAD) or {}).get("clips")
    if not isinstance(places, list) or any(viewing.is_readable(clips[place], most) for place in places):
        shutil.rmtree(folder)


def _reference(viewing: Viewing, key: str, clips: Sequence[Clip], folder: Path, most: int) -> Reference:
    """Make a reference, or read it from FOLDER, which no other process writes to meanwhile."""
    names = list(dict.fromkeys(file_name(clip) for clip in clips))
    folds = [[clip for clip in clips if names.index(file_name(clip)) % FOLDS == fold] for fold in range(FOLDS)]
    fits, why_raw = _fits(viewing, folds, folder, most)
    films, unread, left_out = [], {}, []
    for fold, mine in enumerate(folds):
        measures = {DISTANCE: viewing.model.distance, **({WHITENED: whitened(fits[fold])} if fits else {})}
        what = f"lawful films, half {fold + 1} of {FOLDS}"
        for clip, watched in zip(mine, viewing.watch(what, mine, measures, folder / f"fold_{fold}", most=most), strict=True):
            if isinstance(watched, Watched):
                films.append(LawfulFilm(file_name(clip), fold, watched))
            else:
                unread[file_name(clip)] = watched
                left_out.append(clips.index(clip))
    if left_out and viewing.ranks.is_main_process:
        write_json(folder / UNREAD, {"clips": left_out})
    return Reference(Yardstick(films, viewing.plan), viewing.model.distance, fits, key, why_raw, unread)


def file_name(clip: Clip) -> str:
    return shown_name(clip.path, clip.member)


def whitened(fit: Whitening) -> Measure:
    return lambda forecast, target: fit.surprise(forecast - target)


def _fits(viewing: Viewing, folds: Sequence[Sequence[Clip]], folder: Path, most: int) -> tuple[list[Whitening], str]:
    """What each fold is whitened by: the errors on all others. None, with the reason, where films are too few."""
    fits = []
    for fold in range(FOLDS):
        others = [clip for other, clips in enumerate(folds) if other != fold for clip in clips]
        moments = viewing.moments(f"their errors, half {FOLDS - fold} of {FOLDS}", others, folder / f"others_{fold}", most)
        if moments is None:
            return [], "no lawful film of one half can be watched"
        try:
            fits.append(Whitening.fit(moments))
        except ValueError as error:
            return [], f"{error}; half of them are kept apart to compare with"
    return fits, ""


def _key(viewing: Viewing, weights: str, clips: Sequence[Clip]) -> str:
    """Of everything that determines what is kept: 16 hex digits. Clips count by their content, wherever they lie; those
    that are not there are tried again once they are."""
    said = {
        "format": FORMAT,
        "weights": weights,
        "plan": asdict(viewing.plan),
        "square": viewing.square,
        "clips": [[clip.clip_id, clip.start_s, clip.frames, clip.fps, os.path.exists(clip.path)] for clip in clips],
        "most": STRETCHES,
        "torch": torch.__version__,
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]
