"""The table of a curation: a row per stretch, with what was measured and decided."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from data_prep.curation.analysis import VideoAnalysis, VideoClips
from data_prep.curation.borders import Borders
from data_prep.curation.recipe import CurationRecipe, Decision
from data_prep.curation.spans import Span
from data_prep.curation.stretches import Stretch
from worldmodel.manifest import Clip, clip_id
from worldmodel.video.crop_rectangle import CropRectangle

EXCLUDED = "excluded"
COLUMNS = pa.schema(
    [
        ("decision", pa.string()),
        ("shot", pa.int32()),  # number of the shot in its video
        ("motion", pa.float32()),
        ("brightness", pa.float32()),
        *((name, pa.float32()) for name in ("border_top", "border_bottom", "border_left", "border_right")),
        ("duplicate_group", pa.string()),  # content hash of the first video of the group; null without near-duplicates
        ("split_before", pa.string()),  # the split in the manifest that was curated
    ]
)
"""Columns that a curation adds to those of a manifest."""


@dataclass(frozen=True)
class CuratedClip:
    """A row of the table."""

    clip: Clip
    decision: Decision
    shot: int
    motion: float | None  # null for a video that cannot be read
    brightness: float | None
    borders: Borders
    duplicate_group: str | None
    split_before: str


def curated_clips(
    videos: Sequence[VideoClips], analyses: Sequence[VideoAnalysis], groups: Sequence[int], recipe: CurationRecipe
) -> Iterator[CuratedClip]:
    """The rows of all videos, in order.

    groups: see `near_duplicates.group_duplicates`. Near-duplicates get the split of the first video
    of their group, of its first clip that is not excluded. Where videos are divided in time, the
    near-duplicates of the first are excluded.
    """
    sizes, sources = [0] * len(videos), list(range(len(videos)))
    for group in groups:
        sizes[group] += 1
    for number in reversed(range(len(videos))):  # the first of each group that has a clip to take a split from
        if any(clip.split != EXCLUDED for clip in videos[number].clips):
            sources[groups[number]] = number
    for video, analysis, group in zip(videos, analyses, groups, strict=True):
        first = videos[sources[group]]
        is_copy = (first.path, first.member) != (video.path, video.member)
        divided = len({clip.split for clip in (*first.clips, *video.clips)} - {EXCLUDED}) > 1 and (
            len(first.clips) > 1 or len(video.clips) > 1
        )
        for row in _rows(video, analysis, recipe):
            group_hash = first.clips[0].content_hash if sizes[group] > 1 else None
            of_first = next((clip.split for clip in first.clips if clip.split != EXCLUDED), row.clip.split)
            split = of_first if is_copy and row.clip.split != EXCLUDED else row.clip.split
            if row.decision == "used" and is_copy and divided:
                row = replace(row, decision="duplicate")
            clip = replace(row.clip, split=split if row.decision == "used" else EXCLUDED)
            yield replace(row, clip=clip, duplicate_group=group_hash)


def _rows(video: VideoClips, analysis: VideoAnalysis, recipe: CurationRecipe) -> Iterator[CuratedClip]:
    if analysis.problem:
        for clip in video.clips:
            yield CuratedClip(clip, "unreadable", 0, None, None, (0.0, 0.0, 0.0, 0.0), None, clip.split)
        return
    stretches = [Stretch(**fields) for fields in analysis.stretches]
    spans = [Span(**fields) for fields in analysis.spans]
    crop = _crop(analysis.borders) if recipe.borders.crop else None
    for clip, (first, end) in zip(video.clips, analysis.clip_frames, strict=True):
        cuts = [_within(clip, first, end, span) for span in spans]
        if not any(cuts):  # it lies between two stretches
            yield CuratedClip(clip, "short", 0, None, None, (0.0, 0.0, 0.0, 0.0), None, clip.split)
        for stretch, cut in zip(stretches, cuts, strict=True):
            if cut is None:
                continue
            decision = stretch.decision
            if decision == "used" and cut != clip and cut.stop_s - cut.start_s < recipe.min_stretch_s:
                decision = "short"
            top, bottom, left, right = analysis.borders
            borders = (top, bottom, left, right)
            cut = replace(cut, crop=crop or cut.crop)
            yield CuratedClip(cut, decision, stretch.shot, stretch.motion, stretch.brightness, borders, None, clip.split)


def _crop(borders: Borders) -> str | None:
    """What lies inside borders, as a manifest stores it; None without borders."""
    top, bottom, left, right = borders
    return CropRectangle(left, top, 1 - right, 1 - bottom).text() if any(borders) else None


def _within(clip: Clip, first: int, end: int, span: Span) -> Clip | None:
    """The part of a clip in a stretch; None where there is none. A clip that is one stretch keeps its interval and name.

    first, end: its first frame, and the one after its last. Frames of the file between two stretches
    that were not examined are in neither.
    """
    begin, stop = max(span.begin_s, clip.start_s), min(span.stop_s, clip.stop_s)
    first, end = max(first, span.first_frame), min(end, span.first_frame + span.frames)
    if stop <= begin or end <= first:
        return None
    whole = (begin, stop) == (clip.start_s, clip.stop_s)
    name = clip.clip_id if whole else clip_id(clip.content_hash, begin, stop)
    return replace(clip, clip_id=name, start_s=begin, stop_s=stop, frames=end - first, first_frame=first)


def added_columns(rows: Sequence[CuratedClip]) -> pa.Table:
    """The columns of COLUMNS for these rows."""
    sides = list(zip(*(row.borders for row in rows), strict=True)) if rows else [()] * 4
    values = [
        [row.decision for row in rows],
        [row.shot for row in rows],
        [row.motion for row in rows],
        [row.brightness for row in rows],
        *map(list, sides),
        [row.duplicate_group for row in rows],
        [row.split_before for row in rows],
    ]
    return pa.table([pa.array(column, field.type) for column, field in zip(values, COLUMNS, strict=True)], schema=COLUMNS)
