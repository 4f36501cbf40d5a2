"""The thresholds of a curation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from data_prep.curation.cuts import CutConfig, StaticCutConfig
from data_prep.curation.transitions import TransitionConfig
from worldmodel.config import Config


class StillConfig(Config):
    """Which stretches are black (or plain), and which are frozen."""

    plain_std: float = Field(4.0, ge=0)
    """a frame whose grey levels have a smaller standard deviation is black or plain"""
    frozen_change: float = Field(0.1, ge=0)
    """a frame that changes less than this, in grey levels of 255, is frozen"""
    min_s: float = Field(0.5, gt=0)
    """shorter stretches of such frames are not separated"""


class BorderConfig(Config):
    """Which rows and columns at the edges are borders (letterbox, pillarbox)."""

    max_level: float = 24.0
    """a border is darker than this in every frame, in grey levels of 255"""
    min_share: float = Field(0.03, ge=0, lt=0.5)
    """narrower borders count as none, as a share of the height or width"""
    crop: bool = True
    """readers of the manifest see only what lies inside the borders; false: borders are only measured"""


class DuplicateConfig(Config):
    """Which videos are near-duplicates of each other."""

    interval_s: float = Field(1.0, gt=0)
    """a frame is hashed every so many seconds"""
    max_hashes: PositiveInt = 64
    """at most so many frames of a video are hashed, evenly over its length"""
    max_bits: int = Field(6, ge=0, le=16)
    """two hashes of 64 bits match if at most so many bits differ"""
    min_match: float = Field(0.5, gt=0, le=1)
    """near-duplicates: at least this share of the hashes of the shorter video has a match in the other"""


class CurationRecipe(Config):
    """How `data_prep curate` divides videos into stretches, and what it measures."""

    fps: float = Field(12.0, gt=0)
    """frames a second that are examined"""
    size_px: int = Field(64, ge=16)
    """short side of the frames that are examined"""
    min_stretch_s: float = Field(1.0, ge=0)
    """shorter stretches of a shot are excluded"""
    cuts: CutConfig = CutConfig()
    static_cuts: StaticCutConfig = StaticCutConfig()
    transitions: TransitionConfig = TransitionConfig()
    stills: StillConfig = StillConfig()
    borders: BorderConfig = BorderConfig()
    duplicates: DuplicateConfig = DuplicateConfig()


Decision = Literal["used", "transition", "black", "frozen", "short", "duplicate", "unreadable"]
"""Why a stretch is used or excluded."""
