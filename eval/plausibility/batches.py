"""Batched inference on videos of any length. Videos are cut into segments, which are distributed over ranks.

Each finished batch is a file, so that an interrupted command resumes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from numpy.typing import NDArray

from eval.plausibility.sliding_windows import (
    Distance,
    WindowSurprise,
    join_segments,
    load_surprise,
    save_surprise,
    too_short_message,
    window_surprise,
)
from eval.precision import Precision
from eval.resumable_work import compute_pieces
from eval.voe.scorers import MODEL
from eval.voe.surprise.forecasting import MODEL_ONLY
from eval.voe.surprise.scoring import SurpriseScorer, WindowedVideo
from eval.voe.surprise.whitening import ErrorKey, ErrorMoments, load_moments, merge_moments, save_moments
from eval.voe.surprise.windows import WindowPlan
from worldmodel.manifest import Clip
from worldmodel.models.world_model import WorldModel
from worldmodel.video import VideoError
from worldmodel.video.geometry import Geometry, read_square_frames

WINDOWS_PER_SEGMENT = 48  # so that a long video is never in memory as a whole
SEGMENTS_PER_BATCH = 8
Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class Segment:
    """`frames` frames of a clip from frame `first` on, counted at the frame rate of the plan."""

    clip: Clip
    first: int
    frames: int


@dataclass(frozen=True)
class BatchedInference:
    """A model, and how videos are prepared for it."""

    model: WorldModel
    plan: WindowPlan
    device: torch.device
    ranks: PartialState
    geometry: Geometry = "center_crop"  # how frames become square
    precision: Precision = "fp32"  # in which the model runs

    def segments(self, clip: Clip, max_segments: int | None = None) -> list[Segment]:
        """Segments of WINDOWS_PER_SEGMENT windows each; none if the clip is shorter than a window."""
        plan, length = self.plan, clip.frames_at(self.plan.fps)
        if not plan.sliding(length):
            return []
        windows = max(0, length - plan.frames) // plan.stride + 1
        firsts = range(0, windows, WINDOWS_PER_SEGMENT)[:max_segments]
        span = min(plan.frames, length)
        counts = [min(WINDOWS_PER_SEGMENT, windows - first) for first in firsts]
        return [
            Segment(clip, first * plan.stride, (count - 1) * plan.stride + span)
            for first, count in zip(firsts, counts, strict=True)
        ]

    def surprise(
        self,
        title: str,
        clips: Sequence[Clip],
        distances: dict[str, Distance],
        folder: Path,
        by_token: bool = False,
        max_segments: int | None = None,
    ) -> list[WindowSurprise | str]:
        """Surprise of each clip, or the reason why it could not be computed. Results are cached in `folder`.

        title: of the progress bar. distances: by scorer. by_token: also keep the surprise of each token.
        max_segments: of each clip; the rest of a long clip is not evaluated.
        """
        folder.mkdir(parents=True, exist_ok=True)
        by_clip = [self.segments(clip, max_segments) for clip in clips]
        batches = _batches([segment for segments in by_clip for segment in segments])

        def work(loaded: Sequence[Frames | str], file: Path) -> None:
            found: dict[int, WindowSurprise | str] = {i: it for i, it in enumerate(loaded) if isinstance(it, str)}
            for indices, frames in _by_length(loaded):
                batch = torch.from_numpy(frames).to(self.device)
                together = window_surprise(self.model, batch, self.plan, distances, by_token)
                found |= {index: together.video(row) for row, index in enumerate(indices)}
            save_surprise(file, [found[index] for index in range(len(loaded))])

        files = compute_pieces(title, batches, lambda i: folder / f"{i:05d}.npz", self._read, work, self.ranks)
        results = iter([it for file in files for it in load_surprise(file)])
        return [self._joined(clip, [next(results) for _ in segments]) for clip, segments in zip(clips, by_clip, strict=True)]

    def error_moments(
        self, title: str, clips: Sequence[Clip], folder: Path, max_segments: int | None = None
    ) -> ErrorMoments | None:
        """Moments of the forecast errors in the windows of the clips; None if no clip can be read.

        Each segment counts as a video.
        """
        folder.mkdir(parents=True, exist_ok=True)
        scorer = SurpriseScorer(self.model, self.plan, self.device, forecasters=MODEL_ONLY)
        batches = _batches([segment for clip in clips for segment in self.segments(clip, max_segments)])

        def work(loaded: Sequence[Frames | str], file: Path) -> None:
            total: dict[ErrorKey, ErrorMoments] = {}
            for _, frames in _by_length(loaded):
                windows = self.plan.sliding(frames.shape[1])
                videos = [WindowedVideo(str(index), video, windows) for index, video in enumerate(frames)]
                merge_moments(total, scorer.error_moments(videos))
            save_moments(file, total)

        total: dict[ErrorKey, ErrorMoments] = {}
        for file in compute_pieces(title, batches, lambda i: folder / f"moments_{i:05d}.npz", self._read, work, self.ranks):
            merge_moments(total, load_moments(file))
        return total.get(ErrorKey("sliding", MODEL))

    def is_readable(self, clip: Clip, max_segments: int | None = None) -> bool:
        """Whether the clip has at least one window and its segments can be read."""
        segments = self.segments(clip, max_segments)
        return bool(segments) and all(not isinstance(self._read([segment])[0], str) for segment in segments)

    def _read(self, batch: Sequence[Segment]) -> list[Frames | str]:
        return [read_segment(segment, self.plan.fps, self.model.size_px, self.geometry) for segment in batch]

    def _joined(self, clip: Clip, results: Sequence[WindowSurprise | str]) -> WindowSurprise | str:
        if not results:
            return too_short_message(clip.frames_at(self.plan.fps), self.plan)
        reasons = [it for it in results if isinstance(it, str)]
        if reasons:
            return reasons[0]
        return join_segments([it for it in results if isinstance(it, WindowSurprise)], self.plan, WINDOWS_PER_SEGMENT)


def read_segment(segment: Segment, fps: float, size_px: int, geometry: Geometry) -> Frames | str:
    """Frames uint8 [T, size_px, size_px, 3] of a segment, or the reason why there are none."""
    clip = segment.clip
    times = [clip.start_s + (segment.first + index) / fps for index in range(segment.frames)]
    try:
        return read_square_frames(
            clip.path,
            size_px,
            geometry,
            times_s=times,
            member=clip.member,
            folder_fps=clip.fps,
            timing=clip.timing,
            rectangle=clip.rectangle,
        )
    except VideoError as error:
        return error.detail or error.reason
    except OSError as error:
        return error.strerror or str(error)


def _batches(segments: Sequence[Segment]) -> list[tuple[Segment, ...]]:
    return [tuple(segments[first : first + SEGMENTS_PER_BATCH]) for first in range(0, len(segments), SEGMENTS_PER_BATCH)]


def _by_length(loaded: Sequence[Frames | str]) -> list[tuple[list[int], Frames]]:
    """Group equally long videos: (indices in `loaded`, frames [B, T, H, W, 3])."""
    indices: dict[int, list[int]] = defaultdict(list)
    for index, frames in enumerate(loaded):
        if not isinstance(frames, str):
            indices[len(frames)].append(index)
    return [(group, np.stack([np.asarray(loaded[index]) for index in group])) for group in indices.values()]
