"""The held-out clips of a folder of videos or of a manifest, and how a suite divides them."""

from __future__ import annotations

import hashlib
import math
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from data_prep.content_hash import DIGEST
from data_prep.errors import PrepError
from data_prep.inspection import VideoRecord, inspect_item
from data_prep.parallel.workers import Workers
from data_prep.pool import Failed
from data_prep.progress import bar
from data_prep.sources import SkippedFiles, find_items
from data_prep.sources.object_folder import own_output_at
from data_prep.splits import FEW_FILES, clips_of, split_in_time, split_of, whole_file
from worldmodel.files.output_mark import writer_of
from worldmodel.manifest import Clip, Manifest
from worldmodel.process.terminal import print_escaped
from worldmodel.storage.transfer import folder_url

HELD_OUT_SPLITS = ("val", "test")
VAL, TEST = 0.1, 0.1  # fractions of files, as `data_prep index` has them by default
MAX_CLIPS = 10_000  # of more clips, a random sample is used
TIMEOUT_S = 60.0
CALIBRATION_SHARE = 1 / 3  # of each clip in time, or of the videos
LONG_CLIP = 5.0  # a clip of this many videos' length is divided in time
MIN_VIDEOS = 6  # fewer videos than these are not divided by video


@dataclass(frozen=True)
class Pools:
    """Disjoint clips: for the test, and for calibration and the choice of a context length."""

    test: tuple[Clip, ...]
    calibration: tuple[Clip, ...]


def held_out_clips(videos: Path | str, workers: Workers) -> list[Clip]:
    """The clips of splits val and test of a manifest, or of a folder as `data_prep index` splits it; a text is a URL.

    Raises PrepError where there are none.
    """
    is_manifest = videos.endswith(".parquet") if isinstance(videos, str) else videos.is_file()
    clips = _of_manifest(videos) if is_manifest else _of_folder(videos, workers)
    if not clips:
        raise PrepError(f"{videos}: no held-out clips; give a manifest with clips of split val or test, or a folder of videos")
    return clips


def _of_manifest(path: Path | str) -> list[Clip]:
    manifest = Manifest.open(path)
    if manifest.metadata.get("config", {}).get("kind") == "suite":
        raise PrepError(
            f"{path}: these videos are a benchmark; give a folder of real videos, or a manifest of `data_prep index`"
        )
    rows = np.concatenate([manifest.rows(split) for split in HELD_OUT_SPLITS])
    if len(rows) > MAX_CLIPS:
        rows = np.random.Generator(np.random.Philox(0)).choice(rows, MAX_CLIPS, replace=False)
    return [manifest.clip(int(row)) for row in np.sort(rows)]


def _of_folder(root: Path | str, workers: Workers) -> list[Clip]:
    _check_not_own_output(root)
    items = list(find_items("folder", folder_url(root) if isinstance(root, str) else root.absolute(), SkippedFiles()))
    if not items:
        raise PrepError(f"{root}: no videos in this folder or below it")
    work = partial(inspect_item, min_seconds=1.0, thorough=False)
    records: list[VideoRecord] = []
    refused: Counter[str] = Counter()  # by reason
    with bar("inspect", len(items)) as progress:
        for _, result in workers.run_each(work, items, TIMEOUT_S, len(items)):
            if isinstance(result, Failed) and result.reason == "storage":
                raise PrepError(f"{result.detail}; give the same command again")
            if isinstance(result, VideoRecord) and result.reason is None:
                records.append(result)
            else:
                refused[result.reason or ""] += 1
            progress.step(ok=result.reason is None)
    if not records:
        reason, count = refused.most_common(1)[0]
        raise PrepError(
            f"{root}: none of its {len(items)} videos can be used; the most common reason is {reason!r} ({count}). "
            f"`python -m data_prep index {shlex.quote(str(root))} --out M.parquet` writes a list with the reason of each"
        )
    by_content = {record.content_hash: record for record in records}.values()  # a copy of a file adds nothing
    few = len(by_content) < FEW_FILES
    clips = []
    for record in by_content:
        split = split_of(record.content_hash, VAL, TEST)
        parts = split_in_time(record) if few else whole_file(record, split)
        clips += [clip for clip in clips_of(record, parts, Path(root).stem) if clip.split in HELD_OUT_SPLITS]
    how = "in time" if few else "by content"
    print_escaped(
        f"{root}: split {how} as `data_prep index` splits it by default, {len(clips)} held-out clips of {len(by_content)} "
        "videos; give the manifest if a model was trained with another one"
    )
    return clips[:MAX_CLIPS]


