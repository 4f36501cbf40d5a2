"""The report page of a curation: counts, thresholds and examples of each decision. One HTML file without links."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape

import numpy as np
from PIL import Image

from data_prep.curation.analysis import VideoAnalysis, VideoClips
from data_prep.curation.near_duplicates import DuplicateGroups
from data_prep.curation.recipe import CurationRecipe
from data_prep.curation.table import CuratedClip
from worldmodel.config import dump_config
from worldmodel.manifest import Clip
from worldmodel.video import VideoError, read_frames

EXAMPLES = 6  # of each decision
FRAMES = 6  # of each example
HEIGHT_PX = 90
STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; } td, th { padding: .2rem .8rem .2rem 0; text-align: left; }
figure { margin: .6rem 0; } figcaption { color: #555; font-size: 13px; } img { display: block; max-width: 100%; }
pre { background: #f4f4f4; padding: .8rem; overflow: auto; }
"""
MEANINGS = {
    "used": "stretches of one shot that training and evaluation use, by motion: the least, the median, the most",
    "transition": "dissolves and fades between two shots",
    "black": "black or plain frames",
    "frozen": "frames that do not change",
    "short": "stretches of a shot that are too short",
    "duplicate": "near-duplicates of a video that is divided in time",
    "unreadable": "videos that cannot be decoded",
}


def write_page(
    videos: Sequence[VideoClips],
    analyses: Sequence[VideoAnalysis],
    groups: Sequence[int],
    rows: Sequence[CuratedClip],
    recipe: CurationRecipe,
    command: str,
) -> str:
    """The page as HTML. Reads some frames of the examples again."""
    seconds: dict[str, float] = dict.fromkeys(MEANINGS, 0.0)
    for row in rows:
        seconds[row.decision] += row.clip.stop_s - row.clip.start_s
    counts = Counter[str](row.decision for row in rows)
    parts = [
        f"<h1>Curation of {len(videos)} videos</h1><p><code>{escape(command)}</code></p>",
        "<table><tr><th>decision</th><th>stretches</th><th>seconds</th></tr>",
        *(f"<tr><td>{name}</td><td>{counts[name]}</td><td>{seconds[name]:.1f}</td></tr>" for name in MEANINGS if counts[name]),
        "</table>",
        "<p>Nothing is deleted: excluded stretches are rows of split <code>excluded</code>.</p>",
        _cuts(videos, analyses, recipe),
        *(_decision(name, [row for row in rows if row.decision == name]) for name in MEANINGS),
        _borders(videos, analyses),
        _duplicates(videos, groups),
        f"<h2>Thresholds</h2><pre>{escape(dump_config(recipe))}</pre>",
    ]
    head = f'<meta charset="utf-8"><title>Curation</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en">{head}{"".join(parts)}</html>'


def _decision(name: str, rows: list[CuratedClip]) -> str:
    if not rows:
        return ""
    if name == "used":
        rows = sorted(rows, key=lambda row: row.motion or 0.0)
        rows = [rows[index] for index in sorted({0, 1, len(rows) // 2, len(rows) - 2, len(rows) - 1} & set(range(len(rows))))]
    figures = (_figure(row.clip, _measured(row)) for row in _some(rows))
    return f"<h2>{name.capitalize()}</h2><p>{MEANINGS[name].capitalize()}.</p>{''.join(figures)}"


def _measured(row: CuratedClip) -> str:
    if row.motion is None or row.brightness is None:
        return row.decision
    return f"shot {row.shot}, motion {row.motion:.2f}, brightness {row.brightness:.0f}"


def _cuts(videos: Sequence[VideoClips], analyses: Sequence[VideoAnalysis], recipe: CurationRecipe) -> str:
    found = [
        (video, analysis.start_s + after["start"] / recipe.fps)
        for video, analysis in zip(videos, analyses, strict=True)
        for before, after in zip(analysis.stretches, analysis.stretches[1:], strict=False)
        if before["shot"] != after["shot"] and before["decision"] != "transition"
    ]
    figures = [
        _strip(video, [time_s + offset / recipe.fps for offset in (-3, -2, -1, 0, 1, 2)], f"cut at {time_s:.2f} s")
        for video, time_s in _some(found)
    ]
    return f"<h2>Cuts</h2><p>{len(found)} camera cuts, each before the fourth picture.</p>{''.join(figures)}"


def _borders(videos: Sequence[VideoClips], analyses: Sequence[VideoAnalysis]) -> str:
    found = [(video, analysis) for video, analysis in zip(videos, analyses, strict=True) if any(analysis.borders)]
    figures = []
    for video, analysis in _some(found):
        words = ", ".join(
            f"{side} {100 * share:.0f} %"
            for side, share in zip(("top", "bottom", "left", "right"), analysis.borders, strict=True)
            if share
        )
        figures.append(_figure(video.clips[0], f"border: {words}"))
    return f"<h2>Borders</h2><p>{len(found)} videos have dark borders.</p>{''.join(figures)}"


def _duplicates(videos: Sequence[VideoClips], groups: Sequence[int]) -> str:
    copies = [(group, index) for index, group in enumerate(groups) if group != index]
    figures = [
        _figure(videos[group].clips[0], "first of its group")
        + _figure(videos[index].clips[0], "near-duplicate of the one above")
        for group, index in _some(copies)
    ]
    skipped = f"<p>{escape(groups.note())}.</p>" if isinstance(groups, DuplicateGroups) and groups.note() else ""
    return (
        f"<h2>Near-duplicates</h2><p>{len(copies)} videos are near-duplicates of an earlier one. They share its split.</p>"
        + skipped
        + "".join(figures)
    )


def _some(found: Iterable) -> list:
    """Examples, evenly over all."""
    everything = list(found)
    if len(everything) <= EXAMPLES:
        return everything
    return [everything[index] for index in np.linspace(0, len(everything) - 1, EXAMPLES).round().astype(int)]


def _figure(clip: Clip, caption: str) -> str:
    video = VideoClips(clip.path, clip.member, clip.label, (clip,))
    last_s = max(clip.start_s, clip.stop_s - 0.6 / clip.fps)
    caption = f"{caption}; {clip.start_s:.2f} to {clip.stop_s:.2f} s, split {clip.split}"
    return _strip(video, np.linspace(clip.start_s, last_s, FRAMES).tolist(), caption)


def _strip(video: VideoClips, times_s: list[float], caption: str) -> str:
    clip = video.clips[0]
    name = escape(f"{video.path}{f' ({video.member})' if video.member else ''}")
    try:
        frames = read_frames(
            video.path,
            times_s=[max(0.0, time) for time in times_s],
            member=video.member,
            size=HEIGHT_PX,
            folder_fps=clip.fps,
            timing=clip.timing,
        )
    except (VideoError, OSError) as error:
        return f"<figure><figcaption>{name}: {escape(str(error))}</figcaption></figure>"
    picture = Image.fromarray(np.concatenate(list(frames), axis=1))
    stored = io.BytesIO()
    picture.save(stored, "JPEG", quality=80)
    data = base64.b64encode(stored.getvalue()).decode()
    return (
        f'<figure><img alt="" src="data:image/jpeg;base64,{data}"><figcaption>{name}: {escape(caption)}</figcaption></figure>'
    )
