"""The format of the videos of a world: size, length and frame rate."""

from __future__ import annotations

from dataclasses import dataclass

MAX_SLOWDOWN = 3.0


@dataclass(frozen=True)
class VideoFormat:
    """Size, length and frame rate of a video."""

    size_px: int = 64
    frames: int = 24
    fps: float = 12.0

    @property
    def duration_s(self) -> float:
        return self.frames / self.fps

    @property
    def slowdown(self) -> float:
        """How much slower bodies move than in a video of 2 s: 1 there, 2 in a video of 4 s."""
        return min(max(self.duration_s / 2.0, 0.6), MAX_SLOWDOWN)

    @property
    def key(self) -> str:
        """The format in the hashed names of files.

        The text must stay as it is: another one renames every file.
        """
        return f"Format(size_px={self.size_px!r}, frames={self.frames!r}, fps={self.fps!r})"
