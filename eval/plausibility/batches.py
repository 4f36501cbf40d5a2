"""Films of any length before a model: cut into stretches, shared by ranks, each piece of work left as a file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from numpy.typing import NDArray

from eval.plausibility.sliding_windows import Measure, Watched, joined, load_watched, save_watched, too_short, watch
from eval.voe.surprise.forecasting import MODEL_ALONE
from eval.voe.surprise.scoring import Judge, Shot
from eval.voe.surprise.whitening import ErrorMoments, load_moments, save_moments
from eval.voe.surprise.windows import WindowPlan
from eval.workload import share
from worldmodel.manifest import Clip
from worldmodel.models.world_model import WorldModel
from worldmodel.video import VideoError
from worldmodel.video.square import Square, read_square

WINDOWS = 48  # of a stretch; a film of hours never lies in memory whole
AT_ONCE = 8  # stretches in a piece of work
Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class Stretch:
    """Part of a clip: so many frames from `first` on, at the plan's rate."""

    clip: Clip
    first: int
    frames: int


@dataclass(frozen=True)
class Viewing:
    """A model, and how films are shown to it."""

    model: WorldModel
    plan: WindowPlan
    device: torch.device
    ranks: PartialState
    square: Square = "squeeze"  # how frames are made square

    def stretches(self, clip: Clip, most: int | None = None) -> list[Stretch]:
        """Of WINDOWS windows each, `most` at most; none where the clip is too short for a window."""
        plan, length = self.plan, frames_at(clip, self.plan.fps)
        if not plan.free(length):
            return []
        windows = max(0, length - plan.frames) // plan.stride + 1
        firsts = range(0, windows, WINDOWS)[:most]
        span = min(plan.frames, length)
        return [Stretch(clip, w * plan.stride, (min(WINDOWS, windows - w) - 1) * plan.stride + span) for w in firsts]

    def watch(
        self,
        what: str,
        clips: Sequence[Clip],
        measures: dict[str, Measure],
        folder: Path,
        by_place: bool = False,
        most: int | None = None,
    ) -> list[Watched | str]:
        """Each clip as the model sees it, or why it cannot be; at most so many stretches of each. Files stay in `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        cut = [self.stretches(clip, most) for clip in clips]
        pieces = _pieces([stretch for stretches in cut for stretch in stretches])

        def work(loaded: Sequence[Frames | str], file: Path) -> None:
            found: dict[int, Watched | str] = {i: it for i, it in enumerate(loaded) if isinstance(it, str)}
            for places, frames in _by_length(loaded):
                batch = torch.from_numpy(frames).to(self.device)
                together = watch(self.model, batch, self.plan, measures, by_place)
                found |= {place: together.film(index) for index, place in enumerate(places)}
            save_watched(file, [found[index] for index in range(len(loaded))])

        files = share(what, pieces, lambda i: folder / f"{i:05d}.npz", self._read, work, self.ranks)
        done = iter([it for file in files for it in load_watched(file)])
        return [self._whole(clip, [next(done) for _ in stretches]) for clip, stretches in zip(clips, cut, strict=True)]

    def moments(self, what: str, clips: Sequence[Clip], folder: Path, most: int | None = None) -> ErrorMoments | None:
        """The model's errors in the clips' windows, a stretch counting as a film; None where nothing could be read."""
        folder.mkdir(parents=True, exist_ok=True)
        judge = Judge(self.model, self.plan, self.device, asked=MODEL_ALONE)
        pieces = _pieces([stretch for clip in clips for stretch in self.stretches(clip, most)])

        def work(loaded: Sequence[Frames | str], file: Path) -> None:
            total: dict[str, ErrorMoments] = {}
            for _, frames in _by_length(loaded):
                windows = self.plan.free(frames.shape[1])
                shots = [Shot(str(index), film, windows) for index, film in enumerate(frames)]
                _add(total, judge.moments(shots))
            save_moments(file, total)

        total: dict[str, ErrorMoments] = {}
        for file in share(what, pieces, lambda i: folder / f"moments_{i:05d}.npz", self._read, work, self.ranks):
            _add(total, load_moments(file))
        return total.get("free/model")

    def is_readable(self, clip: Clip, most: int | None = None) -> bool:
        """Whether the clip is long enough for a window, and its stretches (`most` at most) can be read."""
        stretches = self.stretches(clip, most)
        return bool(stretches) and all(not isinstance(self._read([stretch])[0], str) for stretch in stretches)

    def _read(self, piece: Sequence[Stretch]) -> list[Frames | str]:
        return [read_stretch(stretch, self.plan.fps, self.model.size_px, self.square) for stretch in piece]

    def _whole(self, clip: Clip, parts: Sequence[Watched | str]) -> Watched | str:
        if not parts:
            return too_short(frames_at(clip, self.plan.fps), self.plan)
        read = [part for part in parts if isinstance(part, Watched)]
        if len(read) < len(parts):
            return next(part for part in parts if isinstance(part, str))
        return joined(read, self.plan, WINDOWS)


def frames_at(clip: Clip, fps: float) -> int:
    """How many frames of a clip there are at another rate: as many as begin before its last frame does."""
    return int((clip.frames - 1) / clip.fps * fps + 1e-6) + 1


def read_stretch(stretch: Stretch, fps: float, size_px: int, square: Square) -> Frames | str:
    """uint8 [T, size_px, size_px, 3], made square as `square` says, or why there is none."""
    clip = stretch.clip
    times = [clip.start_s + (stretch.first + index) / fps for index in range(stretch.frames)]
    try:
        return read_square(
            clip.path, size_px, square, times_s=times, member=clip.member, folder_fps=clip.fps, timing=clip.timing
        )
    except VideoError as error:
        return error.detail or error.reason
    except OSError as error:
        return error.strerror or str(error)


def _pieces(stretches: Sequence[Stretch]) -> list[tuple[Stretch, ...]]:
    return [tuple(stretches[first : first + AT_ONCE]) for first in range(0, len(stretches), AT_ONCE)]


def _by_length(loaded: Sequence[Frames | str]) -> list[tuple[list[int], Frames]]:
    """(places, films [B, T, H, W, 3]) of those that are equally long."""
    places: dict[int, list[int]] = defaultdict(list)
    for place, frames in enumerate(loaded):
        if not isinstance(frames, str):
            places[len(frames)].append(place)
    return [(some, np.stack([np.asarray(loaded[place]) for place in some])) for some in places.values()]


def _add(total: dict[str, ErrorMoments], more: dict[str, ErrorMoments]) -> None:
    for name, moments in more.items():
        total.setdefault(name, moments.like()).merge(moments)
