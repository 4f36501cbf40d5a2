"""Surprise of videos over time: every window of every video, by every scorer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eval.voe.scorers import MODEL, Fit, ScorerId
from eval.voe.surprise.calibration import Calibration, SlopeSums
from eval.voe.surprise.forecasting import (
    ALL_FORECASTERS,
    ForecastersByKind,
    FrameIds,
    Scope,
    WindowPrediction,
    frame_digests,
    frame_ids,
    predict_windows,
    unique_tubelets,
)
from eval.voe.surprise.pixel_baselines import (
    Gram,
    frame_gram,
    motion_change,
    motion_energy,
    path_statistics,
    pixel_copy,
    pixel_extrapolation,
    visible_copy,
)
from eval.voe.surprise.traces import TraceBlock
from eval.voe.surprise.whitening import MAX_COVARIANCE_SIZE, ErrorKey, ErrorMoments
from eval.voe.surprise.windows import Window, WindowKind, WindowPlan
from worldmodel.models.world_model import FrameWise, WorldModel

Frames = NDArray[np.uint8]
PIXEL_SCORERS: dict[WindowKind, dict[str, Callable[[Gram, Window, int], NDArray[np.float64]]]] = {
    "locked": {
        "pixel copy": pixel_copy,
        "visible copy": visible_copy,
        "pixel extrapolation": pixel_extrapolation,
        "motion change": motion_change,
    },
    "sliding": {"pixel copy": pixel_copy, "pixel extrapolation": pixel_extrapolation},
}
MEMORY_FREE = "masked context"  # in locked windows the end of the context is the same picture in all videos of a quadruplet


@dataclass(frozen=True)
class WindowedVideo:
    """Frames of a video at the plan's rate [T, H, W, 3], and the windows that it is cut into."""

    video_id: str
    frames: Frames
    windows: Sequence[Window]

    @cached_property
    def digests(self) -> list[bytes]:
        return frame_digests(self.frames)


