"""Which frames of a video to read, and checks that the video has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from worldmodel.video.errors import VideoError

HINT = "if a manifest states more, run `python -m data_prep index` again"


@dataclass(frozen=True)
class Selection:
    """Frames to read, by time or by number; exactly one of both is given, and at least one frame is requested."""

    times_s: Sequence[float] | None  # seconds since the first frame
    indices: Sequence[int] | None  # frame numbers in the order shown

    def __len__(self) -> int:
        return len(self.times_s if self.times_s is not None else self.indices or ())


def output_slots(keys: Sequence[int]) -> dict[int, list[int]]:
    """Map each frame number or tick to its positions in the output, in the order of first occurrence."""
    slots: dict[int, list[int]] = {}
    for position, key in enumerate(keys):
        slots.setdefault(key, []).append(position)
    return slots


def check_frame_numbers(name: str, numbers: Sequence[int], count: int) -> None:
    """Raise VideoError for frame numbers that a video of `count` frames does not have."""
    if min(numbers) < 0:
        raise VideoError(name, "before the start", f"asked for frame {min(numbers)}; frame numbers start at 0")
    if max(numbers) >= count:
        raise VideoError(name, "past the end", f"asked for frame {max(numbers)}, the video has {count} frames; {HINT}")


def check_time(name: str, time_s: float, end_s: float) -> None:
    """Raise VideoError for a time at which the video, `end_s` long, has ended."""
    if time_s >= end_s:
        raise VideoError(name, "past the end", f"asked for {time_s:.3f} s, the video ends at {end_s:.3f} s; {HINT}")


def frame_count_at(frames: int, file_fps: float, fps: float) -> int:
    """Number of frames of a video at another frame rate: those whose times are not after the start of its last frame.

    A tolerance of a millionth of a frame absorbs rounding.
    """
    return int((frames - 1) / file_fps * fps + 1e-6) + 1
