"""Quadruplets of a suite in few locked windows, scored in seconds for many models of one kind of window.

Pairs are scored as `eval voe` scores them, by adjusted surprise, but in few locked windows and without sliding ones. The videos
are read once and lie in memory.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from eval.voe.scorers import ScorerId
from eval.voe.suites.suite import Suite
from eval.voe.surprise.calibration import Calibration, SlopeSums, fit_whitenings
from eval.voe.surprise.forecasting import MODEL_AND_MASKED
from eval.voe.surprise.scoring import SurpriseScorer, WindowedVideo
from eval.voe.surprise.whitening import ErrorKey, ErrorMoments, merge_moments
from eval.voe.surprise.windows import Window, WindowPlan
from eval.voe.trials import Trial, Video, read_video
from worldmodel.manifest import Manifest
from worldmodel.models.world_model import WorldModel

CUT_STRIDE = 4  # frames between two contexts of a calibration video
AT_ONCE = 20  # calibration videos
SPLITS = ("test", "ood")
ADJUSTED = ScorerId(distance="adjusted")

Quadruplet = list[WindowedVideo]  # its four videos, in the order of eval.voe.pairs.QUADRUPLET


@dataclass(frozen=True)
class LockedPairs:
    """Call it with a model: the adjusted surprise [Q, 4] of the quadruplets of each property."""

    plan: WindowPlan
    calibration: Sequence[WindowedVideo]  # possible videos of equal length, on which errors are calibrated
    quadruplets: dict[str, list[Quadruplet]]  # by property
    slope: float | None = None  # of the control variate; None: fitted on the calibration videos

    @torch.no_grad()
    def __call__(self, model: WorldModel) -> dict[str, NDArray[np.float64]]:
        scorer = SurpriseScorer(model, self.plan, torch.device("cpu"), forecasters=MODEL_AND_MASKED)
        parts = [self.calibration[first : first + AT_ONCE] for first in range(0, len(self.calibration), AT_ONCE)]
        moments: dict[ErrorKey, ErrorMoments] = {}
        for part in parts:
            merge_moments(moments, scorer.error_moments(part))
        calibration = Calibration(fit_whitenings(moments))
        slope = self.slope
        if slope is None:
            slope = sum((scorer.slope_sums(part, calibration) for part in parts), SlopeSums()).slope
        calibration = replace(calibration, control_slope=slope)
        return {name: _surprise(scorer, calibration, fours) for name, fours in self.quadruplets.items()}


def read_quadruplets(
    suite: Suite, plan: WindowPlan, properties: Sequence[str], count: int, windows: int, size_px: int
) -> dict[str, list[Quadruplet]]:
    """The first `count` quadruplets of each property, in at most `windows` locked windows each; without empty properties."""
    found = {}
    for name in properties:
        trials = [it for it in suite.trials if it.property == name and it.split in SPLITS and it.locked_cuts]
        if trials:
            found[name] = [_read(it, plan, windows, size_px) for it in trials[:count]]
    return found


def calibration_videos(manifest: str, count: int) -> list[Video]:
    """The first `count` possible videos of a manifest."""
    table = Manifest.open(Path(manifest))
    rows = zip(*(table.column(name) for name in ("path", "fps", "frames")), strict=True)
    first = enumerate(itertools.islice(rows, count))
    return [Video(str(index), table.absolute(path), fps, int(frames), True) for index, (path, fps, frames) in first]


def in_calibration_windows(video: Video, frames: NDArray[np.uint8], plan: WindowPlan) -> WindowedVideo:
    """A possible video, cut into the windows on which errors are calibrated."""
    cuts = range(min(plan.contexts), len(frames), CUT_STRIDE)
    windows = [window for cut in cuts if (window := plan.ending_at(cut, len(frames))) is not None]
    return WindowedVideo(video.video_id, frames, windows)


def _surprise(scorer: SurpriseScorer, calibration: Calibration, fours: Sequence[Quadruplet]) -> NDArray[np.float64]:
    """[Q, 4], each video's mean over its windows and steps."""
    surprises = defaultdict(list)
    alike: dict[tuple[Window, ...], list[WindowedVideo]] = defaultdict(list)
    for four in fours:
        alike[tuple(four[0].windows)] += four
    for videos in alike.values():
        for block in scorer.traces(videos, calibration):
            if block.scorer == ADJUSTED:
                for video_id, values in zip(block.video_ids, block.surprise.mean(1), strict=True):
                    surprises[video_id].append(values)
    return np.array([[np.mean(surprises[video.video_id]) for video in four] for four in fours])


def _read(trial: Trial, plan: WindowPlan, at_most: int, size_px: int) -> Quadruplet:
    found = []
    for video in trial.videos:
        frames = read_video(video, plan.fps, size_px)
        windows = plan.locked(trial.locked_cuts, video.fps, len(frames))
        chosen = windows[:: max(1, len(windows) // at_most)][:at_most]
        found.append(WindowedVideo(video.video_id, frames, chosen))
    return found
