"""One item -> one record: what the video is, or why it cannot be used. This runs in the worker processes."""

from __future__ import annotations

import dataclasses
import math
import os
from dataclasses import dataclass

from data_prep.content_hash import content_hash
from data_prep.sources.item import Item
from worldmodel.video import VideoError, probe
from worldmodel.video.container.timing import Timing
from worldmodel.video.frame_folder.frames import frames_of


@dataclass(frozen=True)
class Record:
    """A line of the indexer's journal: an item with what was found out; `reason` is None for a usable video."""

    path: str
    member: str | None
    label: str | None
    reason: str | None = None
    detail: str | None = None
    duration_s: float = 0.0
    fps: float = 0.0
    frames: int = 0
    width: int = 0
    height: int = 0
    rotation: int = 0
    codec: str = ""
    timing: Timing = "packets"
    content_hash: str = ""
    left_out: str = ""  # pictures of a folder that are no frames of the video


def rejected(item: Item, reason: str, detail: str | None) -> Record:
    return Record(item.path, item.member, item.label, reason, detail)


def examine(item: Item, min_seconds: float, thorough: bool) -> Record:
    """Look into one video. Unusable ones come back with their reason; nothing is raised for them."""
    if item.problem is not None:
        return rejected(item, item.problem, item.detail)
    try:
        info = probe(item.path, item.member, thorough=thorough)
        digest = content_hash(item.path, item.member)
        left_out = frames_of(item.path).left_out if item.member is None and os.path.isdir(item.path) else ""
    except VideoError as error:
        return rejected(item, error.reason, error.detail)
    except OSError as error:
        return rejected(item, "unreadable file", str(error))
    if not 0 < info.duration_s < math.inf:
        return rejected(item, "no times", f"its {info.frames} frames last {info.duration_s:g} s together")
    if info.frames < 2 or info.duration_s < min_seconds:
        detail = f"{info.frames} frames, {info.duration_s:.2f} s; wanted 2 frames and {min_seconds:g} s at least"
        return rejected(item, "too short", detail)
    facts = dataclasses.asdict(info)
    del facts["start_s"]  # frames are read relative to it
    return Record(item.path, item.member, item.label, content_hash=digest, left_out=left_out, **facts)
