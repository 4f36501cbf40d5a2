"""Clip: one row of a manifest, and the columns of the table."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pyarrow as pa

from worldmodel.video.container.timing import Timing

FORMAT_VERSION = 1  # CONTRIBUTING.md says when to raise it
ADDED_LATER = {"timing"}  # columns that manifests of earlier versions do not have; read as null
SPLITS = ("train", "val", "test", "ood")


class ManifestError(ValueError):
    """A manifest that is missing, is none, is damaged or breaks the contract; the message says what to do."""


@dataclass(frozen=True)
class Clip:
    """A row of the manifest; the fields are its columns."""

    clip_id: str  # function of content and range
    path: str
    member: str | None  # name inside the tar `path`
    start_s: float  # half-open range, seconds since the first frame
    stop_s: float
    fps: float  # average
    frames: int  # in this range
    width: int  # px, as shown: turned, and with square pixels
    height: int
    rotation: int  # degrees clockwise from stored to shown (after mirroring left to right, where the file asks for that)
    codec: str
    split: str  # train | val | test | ood
    label: str | None
    truth: str | None  # path of an npz
    source: str  # which data set it came from
    content_hash: str
    timing: Timing | None = None  # packets | order | frames: how frames are found (video/timing.py); null = not examined yet


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
    ]
)


def clip_id(content_hash: str, start_s: float, stop_s: float) -> str:
    """The same stretch of the same content has the same name wherever it lies: 16 hex digits."""
    return hashlib.sha256(f"{content_hash} {start_s:.6f} {stop_s:.6f}".encode()).hexdigest()[:16]
