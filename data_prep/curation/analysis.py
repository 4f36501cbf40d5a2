"""Analysis of one video: its stretches, borders and hashes. Runs in worker processes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.curation.borders import find_borders, sharpen_borders
from data_prep.curation.cuts import find_cuts, find_static_cuts, measure_changes
from data_prep.curation.near_duplicates import frame_hash
from data_prep.curation.recipe import CurationRecipe
from data_prep.curation.spans import find_spans
from data_prep.curation.stretches import divide
from data_prep.curation.transitions import brightness_cells, find_transitions
from data_prep.frame_ranges import frames_of_clip
from data_prep.pool import Failed
from worldmodel.manifest import Clip
from worldmodel.storage.errors import StorageError, fault_outside_file
from worldmodel.video import VideoError, read_frames
from worldmodel.video.frame_times import FrameTimes, frame_times

FRAMES_PER_READ = 256
BORDER_SAMPLES = 12  # frames that are read at full size where a video has borders
GREY = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class VideoClips:
    """A video and all its clips in the manifest. `member` and `label` are as in an Item of a source."""

    path: str
    member: str | None
    label: str | None
    clips: tuple[Clip, ...]


@dataclass(frozen=True)
class VideoAnalysis:
    """A line of the journal of `curate`. Frames count at the rate of the recipe, from `start_s` on."""

    path: str
    member: str | None
    label: str | None
    start_s: float = 0.0
    stop_s: float = 0.0
    stretches: list[dict[str, Any]] = field(default_factory=list)  # fields of Stretch
    spans: list[dict[str, Any]] = field(default_factory=list)  # fields of Span, one of each stretch
    clip_frames: list[tuple[int, int]] = field(
        default_factory=list
    )  # of each clip: its first frame, and the one after its last
    borders: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    hashes: list[str] = field(default_factory=list)  # 16 hex digits each
    problem: str = ""

    def __post_init__(self) -> None:
        if len(self.spans) != len(self.stretches) or not (self.clip_frames or self.problem):
            raise ValueError("it was written by an earlier version")


def analyse_video(video: VideoClips, recipe: CurationRecipe) -> VideoAnalysis | Failed:
    """Examine a video from the start of its first clip to the end of its last. A damaged one is returned with its problem.

    A store that does not answer gives Failed of reason "storage". Raises OutputError if the cache of objects cannot be written.
    """
    start_s = min(clip.start_s for clip in video.clips)
    stop_s = max(clip.stop_s for clip in video.clips)
    try:
        return _analyse(video, start_s, stop_s, recipe)
    except (VideoError, OSError) as error:
        outside = fault_outside_file(error)
        if isinstance(outside, StorageError):
            return Failed("storage", str(outside.strerror))
        if outside is not None:
            raise outside from None
        return VideoAnalysis(video.path, video.member, video.label, start_s, stop_s, problem=str(error))


def _analyse(video: VideoClips, start_s: float, stop_s: float, recipe: CurationRecipe) -> VideoAnalysis:
    change, score, std, brightness, cells, hashes = [], [], [], [], [], []
    brightest: NDArray[np.float32] | None = None
    count = max(1, int((stop_s - start_s - 0.5 / video.clips[0].fps) * recipe.fps) + 1)
    every = max(1, round(recipe.duplicates.interval_s * recipe.fps), -(-count // recipe.duplicates.max_hashes))
    at = 0
    clip = video.clips[0]
    frames_of_file = frame_times(clip.path, clip.member, clip.timing, clip.fps)
    times_s = start_s + np.arange(count) / recipe.fps
    tail_s = _time_of_last_frame(frames_of_file, times_s, stop_s)
    for frames, new in _read(video, np.append(times_s, tail_s), recipe):
        grey = frames[-new:] @ GREY
        changes = measure_changes(frames)
        change.append(changes.change[-new:])
        score.append(changes.score[-new:])
        std.append(grey.reshape(new, -1).std(1))
        brightness.append(grey.reshape(new, -1).mean(1))
        cells.append(brightness_cells(frames[-new:]))
        high = grey.max(0)
        brightest = high if brightest is None else np.maximum(brightest, high)
        hashes += [
            f"{frame_hash(grey[index].astype(np.uint8)):016x}"
            for index in range(new)
            if at + index < count and (at + index) % every == every // 2 and std[-1][index] >= recipe.stills.plain_std
        ]
        at += new
    assert brightest is not None
    whole = [np.concatenate(pieces) for pieces in (change, score, std, brightness)]
    has_tail_cut = count in {*find_cuts(whole[1], recipe.cuts), *find_static_cuts(whole[0], recipe.static_cuts)}
    whole = [values[:count] for values in whole]
    blends = find_transitions(np.concatenate(cells)[:count], recipe.transitions, recipe.fps, recipe.stills.plain_std)
    found = divide(whole[0], whole[1], whole[2], whole[3], recipe, blends)
    borders = find_borders(brightest, recipe.borders)
    if any(borders):
        borders = sharpen_borders(_samples(video, start_s, stop_s), borders, brightest.shape[:2], recipe.borders)
    end_s = frames_of_file.end_s(times_s[-1]) if has_tail_cut else stop_s
    spans = find_spans(frames_of_file, times_s, [(stretch.start, stretch.stop) for stretch in found], start_s, end_s)
    return VideoAnalysis(
        video.path,
        video.member,
        video.label,
        start_s,
        stop_s,
        [asdict(stretch) for stretch in found],
        [asdict(span) for span in spans],
        [frames_of_clip(frames_of_file, of_video) for of_video in video.clips],
        borders,
        hashes,
    )


def _samples(video: VideoClips, start_s: float, stop_s: float) -> Iterator[NDArray[np.float32]]:
    """The brightness [H, W] of some frames at full size, evenly over the time that is examined."""
    clip = video.clips[0]
    for time_s in start_s + (np.arange(BORDER_SAMPLES) + 0.5) / BORDER_SAMPLES * (stop_s - 0.5 / clip.fps - start_s):
        frames = read_frames(video.path, times_s=[time_s], member=video.member, folder_fps=clip.fps, timing=clip.timing)
        yield frames[0] @ GREY


def _time_of_last_frame(frames: FrameTimes, times_s: NDArray[np.float64], stop_s: float) -> list[float]:
    """When the last frame before `stop_s` begins, if it was not examined; else nothing."""
    last = frames.last_before(stop_s)
    return [float(frames.starts_s()[last])] if last > frames.shown_at(times_s[-1:])[0] else []


def _read(video: VideoClips, times_s: NDArray[np.float64], recipe: CurationRecipe) -> Iterator[tuple[NDArray[np.uint8], int]]:
    """(frames, how many of them are new), in pieces. All pieces but the first begin with the last frame of the piece before."""
    last: NDArray[np.uint8] | None = None
    for first in range(0, len(times_s), FRAMES_PER_READ):
        clip, times = video.clips[0], times_s[first : first + FRAMES_PER_READ]
        frames = read_frames(
            video.path, times_s=times, member=video.member, size=recipe.size_px, folder_fps=clip.fps, timing=clip.timing
        )
        yield (frames if last is None else np.concatenate([last, frames])), len(frames)
        last = frames[-1:]
