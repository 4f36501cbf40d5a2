"""What a user names -> clips: videos, folders of frames, folders of videos, manifests."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from data_prep.inspection import Record, examine
from data_prep.sources import Item, Survey, folder
from worldmodel.manifest import Clip, Manifest, ManifestError, clip_id
from worldmodel.process.arguments import is_utf8
from worldmodel.video.container.source import shown_name


@dataclass(frozen=True)
class Unread:
    """A film that cannot be scored, and why."""

    name: str
    why: str


@dataclass(frozen=True)
class Named:
    """A clip as the user knows it."""

    name: str
    clip: Clip


def find_films(paths: Sequence[str], folder_fps: float) -> Iterator[Named | Unread]:
    """Every film of every path, in order; a manifest's clips in all its splits. Nothing is raised for a bad one.

    folder_fps: the rate of folders of frames, which have none.
    """
    for path in paths:
        if not is_utf8(path):
            yield Unread(ascii(path)[1:-1], "its name is not UTF-8, so no table and no page can hold it; rename it")
        elif path.endswith(".parquet"):
            yield from _of_manifest(path)
        elif os.path.isdir(path):
            items = list(folder.find(Path(path), Survey(leave_out_made=False)))
            if not items:
                yield Unread(path, "a folder without videos and without .png or .jpg frames")
            yield from (_of_item(item, folder_fps) for item in items)
        elif not os.path.exists(path):
            yield Unread(path, "no such file or folder")
        else:
            yield _of_item(Item(path), folder_fps)


def _of_manifest(path: str) -> Iterator[Named | Unread]:
    try:
        manifest = Manifest.open(path)
    except ManifestError as error:
        yield Unread(path, str(error).removeprefix(f"{path}: "))
        return
    for row in range(len(manifest)):
        clip = manifest.clip(row)
        cut = f" from {clip.start_s:.6g} s" if clip.start_s else ""
        yield Named(shown_name(clip.path, clip.member) + cut, clip)


def _of_item(item: Item, folder_fps: float) -> Named | Unread:
    found = examine(item, min_seconds=0.0, thorough=False)
    if found.reason is not None:
        return Unread(item.name, (found.detail or found.reason).removeprefix(f"{item.name}: "))
    if item.member is None and os.path.isdir(item.path):
        found = replace(found, fps=folder_fps, duration_s=found.frames / folder_fps)
    return Named(item.name, _clip(found))


def _clip(found: Record) -> Clip:
    return Clip(
        clip_id=clip_id(found.content_hash, 0.0, found.duration_s),
        path=os.path.abspath(found.path),
        member=found.member,
        start_s=0.0,
        stop_s=found.duration_s,
        fps=found.fps,
        frames=found.frames,
        width=found.width,
        height=found.height,
        rotation=found.rotation,
        codec=found.codec,
        split="test",
        label=None,
        truth=None,
        source="",
        content_hash=found.content_hash,
    )
