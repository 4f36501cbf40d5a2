"""Manifest and tables of signals of recorded episodes. The videos stay where they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from data_prep.episodes.recorded import RecordedEpisode, UnusableEpisode
from data_prep.episodes.storing import digest_of
from data_prep.inspection import VideoRecord, inspect_item
from data_prep.pool import Failed, run_each
from data_prep.progress import bar
from data_prep.sources.item import Item
from data_prep.splits import split_of
from worldmodel.files.output_errors import output_errors
from worldmodel.manifest import Clip, clip_id
from worldmodel.signals import Signals, write_signals
from worldmodel.video.inspection import inspect_times

TIMEOUT_S = 600.0
MAX_JITTER_FRAMES = 0.25


@dataclass(frozen=True)
class TimedVideo:
    """A usable video, and when its frames begin."""

    record: VideoRecord
    other_frame: int | None  # the first that does not begin at its number / fps of the data set; None where all do
    other_s: float = 0.0  # when it begins


@dataclass(frozen=True)
class ClipWriter:
    """Writes a table of signals per episode, and makes the rows of the manifest."""

    out: Path
    source: str
    val: float
    test: float
    videos: dict[str, TimedVideo | VideoRecord | Failed]
    """the files of the episodes; those that cannot be used are Failed, or a record with the reason"""
    unusable: list[UnusableEpisode] = field(default_factory=list)
    _ranges: dict[str, list[tuple[int, int, int]]] = field(default_factory=dict)  # first frame, stop and episode, by video

    def clips(self, episodes: Iterable[RecordedEpisode | UnusableEpisode], total: int) -> Iterator[Clip]:
        """The rows of the usable episodes. The others are added to `unusable`."""
        with bar("episodes", total) as progress:
            for episode in episodes:
                problem = episode if isinstance(episode, UnusableEpisode) else self._problem(episode)
                progress.step(ok=problem is None)
                if problem is not None:
                    self.unusable.append(problem)
                elif isinstance(episode, RecordedEpisode):
                    yield self._clip(episode)

    def _problem(self, episode: RecordedEpisode) -> UnusableEpisode | None:
        video, path = self.videos[str(episode.video)], episode.video
        if not isinstance(video, TimedVideo):
            return UnusableEpisode(episode.number, str(video.reason), f"{path}: {video.detail or video.reason}")
        first, stop, record = episode.first_frame, episode.first_frame + episode.frames, video.record
        if stop > record.frames:
            detail = f"{path} has {record.frames} frames; the episode is [{first}, {stop})"
            return UnusableEpisode(episode.number, "past the end", detail)
        if abs(record.fps - episode.fps) > 0.01 * episode.fps:
            detail = f"{path} has {record.fps:g} frames per second, its metadata says {episode.fps:g}"
            return UnusableEpisode(episode.number, "other rate", detail)
        if video.other_frame is not None and video.other_frame < stop:
            detail = (
                f"frame {video.other_frame} of {path} begins at {video.other_s:.4f} s; at {episode.fps:g} frames per second, "
                f"as its metadata says, it would be {video.other_frame / episode.fps:.4f} s"
            )
            return UnusableEpisode(episode.number, "other rate", detail)
        ranges = self._ranges.setdefault(str(path), [])
        for begin, end, number in ranges:
            if first < end and begin < stop:
                detail = f"its frames [{first}, {stop}) of {path} are also those of episode {number}"
                return UnusableEpisode(episode.number, "frames of another episode", detail)
        ranges.append((first, stop, episode.number))
        return None

    def _clip(self, episode: RecordedEpisode) -> Clip:
        video = self.videos[str(episode.video)]
        assert isinstance(video, TimedVideo)
        record = video.record
        start_s, stop_s = episode.first_frame / episode.fps, (episode.first_frame + episode.frames) / episode.fps
        name = f"{episode.number:06d}.parquet"
        table = self.out / "signals" / name[:3] / name
        with output_errors(table):
            table.parent.mkdir(parents=True, exist_ok=True)
        origin = {"source": self.source, "episode": episode.number, "task": episode.task}
        channels = episode.action, episode.state
        time_s = start_s + episode.time_s  # since the first frame of the file
        write_signals(table, Signals(str(table), time_s, episode.actions, episode.states, *channels, origin))
        return Clip(
            clip_id=clip_id(record.content_hash, start_s, stop_s),
            path=str(episode.video.absolute()),
            member=None,
            start_s=start_s,
            stop_s=min(stop_s, record.duration_s),
            fps=record.fps,
            frames=episode.frames,
            width=record.width,
            height=record.height,
            rotation=record.rotation,
            codec=record.codec,
            split=split_of(_digest(episode), self.val, self.test),
            label=episode.task,
            truth=None,
            source=self.source,
            content_hash=record.content_hash,
            timing=record.timing,
            signals=str(table.relative_to(self.out)),
            first_frame=episode.first_frame,
        )


def _digest(episode: RecordedEpisode) -> str:
    """Digest by which an episode is split: of its first state, so that episodes with one start have one split.

    Of all its actions where there is no state.
    """
    return digest_of(episode.states[0] if episode.states.size else episode.actions)


def inspect_videos(paths: Iterable[Path], fps: float, workers: int) -> dict[str, TimedVideo | VideoRecord | Failed]:
    """Inspect every video file once, in parallel. fps: of the data set."""
    items = [Item(str(path)) for path in dict.fromkeys(paths)]
    work = partial(_inspect, fps=fps)
    with bar("videos", len(items)) as progress:
        found: dict[str, TimedVideo | VideoRecord | Failed] = {}
        for item, result in run_each(work, items, min(workers, max(1, len(items))), TIMEOUT_S):
            found[item.path] = result
            progress.step(ok=isinstance(result, TimedVideo))
    return found


def _inspect(item: Item, fps: float) -> TimedVideo | VideoRecord | Failed:
    record = inspect_item(item, min_seconds=0.0, thorough=False)
    if isinstance(record, Failed) or record.reason is not None:
        return record
    starts_s = inspect_times(item.path)[1].starts_s()
    (others,) = np.nonzero(np.abs(starts_s * fps - np.arange(len(starts_s))) > MAX_JITTER_FRAMES)
    return TimedVideo(record, int(others[0]), float(starts_s[others[0]])) if len(others) else TimedVideo(record, None)
