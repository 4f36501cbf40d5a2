"""What a small model knows of physics, in seconds: linear probes and quadruplets in locked windows.

The videos are read once for many models. Probes read the trained encoder, also where targets come from a teacher. Pairs are
scored as `eval voe` scores them, by adjusted surprise, but in few locked windows and without sliding ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.locked_pairs import LockedPairs, in_calibration_windows, read_quadruplets
from eval.probes.dataset import open_probe_data
from eval.probes.evaluation import ProbeTask, evaluate_encoded
from eval.probes.latents import ClipLatents, to_numpy
from eval.probes.targets import PROBE_TARGETS
from eval.voe.pairs import quadruplet_scores
from eval.voe.suites import open_suite
from eval.voe.surprise.windows import WindowOptions, plan_windows
from eval.voe.trials import Video, read_video
from worldmodel.models import TrainedModel

PROBED = ("position", "velocity")
PROPERTIES = ("permanence", "continuity", "colour")
CPU = torch.device("cpu")
LOCKED_WINDOWS = 2  # of a quadruplet, at most


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
        plan = plan_windows(WindowOptions(), like, opened)
        self._data = open_probe_data(opened.calibration, "val", sizes.calibration, like, 2, sizes.folds)
        clips = [Video(it.clip_id, it.path, it.fps, it.frames, True) for it in self._data.clips]
        self._frames = np.stack([read_video(it, plan.fps, like.size_px)[: self._data.frames] for it in clips])
        calibration = [in_calibration_windows(it, frames, plan) for it, frames in zip(clips, self._frames, strict=True)]
        trials = read_quadruplets(opened, plan, PROPERTIES, sizes.quadruplets, LOCKED_WINDOWS, like.size_px)
        self._pairs = LockedPairs(plan, calibration, trials)

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
        return {name: float(quadruplet_scores(surprise).mean()) for name, surprise in self._pairs(model).items()}
