"""The configuration of a window: the consecutive frames that a model sees at once."""

from __future__ import annotations

from pydantic import Field, PositiveInt

from worldmodel.config import Config


class WindowConfig(Config):
    """The shape of a window. The data loader cuts windows of this shape, and the model is built for it."""

    frames: PositiveInt = 24
    """frames per window; 24 frames at 12 fps are 2 s"""
    fps: float = Field(12.0, gt=0)
    """frames per second at which videos are sampled, whatever the file's own rate is"""
    stride_frames: PositiveInt | None = None
    """take every N-th frame of the file instead; `fps` then only converts horizons to seconds"""
    size_px: PositiveInt = 64
    """side of the square frames that the model sees; their height where `width_px` is set"""
    width_px: PositiveInt | None = None
    """width of frames that are not square (kind masked only); null = square"""

    @property
    def frame_px(self) -> tuple[int, int]:
        """Height and width of the frames."""
        return self.size_px, self.width_px or self.size_px

    @property
    def duration_s(self) -> float:
        return self.frames / self.fps
