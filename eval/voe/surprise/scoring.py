"""Films -> surprise over time: every window of every film, by every scorer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eval.voe.surprise.calibration import Line, Usual
from eval.voe.surprise.forecasting import (
    EVERYWHERE,
    Asked,
    Outlook,
    Same,
    Scope,
    different_tubelets,
    digests,
    outlooks,
    same_frames,
)
from eval.voe.surprise.pixel_baselines import frame_gram, motion_energy, pixel_copy, pixel_extrapolation, trajectory
from eval.voe.surprise.traces import Block
from eval.voe.surprise.whitening import MOST_NUMBERS, ErrorMoments
from eval.voe.surprise.windows import Window, WindowPlan
from worldmodel.models.world_model import FrameWise, WorldModel

Frames = NDArray[np.uint8]
WHITENED, ADJUSTED = "whitened", "adjusted"
NO_MEMORY = "masked context"  # in locked windows the end of the context is one picture for all films of a quadruplet
PER_PLACE = "per place"


@dataclass(frozen=True)
class Shot:
    """A film as it is judged: its frames at the plan's rate [T, H, W, 3], and the windows it is cut into."""

    film_id: str
    frames: Frames
    windows: Sequence[Window]

    @cached_property
    def digests(self) -> list[bytes]:
        return digests(self.frames)