def _check_not_own_output(root: Path | str) -> None:
    """Raise PrepError for a folder that a command of this project filled, and for one below it.

    Its manifest has the split. The content of the copies in it would give another one, whose held-out
    videos a model may have been trained on.
    """
    found = own_output_at(folder_url(root)) if isinstance(root, str) else _own_output_on_disk(root.absolute())
    if found is None:
        return
    folder, command = found
    manifests = " or ".join(str(path) for path in sorted(folder.glob("*.parquet"))) if isinstance(folder, Path) else ""
    advice = f"give its manifest: {manifests}" if manifests else "give the manifest, or a folder of your own videos"
    raise PrepError(f"{folder}: filled by `{command}`, so its files do not tell which videos are held out; {advice}")


def _own_output_on_disk(root: Path) -> tuple[Path, str] | None:
    return next(((folder, command) for folder in (root, *root.parents) if (command := writer_of(folder))), None)


def divide(clips: Sequence[Clip], duration_s: float) -> Pools:
    """Divide clips into disjoint pools.

    Of FEW_FILES or more videos, a third by content hash is for calibration, with all their clips. Of
    fewer videos, the first third of each clip that is long enough is. If no clip is long enough, a third
    of the videos is, where there are at least MIN_VIDEOS. duration_s: of the videos of the suite.
    """
    digests = {_digest_of(clip) for clip in clips}
    if len(digests) >= FEW_FILES:
        return _by_video(clips, {it for it in digests if int(it[-8:], 16) < CALIBRATION_SHARE * 2**32})
    if len(digests) >= MIN_VIDEOS and all(clip.stop_s - clip.start_s < LONG_CLIP * duration_s for clip in clips):
        return _by_video(clips, set(sorted(digests)[: round(CALIBRATION_SHARE * len(digests))]))
    test, calibration = [], []
    for clip in clips:
        length_s = clip.stop_s - clip.start_s
        if length_s < LONG_CLIP * duration_s:
            test.append(clip)
            continue
        middle_s = math.ceil((clip.start_s + CALIBRATION_SHARE * length_s) * clip.fps - 1e-3) / clip.fps  # where a frame begins
        calibration.append(replace(clip, stop_s=middle_s))
        test.append(replace(clip, start_s=middle_s, first_frame=None))
    return Pools(tuple(test), tuple(calibration))


def _by_video(clips: Sequence[Clip], calibration: set[str]) -> Pools:
    """All clips of the videos with these digests are for calibration."""
    return Pools(
        tuple(clip for clip in clips if _digest_of(clip) not in calibration),
        tuple(clip for clip in clips if _digest_of(clip) in calibration),
    )


def _digest_of(clip: Clip) -> str:
    """The content hash of the video, as hex digits also where another program wrote another text."""
    found = clip.content_hash
    return found if DIGEST.fullmatch(found) else hashlib.sha256(found.encode()).hexdigest()


def digest(clips: Sequence[Clip]) -> str:
    """16 hex digits that depend on the clips, their crops and their order, not on their paths."""
    words = (clip.clip_id if clip.crop is None else f"{clip.clip_id} {clip.crop}" for clip in clips)
    return hashlib.sha256(" ".join(words).encode()).hexdigest()[:16]
