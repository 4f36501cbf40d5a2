"""The configuration of a spliced suite: everything that determines its videos."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, PositiveInt

from data_prep.curation.cuts import CutConfig, StaticCutConfig
from worldmodel.config import Config

VERSION = "2"
"""Version of the splices. Part of the configuration of a suite: another version makes other videos."""
MIN_HIDDEN_FRAMES, MIN_HIDDEN_S = 4, 0.4  # of the blank in occluded quadruplets; the longer of the two holds


class SplicingConfig(Config):
    """A suite of quadruplets that are spliced from the stretches of real videos."""

    kind: Literal["suite"] = "suite"  # training refuses manifests of this kind
    world: Literal["spliced"] = "spliced"
    splicing: str = VERSION
    source: str
    """digest of the held-out clips that the stretches are taken from"""
    seed: int = 0
    size_px: PositiveInt = 64
    frames: int = Field(16, ge=12)
    fps: float = Field(10.0, gt=0)
    test: int
    """quadruplets per property and visibility for the test"""
    validation: int
    """quadruplets per property and visibility to choose a context length"""
    calibration: int
    """possible videos for calibration"""
    properties: tuple[str, ...]
    hidden_frames: int = Field(4, ge=3)
    """frames that are blank in occluded quadruplets"""
    min_visible_share: float = 0.01
    """least share of pixels that differ between the two outcomes, and between the two contexts, mean over their frames"""
    min_distance_s: float = 0.5
    """least time between two stretches of one shot, for other_stretch"""
    max_distance_s: float = 8.0
    """most time between two stretches of one shot, for other_stretch"""
    cuts: CutConfig = CutConfig()
    static_cuts: StaticCutConfig = StaticCutConfig()

    @property
    def duration_s(self) -> float:
        return self.frames / self.fps


def hidden_frames_at(fps: float) -> int:
    """Blank frames of an occluded quadruplet: enough that models of 10 fps have locked windows at every rate."""
    return max(MIN_HIDDEN_FRAMES, math.ceil(MIN_HIDDEN_S * fps - 1e-6))
