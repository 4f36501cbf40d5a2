"""What a small model knows of physics, in seconds: linear probes and quadruplets in locked windows.

The videos are read once for many models. Probes read the trained encoder, also where targets come from a teacher. Pairs are
scored as `eval voe` scores them, by adjusted surprise, but in few locked windows and without sliding ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from eval.probes.dataset import open_probe_data
from eval.probes.evaluation import ProbeTask, evaluate_encoded
from eval.probes.latents import ClipLatents, to_numpy
from eval.probes.targets import PROBE_TARGETS
from eval.voe.pairs import quadruplet_scores
from eval.voe.scorers import ScorerId
from eval.voe.suites import open_suite
from eval.voe.surprise.calibration import Calibration, SlopeSums, fit_whitenings
from eval.voe.surprise.forecasting import MODEL_AND_MASKED
from eval.voe.surprise.scoring import SurpriseScorer, WindowedVideo
from eval.voe.surprise.whitening import ErrorKey, ErrorMoments, merge_moments
from eval.voe.surprise.windows import Window, WindowOptions, WindowPlan, plan_windows
from eval.voe.trials import Trial, Video, read_video
from worldmodel.models import TrainedModel

PROBED = ("position", "velocity")
PROPERTIES = ("permanence", "continuity", "colour")
CPU = torch.device("cpu")
CUT_STRIDE = 4  # frames between two contexts of a calibration video
LOCKED_WINDOWS = 2  # of a quadruplet, at most
AT_ONCE = 20  # calibration videos


Quadruplet = list[WindowedVideo]  # its four videos, in the order of eval.voe.pairs.QUADRUPLET


@dataclass(frozen=True)
class Sizes:
    """How much is evaluated."""

    quadruplets: int = 20  # per property
    calibration: int = 60  # possible videos
    folds: int = 4  # of the probes


class PhysicsQuality:
    """Call it with a model: R2 of the probes by name, and the fraction of right pairs by property."""

    def __init__(self, suite: Path, like: TrainedModel, sizes: Sizes) -> None:
        """Read the videos of a suite. All models must have the window of `like`."""
        opened = open_suite(f"builtin:{suite}")
        assert opened.calibration is not None, f"{suite}: this benchmark needs calibration.parquet"
        self._plan = plan_windows(WindowOptions(), like, opened)
        self._data = open_probe_data(opened.calibration, "val", sizes.calibration, like, 2, sizes.folds)
        fps, size_px = self._plan.fps, like.size_px
        clips = [Video(it.clip_id, it.path, it.fps, it.frames, True) for it in self._data.clips]
        self._frames = np.stack([read_video(it, fps, size_px)[: self._data.frames] for it in clips])
        self._calibration = [
            WindowedVideo(it.video_id, frames, _calibration_windows(self._plan, len(frames)))
            for it, frames in zip(clips, self._frames, strict=True)
        ]
        self._trials: dict[str, list[Quadruplet]] = {}
        for name in PROPERTIES:
            chosen = [it for it in opened.trials if it.property == name and it.split == "test" and it.locked_cuts]
            self._trials[name] = [self._read(it, size_px) for it in chosen[: sizes.quadruplets]]

    @torch.no_grad()
    def __call__(self, model: TrainedModel, is_last: bool = True) -> dict[str, float]:
        """is_last: also score the quadruplets, which takes twenty times as long as the probes."""
        model.eval()
        found = self._probes(model) | (self._voe(model) if is_last else {})
        model.train()
        return found

    def _probes(self, model: TrainedModel) -> dict[str, float]:
        steps = self._data.frames // model.tubelet_size
        tokens = torch.cat([model.encoder(model.normalise(torch.from_numpy(part))) for part in np.array_split(self._frames, 4)])
        of_steps = tokens.unflatten(1, (steps, -1)) if tokens.ndim == 3 else tokens  # the masked family has one axis for both
        latents = ClipLatents(to_numpy(of_steps), {}, {})
        found = {}
        for name in PROBED:
            task = ProbeTask.create(self._data.truth, PROBE_TARGETS[name], "linear", CPU)
            found[name] = evaluate_encoded(task, {"model": latents})[0]["model"].value
        return found

    def _voe(self, model: TrainedModel) -> dict[str, float]:
        scorer = SurpriseScorer(model, self._plan, CPU, forecasters=MODEL_AND_MASKED)
        parts = [self._calibration[first : first + AT_ONCE] for first in range(0, len(self._calibration), AT_ONCE)]
        moments: dict[ErrorKey, ErrorMoments] = {}
        for part in parts:
            merge_moments(moments, scorer.error_moments(part))
        calibration = Calibration(fit_whitenings(moments))
        slope = sum((scorer.slope_sums(part, calibration) for part in parts), SlopeSums()).slope
        calibration = replace(calibration, control_slope=slope)
        return {name: self._score(scorer, calibration, trials) for name, trials in self._trials.items()}

    def _score(self, scorer: SurpriseScorer, calibration: Calibration, trials: Sequence[Quadruplet]) -> float:
        wanted, surprises = ScorerId(distance="adjusted"), defaultdict(list)
        alike: dict[tuple[Window, ...], list[WindowedVideo]] = defaultdict(list)
        for four in trials:
            alike[tuple(four[0].windows)] += four
        for videos in alike.values():
            for block in scorer.traces(videos, calibration):
                if block.scorer == wanted:
                    for video_id, values in zip(block.video_ids, block.surprise.mean(1), strict=True):
                        surprises[video_id].append(values)
        table = [[np.mean(surprises[video.video_id]) for video in four] for four in trials]
        return float(quadruplet_scores(np.array(table)).mean())

    def _read(self, trial: Trial, size_px: int) -> Quadruplet:
        found = []
        for video in trial.videos:
            frames = read_video(video, self._plan.fps, size_px)
            windows = self._plan.locked(trial.locked_cuts, video.fps, len(frames))
            chosen = windows[:: max(1, len(windows) // LOCKED_WINDOWS)][:LOCKED_WINDOWS]
            found.append(WindowedVideo(video.video_id, frames, chosen))
        return found


def _calibration_windows(plan: WindowPlan, length: int) -> list[Window]:
    cuts = range(min(plan.contexts), length, CUT_STRIDE)
    return [window for cut in cuts if (window := plan.ending_at(cut, length)) is not None]
