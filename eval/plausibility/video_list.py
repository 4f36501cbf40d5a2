"""Find the clips that a user names: videos, folders of frames, folders of videos, manifests."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from data_prep.inspection import VideoRecord, inspect_item
from data_prep.pool import Failed
from data_prep.sources import Item, SkippedFiles, folder
from worldmodel.manifest import Clip, Manifest, ManifestError, clip_id
from worldmodel.process.arguments import is_utf8
from worldmodel.video.container.source import shown_name


@dataclass(frozen=True)
class UnreadableVideo:
    """A video that cannot be evaluated, and the reason."""

    name: str
    reason: str


@dataclass(frozen=True)
class NamedClip:
    """A clip with the name by which the user knows it."""

    name: str
    clip: Clip


def find_videos(paths: Sequence[str], folder_fps: float) -> Iterator[NamedClip | UnreadableVideo]:
    """Every video of every path, in order; of a manifest, the clips of all splits. Bad paths raise no error.

    folder_fps: frame rate of folders of frames, which do not state one.
    """
    for path in paths:
        if not is_utf8(path):
            yield UnreadableVideo(ascii(path)[1:-1], "its name is not UTF-8, so tables and pages cannot hold it; rename it")
        elif path.endswith(".parquet"):
            yield from _of_manifest(path)
        elif os.path.isdir(path):
            items = list(folder.find(Path(path), SkippedFiles(skip_own_outputs=False)))
            if not items:
                yield UnreadableVideo(path, "the folder contains no videos and no .png or .jpg frames")
            yield from (_of_item(item, folder_fps) for item in items)
        elif not os.path.exists(path):
            yield UnreadableVideo(path, "no such file or folder")
        else:
            yield _of_item(Item(path), folder_fps)


def _of_manifest(path: str) -> Iterator[NamedClip | UnreadableVideo]:
    try:
        manifest = Manifest.open(path)
    except ManifestError as error:
        yield UnreadableVideo(path, str(error).removeprefix(f"{path}: "))
        return
    for row in range(len(manifest)):
        clip = manifest.clip(row)
        start = f" from {clip.start_s:.6g} s" if clip.start_s else ""
        yield NamedClip(shown_name(clip.path, clip.member) + start, clip)


def _of_item(item: Item, folder_fps: float) -> NamedClip | UnreadableVideo:
    found = inspect_item(item, min_seconds=0.0, thorough=False)
    if isinstance(found, Failed):
        return UnreadableVideo(item.name, found.detail)
    if found.reason is not None:
        return UnreadableVideo(item.name, (found.detail or found.reason).removeprefix(f"{item.name}: "))
    if item.member is None and os.path.isdir(item.path):
        found = replace(found, fps=folder_fps, duration_s=found.frames / folder_fps)
    return NamedClip(item.name, _clip(found))


def _clip(found: VideoRecord) -> Clip:
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
