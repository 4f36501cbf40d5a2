"""Pictures of one rollout: panels side by side, a card of the gallery, and files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from worldmodel.render.actions import ShownActions, action_frames, action_scale
from worldmodel.render.gallery import GalleryCard
from worldmodel.render.latents import error_map, error_scale, fit_pca, pca_frames
from worldmodel.render.panels import side_by_side, strip
from worldmodel.render.style import save_png
from worldmodel.video import write_video

KINDS = ("mp4", "gif", "png")  # suffixes of the files of each rollout


@dataclass(frozen=True)
class Rollout:
    """The prediction of one clip. Of T frames the first C are context; a latent covers f frames."""

    name: str
    frames: np.ndarray  # uint8 [T, S, S, 3] ground truth
    context_frames: int
    times_s: np.ndarray  # [T]
    target: np.ndarray  # [T/f, N, D] latents of the ground truth
    prediction: np.ndarray  # [T/f, N, D] latents of the context, then predicted latents
    error: np.ndarray  # [T/f, N] the model's distance between target and prediction; 0 within the context
    decoded: np.ndarray | None  # uint8 [T, s, s, 3] `prediction` as the decoder draws it; None without a decoder
    samples: tuple[np.ndarray, ...] = ()  # as `decoded`: continuations with a random error of the model added at each step
    nearest: np.ndarray | None = None  # uint8 [T, S, S, 3] the training frame nearest to each step of `prediction`
    nearest_distance: np.ndarray | None = None  # [T/f] distance to it, the mean over tokens
    actions: ShownActions | None = None  # of a model that takes them

    @property
    def tubelet_size(self) -> int:
        """f, frames per latent step."""
        return len(self.frames) // len(self.target)


def panels(rollout: Rollout) -> dict[str, np.ndarray]:
    """The panels of the video, by label: each uint8 [T, H, W, 3]. With actions, the second half of them is a second row."""
    f, actions = rollout.tubelet_size, rollout.actions
    latents = pca_frames(rollout.prediction, fit_pca(rollout.target), truth=rollout.target).repeat(f, axis=0)
    context = rollout.context_frames // f
    predicted = [rollout.error] if actions is None else [rollout.error, actions.error]
    scale = error_scale(np.concatenate([error[context:] for error in predicted]))
    errors = [error_map(error, rollout.frames[::f], scale).repeat(f, axis=0) for error in predicted]
    decoded = {} if rollout.decoded is None else {"prediction": rollout.decoded}
    if actions is None:
        return {"ground truth": rollout.frames, **decoded, "latents": latents, "error": errors[0]}
    arrows = action_scale([actions.recorded, actions.other], actions.names)
    recorded, other = (action_frames(some, actions.names, arrows) for some in (actions.recorded, actions.other))
    label, drawn, other_drawn = "prediction", rollout.decoded, actions.decoded
    if drawn is None:
        label, drawn, other_drawn = "nearest training frame", rollout.nearest, actions.nearest
    return {
        "ground truth": rollout.frames,
        "recorded actions": recorded,
        **({} if drawn is None else {label: drawn}),
        "error": errors[0],
        "latents": latents,
        "other actions": other,
        **({} if other_drawn is None else {f"{label}, other actions": other_drawn}),
        "error, other actions": errors[1],
    }


def gallery_card(rollout: Rollout, fps: float, caption: str) -> GalleryCard:
    """One rollout as the gallery shows it."""
    f, shown = rollout.tubelet_size, panels(rollout)
    context = rollout.context_frames // f
    videos = {"ground truth": rollout.frames}
    if rollout.decoded is not None:
        videos["prediction (decoded)"] = rollout.decoded
    if rollout.actions is not None:
        videos[f"recorded actions: {rollout.actions.names.title}"] = shown["recorded actions"]
        if rollout.actions.decoded is not None:
            videos["prediction for other actions (decoded)"] = rollout.actions.decoded
        videos["other actions, after the context"] = shown["other actions"]
        if rollout.actions.nearest is not None:
            videos["nearest training frame for other actions"] = rollout.actions.nearest
    if rollout.nearest is not None:
        videos["nearest training frame"] = rollout.nearest
    if rollout.target.shape[1] == 1:
        videos["latents: prediction blue, ground truth grey"] = shown["latents"]
    else:
        videos["latents of the ground truth"] = pca_frames(rollout.target, fit_pca(rollout.target)).repeat(f, axis=0)
        videos["predicted latents"] = shown["latents"]
    videos["error by token" if rollout.target.shape[1] > 1 else "error"] = shown["error"]
    videos |= {f"sampled continuation {i}": video for i, video in enumerate(rollout.samples, 2)}

    def after_context(steps: np.ndarray) -> list[float]:
        return np.where(np.arange(len(steps)) < context, np.nan, steps).repeat(f).tolist()

    curves = {"distance from prediction to ground truth (surprise)": after_context(rollout.error.mean(axis=1))}
    if rollout.actions is not None:
        curves["the same for the prediction under other actions"] = after_context(rollout.actions.error.mean(axis=1))
    if rollout.nearest_distance is not None:
        curves["distance from prediction to the nearest training frame"] = after_context(rollout.nearest_distance)
    return GalleryCard(rollout.name, caption, fps, rollout.context_frames, videos, curves)


def rollout_names(paths: Sequence[str]) -> dict[str, str]:
    """Names of the rollouts of these files, all different: clip.mp4 -> clip_rollout. A file given twice counts once.

    If several files have one name, the names of as many parent folders as needed are put before it: monday_clip_rollout.
    Names that differ only in case count as equal, since they are the same file on some systems.
    """
    files = list({os.path.abspath(path): path for path in paths}.items())
    parts = [[*Path(absolute).parent.parts[1:], Path(absolute).stem] for absolute, _ in files]
    folders = [0] * len(files)
    while True:
        names = ["_".join(path[-1 - count :]) for path, count in zip(parts, folders, strict=True)]
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


def write_rollout_files(rollout: Rollout, folder: Path, fps: float) -> dict[str, str]:
    """Write MP4, GIF and PNG strip of one clip; return their names by kind."""
    shown = panels(rollout)
    columns = len(shown) if rollout.actions is None else len(shown) // 2
    video = side_by_side(shown, rollout.times_s.tolist(), rollout.context_frames, columns)
    names = {kind: f"{rollout.name}.{kind}" for kind in KINDS}
    write_video(folder / names["mp4"], video, fps)
    write_video(folder / names["gif"], video, fps)
    rows = {label: frames for label, frames in shown.items() if label != "latents"}
    save_png(strip(rows, rollout.times_s.tolist(), rollout.context_frames), folder / names["png"])
    return names