@dataclass(frozen=True)
class SurpriseScorer:
    """A model, and how its surprise is computed. All methods take videos of equal length."""

    model: WorldModel
    plan: WindowPlan
    device: torch.device
    scope: Scope = "window"
    forecasters: ForecastersByKind = field(default_factory=lambda: ALL_FORECASTERS)
    per_token: bool = False  # also collect the model's errors of each token separately, for the ablation

    def error_moments(self, videos: Sequence[WindowedVideo]) -> dict[ErrorKey, ErrorMoments]:
        """Moments of the errors on possible videos with the same windows.

        Each kind of window has its own moments: contexts of sliding windows may be too short to
        know the motion of an object, so their errors differ from those in locked windows.
        """
        errors: dict[ErrorKey, list[Tensor]] = defaultdict(list)
        for predicted in self._predict(videos):
            for name, forecast in predicted.forecasts.items():
                errors[ErrorKey(predicted.window.kind, name)].append(forecast - predicted.target)
        found = {}
        for key, windows in errors.items():
            tokens, dim = windows[0].shape[2:]
            found[key] = ErrorMoments.empty(self.plan.horizon, 1, dim)
            found[key].add(windows)
            small_enough = 1 < tokens <= MAX_COVARIANCE_SIZE // found[key].gram.size
            if self.per_token and key.forecaster == MODEL and small_enough:
                per_token_key = ErrorKey(key.windows, MODEL, Fit(per_token=True))
                found[per_token_key] = ErrorMoments.empty(self.plan.horizon, tokens, dim)
                found[per_token_key].add(windows)
        return found

    def slope_sums(self, videos: Sequence[WindowedVideo], calibration: Calibration) -> SlopeSums:
        """Sums for the control variate: whitened surprise with and without memory."""
        fits, found = calibration.full_fits("locked"), SlopeSums()
        for predicted in self._predict(videos, ("locked",)):
            if MEMORY_FREE in predicted.forecasts:
                with_memory, without = (
                    fits[name].surprise(predicted.forecasts[name] - predicted.target).mean((1, 2)).cpu().double().numpy()
                    for name in (MODEL, MEMORY_FREE)
                )
                found += SlopeSums.of_points(without, with_memory)
        return found

    def traces(self, videos: Sequence[WindowedVideo], calibration: Calibration) -> list[TraceBlock]:
        """Surprise over time by every scorer that the calibration allows."""
        blocks = []
        for predicted in self._predict(videos):
            ids = [videos[index].video_id for index in predicted.videos]
            for scorer, surprise in self._surprises(predicted, calibration):
                values = surprise.mean(-1).cpu().double().numpy()
                blocks.append(_block(ids, scorer, predicted.window, self.plan, values))
        return blocks

    def surprise_maps(self, videos: Sequence[WindowedVideo], calibration: Calibration) -> dict[str, dict[str, NDArray]]:
        """Surprise by token, by video id.

        Arrays of a video: `<windows>/<scorer>` [W, S, N] (NaN: no such step), `<windows>/cut_s` and
        `<windows>/context_s` [W].
        """
        found: dict[str, dict[str, list[NDArray]]] = {video.video_id: defaultdict(list) for video in videos}
        fps = self.plan.fps
        of_model = Calibration({key: fit for key, fit in calibration.whitening.items() if key == ErrorKey(key.windows, MODEL)})
        for predicted in self._predict(videos):
            window, missing = predicted.window, self.plan.horizon - predicted.window.steps
            members = [videos[index] for index in predicted.videos]
            for scorer, surprise in self._surprises(predicted, of_model):
                padded = np.pad(surprise.cpu().numpy(), ((0, 0), (0, missing), (0, 0)), constant_values=np.nan)
                for video, tokens in zip(members, padded, strict=True):
                    found[video.video_id][f"{window.kind}/{scorer}"].append(tokens)
            for video in members:
                for name, frames in (("cut_s", window.cut), ("context_s", window.context)):
                    found[video.video_id][f"{window.kind}/{name}"].append(np.array(frames / fps))
        return {
            video_id: {key: np.stack(rows).astype(np.float32 if rows[0].ndim else np.float64) for key, rows in arrays.items()}
            for video_id, arrays in found.items()
        }

    def path_traces(self, videos: Sequence[WindowedVideo]) -> list[TraceBlock]:
        """Statistics of the path of latents; none for fewer than three latent steps."""
        f, fps = self.model.tubelet_size, self.plan.fps
        whole = len(videos[0].frames) // f * f
        if whole // f < 3:
            return []
        frames = self._batch(videos)[:, :whole]
        if isinstance(self.model, FrameWise):
            tubelets, index = unique_tubelets(frames, _ids(videos)[:, :whole], f)
            latents = self.model.encode(self.model.normalise(tubelets))[index, 0]
        else:
            latents = self.model.encode(self.model.normalise(frames))
        times = np.arange(2, whole // f) * f / fps
        found = [path_statistics(path) for path in latents.flatten(2).cpu().double().numpy()]
        video_ids = [video.video_id for video in videos]
        return [
            TraceBlock(video_ids, ScorerId(name), "sliding", 0.0, 0.0, times, np.stack([path[name] for path in found]))
            for name in found[0]
        ]

    def _surprises(self, predicted: WindowPrediction, calibration: Calibration) -> Iterable[tuple[ScorerId, Tensor]]:
        """Surprise [B, steps, N] of one window by each scorer."""
        fits, control = calibration.full_fits(predicted.window.kind), None
        if MEMORY_FREE in predicted.forecasts and MEMORY_FREE in fits and calibration.control_slope is not None:
            error = predicted.forecasts[MEMORY_FREE] - predicted.target
            control = calibration.control_slope * fits[MEMORY_FREE].surprise(error)
        for name, forecast in predicted.forecasts.items():
            yield ScorerId(name), self.model.distance(forecast, predicted.target)
            if name in fits:
                error = forecast - predicted.target
                surprise = fits[name].surprise(error)
                yield ScorerId(name, "whitened"), surprise
                if control is not None:
                    yield ScorerId(name, "adjusted"), surprise - control
                if name == MODEL:
                    yield ScorerId(distance="diagonal"), fits[name].diagonal_surprise(error)
        error = predicted.forecasts[MODEL] - predicted.target
        for fit, whitening in calibration.ablation_fits(predicted.window.kind).items():
            yield ScorerId(distance="whitened", fit=fit), whitening.surprise(error)

    def _predict(
        self, videos: Sequence[WindowedVideo], kinds: Sequence[WindowKind] = ("locked", "sliding")
    ) -> Iterable[WindowPrediction]:
        """Predictions of the windows of these kinds, for the videos that have them."""
        members: dict[Window, list[int]] = defaultdict(list)
        for index, video in enumerate(videos):
            for window in dict.fromkeys(video.windows):
                if window.kind in kinds:
                    members[window].append(index)
        windows = sorted(members, key=_sort_key)
        frames = self._batch(videos)
        return predict_windows(self.model, frames, windows, self.forecasters, self.scope, _ids(videos), members)

    def _batch(self, videos: Sequence[WindowedVideo]) -> Tensor:
        return torch.from_numpy(np.stack([video.frames for video in videos])).to(self.device)


def pixel_traces(videos: Sequence[WindowedVideo], plan: WindowPlan) -> list[TraceBlock]:
    """Surprise of videos of equal length by the pixel baselines."""
    f = plan.tubelet_size
    grams = [frame_gram(video.frames) for video in videos]
    blocks = []
    for window in sorted({window for video in videos for window in video.windows}, key=_sort_key):
        rows = [index for index, video in enumerate(videos) if window in video.windows]
        ids = [videos[index].video_id for index in rows]
        for name, baseline in PIXEL_SCORERS[window.kind].items():
            values = np.stack([baseline(grams[index], window, f) for index in rows])
            blocks.append(_block(ids, ScorerId(name), window, plan, values))
    times = np.arange(1, len(grams[0])) / plan.fps
    ids = [video.video_id for video in videos]
    if len(times):
        energy = np.stack([motion_energy(gram) for gram in grams])
        blocks.append(TraceBlock(ids, ScorerId("motion energy"), "sliding", 0.0, 0.0, times, energy))
    return blocks


def _ids(videos: Sequence[WindowedVideo]) -> FrameIds:
    return frame_ids([video.digests for video in videos])


def _block(ids: list[str], scorer: ScorerId, window: Window, plan: WindowPlan, values: NDArray[np.float64]) -> TraceBlock:
    times = (window.cut + np.arange(window.steps) * plan.tubelet_size) / plan.fps
    return TraceBlock(ids, scorer, window.kind, window.start / plan.fps, window.context / plan.fps, times, values)


def _sort_key(window: Window) -> tuple[str, int, int, int]:
    """Order of the windows. It affects only which of them reuse an encoded target."""
    return window.kind, window.start, window.context, window.steps
