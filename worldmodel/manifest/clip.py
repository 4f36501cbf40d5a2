"""Clip, one row of a manifest, and the columns of the table."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pyarrow as pa

from worldmodel.video.container.timing import Timing
from worldmodel.video.crop_rectangle import CropRectangle
from worldmodel.video.selection import frame_count_at

FORMAT_VERSION = 1  # see CONTRIBUTING.md on when to increase it
OPTIONAL_COLUMNS = {"timing", "signals", "crop", "first_frame"}  # earlier manifests do not have them; read as null
SPLITS = ("train", "val", "test", "ood", "excluded")  # nothing reads excluded clips: `data_prep curate` sets them aside


class ManifestError(ValueError):
    """A manifest is missing, damaged, not a manifest, or has invalid values. The message says what to do."""


@dataclass(frozen=True)
class Clip:
    """A row of a manifest. The fields are the columns."""

    clip_id: str  # function of content and interval
    path: str
    member: str | None  # name inside the tar `path`
    start_s: float  # half-open interval, seconds since the first frame
    stop_s: float
    fps: float  # average
    frames: int  # number of frames in this interval
    width: int  # px, as displayed: rotated, and with square pixels
    height: int
    rotation: int  # degrees clockwise from stored to displayed (after horizontal mirroring, where the file requests it)
    codec: str
    split: str  # train | val | test | ood | excluded
    label: str | None
    truth: str | None  # path of an npz file with ground truth, or member TAR::NAME (storage/members.py)
    source: str  # name of the data set
    content_hash: str
    # packets | order | frames: how frames are found (video/container/timing.py); null = not inspected yet
    timing: Timing | None = None
    signals: str | None = None  # path of a table of actions and states over time (worldmodel/signals), or TAR::NAME
    crop: str | None = None  # what is read of each frame (video/crop_rectangle.py); null = all of it
    first_frame: int | None = None  # number in the file of the first frame of this interval; null = by `start_s` and `fps`

    def frames_at(self, fps: float) -> int:
        """Number of frames at a rate, from the start of the clip on, of which each is shown within the clip.

        At a variable rate, `frames` alone does not say how long the clip lasts.
        """
        in_time = int((self.stop_s - self.start_s - 0.5 / self.fps) * fps + 1e-6) + 1
        return max(1, min(frame_count_at(self.frames, self.fps, fps), in_time))

    @property
    def rectangle(self) -> CropRectangle | None:
        """What is read of each frame; None for all of it."""
        return None if self.crop is None else CropRectangle.parse(self.crop)


SCHEMA = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("member", pa.string()),
        pa.field("start_s", pa.float64(), nullable=False),
        pa.field("stop_s", pa.float64(), nullable=False),
        pa.field("fps", pa.float64(), nullable=False),
        pa.field("frames", pa.int64(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("rotation", pa.int32(), nullable=False),
        pa.field("codec", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("label", pa.string()),
        pa.field("truth", pa.string()),
        pa.field("source", pa.string(), nullable=False),
        pa.field("content_hash", pa.string(), nullable=False),
        pa.field("timing", pa.string()),
        pa.field("signals", pa.string()),
        pa.field("crop", pa.string()),
        pa.field("first_frame", pa.int64()),
    ]
)


def clip_id(content_hash: str, start_s: float, stop_s: float) -> str:
    """An id that depends on content and interval, not on the path: 16 hex digits."""
    return hashlib.sha256(f"{content_hash} {start_s:.6f} {stop_s:.6f}".encode()).hexdigest()[:16]