@dataclass(frozen=True)
class Judge:
    """A model that is asked how surprised it is."""

    model: WorldModel
    plan: WindowPlan
    device: torch.device
    scope: Scope = "window"
    asked: Asked = field(default_factory=lambda: EVERYWHERE)
    per_place: bool = False  # for the ablation: usual errors of the model at each place apart, too

    def moments(self, shots: Sequence[Shot]) -> dict[str, ErrorMoments]:
        """Errors on lawful films of equal length, cut alike, by "<kind of window>/<forecaster>": contexts of free windows may
        be too short to know a thing's way by, and what is usual there is not so in locked ones."""
        errors: dict[str, list[Tensor]] = defaultdict(list)
        for outlook in self._look(shots):
            for name, forecast in outlook.forecasts.items():
                errors[f"{outlook.window.kind}/{name}"].append(forecast - outlook.target)
        found = {}
        for name, windows in errors.items():
            places, dim = windows[0].shape[2:]
            found[name] = ErrorMoments.empty(self.plan.horizon, 1, dim)
            found[name].add(windows)
            if self.per_place and name.endswith("/model") and 1 < places <= MOST_NUMBERS // found[name].gram.size:
                apart = f"{name}, {PER_PLACE}"
                found[apart] = ErrorMoments.empty(self.plan.horizon, places, dim)
                found[apart].add(windows)
        return found

    def line(self, shots: Sequence[Shot], usual: Usual) -> Line:
        """Whitened surprise of lawful films, with memory against without, a point a window; see `usual`."""
        fits, found = usual.of("locked"), Line()
        for outlook in self._look(shots):
            if NO_MEMORY in outlook.forecasts and outlook.window.kind == "locked":
                with_memory, without = (
                    fits[name].surprise(outlook.forecasts[name] - outlook.target).mean((1, 2)).cpu().double().numpy()
                    for name in ("model", NO_MEMORY)
                )
                found += Line.through(without, with_memory)
        return found

    def traces(self, shots: Sequence[Shot], usual: Usual) -> list[Block]:
        """Of films of equal length: by the model's own distance; whitened and adjusted where it is known what is usual.

        In `usual.whitening`, "model, n films" and "model, per place" are other fits, for the ablation.
        """
        blocks = []
        for outlook in self._look(shots):
            judged = [index for index, shot in enumerate(shots) if outlook.window in shot.windows]
            for scorer, surprise in self._scores(outlook, usual):
                values = surprise[judged].mean(-1).cpu().double().numpy()
                blocks.append(_block([shots[i].film_id for i in judged], scorer, outlook.window, self.plan, values))
        return blocks

    def maps(self, shots: Sequence[Shot], usual: Usual) -> dict[str, dict[str, NDArray]]:
        """Surprise by place, by film id: `<windows>/<scorer>` [W, S, N] (NaN: not judged), `<windows>/cut_s` and
        `<windows>/context_s` [W]."""
        found: dict[str, dict[str, list[NDArray]]] = {shot.film_id: defaultdict(list) for shot in shots}
        fps = self.plan.fps
        own = Usual({name: fit for name, fit in usual.whitening.items() if name.endswith("/model")})
        for outlook in self._look(shots):
            window, missing = outlook.window, self.plan.horizon - outlook.window.steps
            for scorer, surprise in self._scores(outlook, own):
                padded = np.pad(surprise.cpu().numpy(), ((0, 0), (0, missing), (0, 0)), constant_values=np.nan)
                for shot, places in zip(shots, padded, strict=True):
                    if window in shot.windows:
                        found[shot.film_id][f"{window.kind}/{scorer}"].append(places)
            for shot in shots:
                if window in shot.windows:
                    for name, frames in (("cut_s", window.cut), ("context_s", window.context)):
                        found[shot.film_id][f"{window.kind}/{name}"].append(np.array(frames / fps))
        return {
            film: {key: np.stack(rows).astype(np.float32 if rows[0].ndim else np.float64) for key, rows in arrays.items()}
            for film, arrays in found.items()
        }

    def paths(self, shots: Sequence[Shot]) -> list[Block]:
        """Statistics of the path that each film's latents take."""
        f, fps = self.model.tubelet_size, self.plan.fps
        whole = len(shots[0].frames) // f * f
        if whole // f < 3:
            return []
        frames = self._uint8(shots)[:, :whole]
        if isinstance(self.model, FrameWise):
            tubelets, which = different_tubelets(frames, _same(shots)[:, :whole], f)
            latents = self.model.encode(self.model.normalise(tubelets))[which, 0]
        else:
            latents = self.model.encode(self.model.normalise(frames))
        times = np.arange(2, whole // f) * f / fps
        found = [trajectory(path) for path in latents.flatten(2).cpu().double().numpy()]
        ids = [shot.film_id for shot in shots]
        return [Block(ids, name, "free", 0.0, 0.0, times, np.stack([path[name] for path in found])) for name in found[0]]

    def _scores(self, outlook: Outlook, usual: Usual) -> Iterable[tuple[str, Tensor]]:
        whitening, foretold = usual.of(outlook.window.kind), None
        if NO_MEMORY in outlook.forecasts and NO_MEMORY in whitening and usual.foretold is not None:
            foretold = usual.foretold * whitening[NO_MEMORY].surprise(outlook.forecasts[NO_MEMORY] - outlook.target)
        for name, forecast in outlook.forecasts.items():
            yield scorer_name(name, ""), self.model.distance(forecast, outlook.target)
            if name in whitening:
                error = forecast - outlook.target
                surprise = whitening[name].surprise(error)
                yield scorer_name(name, WHITENED), surprise
                if foretold is not None:
                    yield scorer_name(name, ADJUSTED), surprise - foretold
                if name == "model":
                    yield "diagonal", whitening[name].surprise_by_feature(error)
        error = outlook.forecasts["model"] - outlook.target
        for name, fit in whitening.items():
            if name.startswith("model, "):
                yield f"{WHITENED}, {name.removeprefix('model, ')}", fit.surprise(error)

    def _look(self, shots: Sequence[Shot]) -> Iterable[Outlook]:
        windows = sorted({window for shot in shots for window in shot.windows}, key=_address)
        return outlooks(self.model, self._uint8(shots), windows, self.asked, self.scope, _same(shots))

    def _uint8(self, shots: Sequence[Shot]) -> Tensor:
        return torch.from_numpy(np.stack([shot.frames for shot in shots])).to(self.device)


def blind_traces(shots: Sequence[Shot], plan: WindowPlan) -> list[Block]:
    """Of films of equal length, by scorers that look at pixels alone."""
    f = plan.tubelet_size
    grams = [frame_gram(shot.frames) for shot in shots]
    scorers: dict[str, Callable[..., NDArray[np.float64]]] = {
        "pixel copy": pixel_copy,
        "pixel extrapolation": pixel_extrapolation,
    }
    blocks = []
    for window in sorted({window for shot in shots for window in shot.windows}, key=_address):
        judged = [index for index, shot in enumerate(shots) if window in shot.windows]
        ids = [shots[index].film_id for index in judged]
        for name, scorer in scorers.items():
            blocks.append(_block(ids, name, window, plan, np.stack([scorer(grams[index], window, f) for index in judged])))
    times = np.arange(1, len(grams[0])) / plan.fps
    ids = [shot.film_id for shot in shots]
    if len(times):
        blocks.append(Block(ids, "motion energy", "free", 0.0, 0.0, times, np.stack([motion_energy(gram) for gram in grams])))
    return blocks


def scorer_name(forecaster: str, measure: str) -> str:
    """ "distance" and "whitened" are the model's; others carry their forecaster's name."""
    if forecaster == "model":
        return measure or "distance"
    return f"{forecaster}, {measure}" if measure else forecaster


def _same(shots: Sequence[Shot]) -> Same:
    return same_frames([shot.digests for shot in shots])


def _block(films: list[str], scorer: str, window: Window, plan: WindowPlan, values: NDArray[np.float64]) -> Block:
    times = (window.cut + np.arange(window.steps) * plan.tubelet_size) / plan.fps
    return Block(films, scorer, window.kind, window.start / plan.fps, window.context / plan.fps, times, values)


def _address(window: Window) -> tuple[str, int, int, int]:
    return window.kind, window.start, window.context, window.steps
