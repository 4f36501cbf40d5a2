"""The work of one evaluation, and the files of its finished pieces."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState

from eval.cache.keys import digest_of, source_digest
from eval.cache.sealed import LEFT_OUT, UNREAD, discard
from eval.result_folder import read_result
from eval.resumable_work import discard_damaged
from eval.subject import Subject
from eval.voe.suites import Suite
from eval.voe.surprise.forecasting import Scope
from eval.voe.surprise.stored_calibration import CalibrationFolder
from eval.voe.surprise.video_batches import VideoBatch, VideoReader, WindowsOfLength, in_pieces
from eval.voe.surprise.windows import WindowPlan
from eval.voe.trials import Trial, Video
from worldmodel.video.geometry import Geometry


@dataclass(frozen=True)
class VoeTask:
    """A model, the videos that it is evaluated on, and how they are cut into windows."""

    subject: Subject
    suite: Suite
    plan: WindowPlan
    scope: Scope
    size_px: int
    device: torch.device
    ranks: PartialState
    geometry: Geometry = "center_crop"  # how frames become square
    stored: CalibrationFolder | None = None  # of a run that is calibrated on its own val split

    @property
    def pieces(self) -> list[Sequence[Trial]]:
        return in_pieces(self.suite.trials)

    @property
    def reader(self) -> VideoReader:
        return VideoReader(self.plan, self.size_px, self.geometry)

    @property
    def has_maps(self) -> bool:
        """Whether surprise can be drawn over a picture: the tokens of a step form a square grid."""
        tokens = 1 if self.subject.model is None else self.subject.model.latent_shape[0]
        return tokens > 1 and math.isqrt(tokens) ** 2 == tokens

    @property
    def has_locked(self) -> bool:
        return any(trial.locked_cuts for trial in self.suite.trials)

    @property
    def only_stored_calibrations(self) -> bool:
        """Whether only a stored calibration can be used, as the calibration videos are missing."""
        return self.stored is not None and self.stored.instead

    def key(self, calibration_videos: Sequence[Video]) -> str:
        """Digest of everything that determines the traces."""
        conditions = self.conditions(calibration_videos)
        return digest_of({"subject": self.subject.hash, "spec": self.subject.spec, **conditions})

    def conditions(self, calibration_videos: Sequence[Video]) -> dict[str, Any]:
        """Everything that determines the traces besides the model."""
        return {
            "plan": asdict(self.plan),
            "scope": self.scope,
            "precision": self.subject.precision,
            "size_px": self.size_px,
            "geometry": self.geometry,
            "suite": [asdict(trial) for trial in self.suite.trials],
            "calibration": [video.as_key() for video in calibration_videos],
            "torch": torch.__version__,
            "code": source_digest(),
        }

    def videos_of(self, trials: Sequence[Trial]) -> list[tuple[Video, WindowsOfLength]]:
        return [(video, partial(self.plan.for_trial, trial, video.fps)) for trial in trials for video in trial.videos]

    def read(self, trials: Sequence[Trial]) -> VideoBatch:
        """Read the videos of some trials."""
        return self.reader.read(self.videos_of(trials))

    def discard_outdated(self, folder: Path, files: Sequence[Path], calibration_videos: Sequence[Video]) -> None:
        """Remove results that are damaged, or lack a video that can be read now.

        All results depend on the calibration videos. Each piece depends on its own videos, too. Only
        one process may call this.
        """
        calibrations = [*folder.glob("calibration_*.npz"), *folder.glob("slope_*.json")]
        discard_damaged([*files, *calibrations])
        left_out = [video_id for path in folder.glob(f"calibration_*{LEFT_OUT}") for video_id in read_result(path)]
        by_id = {video.video_id: video for video in calibration_videos}
        missing = [(by_id[name], self.plan.for_calibration) for name in left_out if name in by_id]
        if self.reader.any_is_readable(missing):
            for path in (*files, *calibrations, *folder.glob("maps_*.json")):
                discard(path)
        for file, trials in zip(files, self.pieces, strict=True):
            if (note := file.with_suffix(UNREAD)).exists():
                unread = read_result(note)
                if self.reader.any_is_readable(it for it in self.videos_of(trials) if it[0].video_id in unread):
                    discard(file)
