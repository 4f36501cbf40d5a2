"""Ground truth of several clips, aligned with their latent steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eval.probes.ground_truth import ClipTruth
from eval.probes.targets import Property

Values = NDArray[np.floating]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class AlignedTruth:
    """F clips of S latent steps each, and their ground truth at the last frame of each step."""

    clips: Sequence[ClipTruth]
    frames: Sequence[Indices]  # by clip: the file's frame at the end of each latent step [S]
    step_s: float
    folds: int  # of cross-validation

    @property
    def steps(self) -> int:
        return len(self.frames[0])

    def values(self, prop: Property) -> Values:
        """[F, S, C], NaN where a clip does not have the property."""
        found = [prop.compute(truth)[frames] for truth, frames in zip(self.clips, self.frames, strict=True)]
        width = max(values.shape[1] for values in found)
        return np.stack([np.broadcast_to(values, (self.steps, width)) for values in found])

    def body_track(self) -> tuple[Values, NDArray[np.bool_]]:
        """Centre of the body [F, S, 2] (NaN: the clip has no body), and whether it is visible
        [F, S]."""
        centre, visible = np.full((len(self.clips), self.steps, 2), np.nan), np.zeros((len(self.clips), self.steps), bool)
        for clip, (truth, frames) in enumerate(zip(self.clips, self.frames, strict=True)):
            if truth.body is not None:
                centre[clip], visible[clip] = truth.centre_px[frames, truth.body], truth.visible[frames, truth.body]
        return centre, visible
