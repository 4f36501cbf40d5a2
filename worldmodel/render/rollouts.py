"""One rollout as pictures: panels side by side, a card of the gallery, files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from worldmodel.render.gallery import GalleryCard
from worldmodel.render.ink import save_png
from worldmodel.render.latents import error_map, error_reach, fit_pca, pca_frames
from worldmodel.render.panels import side_by_side, strip
from worldmodel.video import write_video

KINDS = ("mp4", "gif", "png")  # files of each rollout, by ending


@dataclass(frozen=True)
class Rollout:
    """One clip, seen and imagined. T frames of which the first C are context; f frames a latent."""

    name: str
    frames: np.ndarray  # uint8 [T, S, S, 3] what came
    context_frames: int
    times_s: np.ndarray  # [T]
    target: np.ndarray  # [T/f, N, D] latents of what came
    imagined: np.ndarray  # [T/f, N, D] of the context, then of what was imagined
    error: np.ndarray  # [T/f, N] the model's distance between the two; 0 within the context
    drawn: np.ndarray | None  # uint8 [T, s, s, 3] `imagined` as the decoder draws it; None without one
    others: tuple[np.ndarray, ...] = ()  # as `drawn`: what else may come, with an error of the model's own at each step
    closest: np.ndarray | None = None  # uint8 [T, S, S, 3] the training frame nearest to each step of `imagined`
    closest_error: np.ndarray | None = None  # [T/f] how far it is, the mean over places


def panels(rollout: Rollout) -> dict[str, np.ndarray]:
    """What is shown side by side; each a film of T frames."""
    f = len(rollout.frames) // len(rollout.target)
    latents = pca_frames(rollout.imagined, fit_pca(rollout.target), truth=rollout.target)
    seen = rollout.context_frames // f
    errors = error_map(rollout.error, rollout.frames[::f], error_reach(rollout.error[seen:]))
    drawn = {} if rollout.drawn is None else {"imagined": rollout.drawn}
    return {"what came": rollout.frames, **drawn, "latents": latents.repeat(f, axis=0), "error": errors.repeat(f, axis=0)}


def card_of(rollout: Rollout, fps: float, caption: str) -> GalleryCard:
    """One rollout as the gallery shows it."""
    f, shown = len(rollout.frames) // len(rollout.target), panels(rollout)
    seen = rollout.context_frames // f
    films = {"what came": rollout.frames}
    if rollout.drawn is not None:
        films["imagined (decoder)"] = rollout.drawn
    if rollout.closest is not None:
        films["nearest training frame"] = rollout.closest
    if rollout.target.shape[1] == 1:
        films["latents: imagined blue, what came grey"] = shown["latents"]
    else:
        films["latents of what came"] = pca_frames(rollout.target, fit_pca(rollout.target)).repeat(f, axis=0)
        films["latents imagined"] = shown["latents"]
    films["error by place" if rollout.target.shape[1] > 1 else "error"] = shown["error"]
    films |= {f"continuation {i + 1}, with drawn errors": film for i, film in enumerate(rollout.others, 1)}

    def over_time(steps: np.ndarray) -> list[float]:
        return np.where(np.arange(len(steps)) < seen, np.nan, steps).repeat(f).tolist()

    curves = {"from imagined to what came (surprise)": over_time(rollout.error.mean(axis=1))}
    if rollout.closest_error is not None:
        curves["from imagined to the nearest training frame"] = over_time(rollout.closest_error)
    return GalleryCard(rollout.name, caption, fps, rollout.context_frames, films, curves)


def rollout_names(paths: Sequence[str]) -> dict[str, str]:
    """What rollouts of these files are called, no two alike: clip.mp4 -> clip_rollout; a file given twice counts once.

    Of files of one name, names of as many folders above them are put before it as tell them apart: monday_clip_rollout. Names
    that differ in case alone count as one, since they are one file on some systems.
    """
    files = list({os.path.abspath(path): path for path in paths}.items())
    parts = [[*Path(absolute).parent.parts[1:], Path(absolute).stem] for absolute, _ in files]
    folders = [0] * len(files)
    while True:
        names = ["_".join(some[-1 - count :]) for some, count in zip(parts, folders, strict=True)]
        counts = Counter(name.lower() for name in names)
        longer = [i for i, name in enumerate(names) if counts[name.lower()] > 1 and folders[i] < len(parts[i]) - 1]
        if not longer:
            break
        for i in longer:
            folders[i] += 1
    taken: set[str] = set()
    found = {}
    for (_, path), name in zip(files, names, strict=True):
        number = 1
        while (free := f"{name}_{number}" if number > 1 else name).lower() in taken:  # clip.mp4 and clip.avi of one folder
            number += 1
        taken.add(free.lower())
        found[path] = f"{free}_rollout"
    return found


def write_rollout(rollout: Rollout, folder: Path, fps: float) -> dict[str, str]:
    """MP4, GIF and PNG strip of one clip; their names by kind."""
    shown = panels(rollout)
    film = side_by_side(shown, rollout.times_s.tolist(), rollout.context_frames)
    names = {kind: f"{rollout.name}.{kind}" for kind in KINDS}
    write_video(folder / names["mp4"], film, fps)
    write_video(folder / names["gif"], film, fps)
    rows = {label: film for label, film in shown.items() if label != "latents"}
    save_png(strip(rows, rollout.times_s.tolist(), rollout.context_frames), folder / names["png"])
    return names
