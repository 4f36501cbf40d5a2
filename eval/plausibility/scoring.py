"""Score videos against a reference distribution, and rank them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.cache.cache_folder import cache_folder
from eval.cache.cache_lock import cache_lock
from eval.cache.keys import digest_of
from eval.plausibility.batches import BatchedInference
from eval.plausibility.reference_videos import Reference, video_name
from eval.plausibility.results import VideoResult, video_result
from eval.plausibility.sliding_windows import WindowSurprise
from eval.plausibility.video_list import NamedClip
from worldmodel.manifest import Clip
from worldmodel.storage.urls import is_url
from worldmodel.video.container.source import file_version


@dataclass(frozen=True)
class ScoredVideo:
    """A video, its surprise in each window, and its result. Ranks begin at 1, the most plausible."""

    named: NamedClip
    surprise: WindowSurprise
    result: VideoResult
    rank: int


def score_videos(
    inference: BatchedInference, reference: Reference, named: Sequence[NamedClip]
) -> tuple[list[ScoredVideo], dict[str, str]]:
    """(scored videos, the most plausible first; the others with the reason)."""
    folder = cache_folder() / "videos" / _key(reference, named)
    with cache_lock(folder, "videos", inference.ranks):
        found = _score_in(folder, inference, reference, named)
        inference.ranks.wait_for_everyone()
        if inference.ranks.is_main_process:
            shutil.rmtree(folder, ignore_errors=True)
    return found


def _score_in(
    folder: Path, inference: BatchedInference, reference: Reference, named: Sequence[NamedClip]
) -> tuple[list[ScoredVideo], dict[str, str]]:
    """As `score_videos`. Files in `folder` are used again if an interrupted command left them."""
    clips = [it.clip for it in named]
    results = inference.surprise("videos", clips, reference.distances, folder, by_token=True)
    distribution, failed = reference.distribution, {}
    calibration_names = {video.name for video in distribution.videos}
    found: list[tuple[NamedClip, WindowSurprise, VideoResult]] = []
    for it, surprise in zip(named, results, strict=True):
        if isinstance(surprise, str):
            failed[it.name] = surprise
            continue
        own = {video_name(it.clip)} & calibration_names
        try:
            rank = distribution.rank(surprise, own)
        except ValueError as error:
            failed[it.name] = str(error)
            continue
        found.append((it, surprise, video_result(it, surprise, rank, distribution, bool(own))))
    found.sort(key=lambda one: _order(one[2]))
    return [ScoredVideo(*one, rank=rank) for rank, one in enumerate(found, 1)], failed


def _order(result: VideoResult) -> tuple[float, ...]:
    """The most plausible first; of equally plausible videos by copy-adjusted plausibility, then by surprise."""
    keys = (
        result["plausibility"],
        result["copy_adjusted_plausibility"],
        result["scorers"][result["scorer"]]["surprise"],
    )
    plausibility, adjusted, surprise = (float("nan") if key is None else key for key in keys)
    return -plausibility, -adjusted, surprise


def _key(reference: Reference, named: Sequence[NamedClip]) -> str:
    """16 hex digits of the video files, and of the reference, which unreadable calibration videos change."""
    videos = [
        [it.name, it.clip.clip_id, it.clip.start_s, it.clip.fps, _version(it.clip)] + ([it.clip.crop] if it.clip.crop else [])
        for it in named
    ]
    return digest_of([reference.key, sorted(reference.unreadable), videos])


def _version(clip: Clip) -> int:
    """A number that differs where the file, or the object, of a clip was replaced."""
    return file_version(clip.path, clip.member)[0] if is_url(clip.path) else os.stat(clip.path).st_mtime_ns
