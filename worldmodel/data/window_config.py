"""What a model sees of a clip at once."""

from __future__ import annotations

from pydantic import Field, PositiveInt

from worldmodel.config import Config


class WindowConfig(Config):
    """The shape of a window: data cuts it, the model is built for it."""

    frames: PositiveInt = 24  # that a window holds; 24 at 12 fps are 2 s
    fps: float = Field(12.0, gt=0)  # frames a second of video are sampled at, whatever the file's own rate
    stride_frames: PositiveInt | None = None  # instead: every n-th frame of the file; `fps` then only names the horizons
    size_px: PositiveInt = 64  # side of the square the model sees

    @property
    def duration_s(self) -> float:
        return self.frames / self.fps
