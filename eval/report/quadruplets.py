"""Choose the trials that a report shows, and make players of their videos with the surprise over time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.report.heat import heat_map, read_maps
from eval.report.player import Curve, HeatMap, Player, PlayerVideo, VideoKind
from eval.report.videos import MAX_BYTES, page_fps, trial_video_mp4
from eval.result_folder import read_result
from eval.voe.pairs import score_pairs
from eval.voe.scores.video_scores import ScorerTrace, traces_by_scorer
from eval.voe.surprise.traces import Traces
from eval.voe.trials import Trial, Video, read_trials
from worldmodel.video import VideoError

MAX_TRIALS = 30
WINDOW_LABELS = {"locked": "locked windows", "sliding": "sliding windows"}
Values = NDArray[np.float64]


class TrialGallery:
    """The trials of an evaluation, as players on its page."""

    def __init__(self, out: Path, protocol: Mapping[str, Any], scores: Mapping[str, Any], trials: Sequence[Trial]) -> None:
        self.out, self.protocol, self.trials = out, protocol, trials
        ids = [video.video_id for trial in trials for video in trial.videos]
        traces = traces_by_scorer(Traces.open(out / "traces.parquet"), ids)
        self.rows = {(windows, str(scorer)): trace for (windows, scorer), trace in traces.items()}
        self.first = np.cumsum([0, *(len(trial.videos) for trial in trials)])
        self.context_s: Mapping[str, float | None] = scores.get("context_s", {})
        self.scorers = [name for name in scores["headline"] if name in ("whitened", "latent distance")] or list(
            scores["headline"]
        )[:1]
        self._bytes = 0

    def players(self) -> list[Player]:
        """The median, best and worst trial of each property, by the first scorer and in locked windows if possible."""
        address = self._main_curve()
        if address is None:
            return []
        surprise = self._trace(*address).video_mean()
        return [self._player(index, why, surprise) for index, why in self._selected(surprise)]

    def shown(self) -> list[str]:
        """Names of the trials that `players` shows."""
        address = self._main_curve()
        found = [] if address is None else self._selected(self._trace(*address).video_mean())
        return [self.trials[index].group_id for index, _ in found]

    def _selected(self, surprise: Values) -> list[tuple[int, str]]:
        margins = {index: margin for index in range(len(self.trials)) if (margin := self._margin(index, surprise)) is not None}
        return select_trials(self.trials, margins)

    def _main_curve(self) -> tuple[str, str] | None:
        """(kind of window, scorer) by which trials are selected."""
        present = [(kind, name) for kind in WINDOW_LABELS for name in self.scorers if (kind, name) in self.rows]
        return present[0] if present else None

    def _trace(self, windows: str, scorer: str) -> ScorerTrace:
        """Rows of a scorer at the context length that it is scored at."""
        return self.rows[windows, scorer].at(self.context_s.get(scorer) if windows == "sliding" else None)

    def _margin(self, index: int, surprise: Values) -> float | None:
        """Surprise of the impossible videos above the possible ones, mean over pairs, relative to the mean surprise."""
        trial = self.trials[index]
        by_video = surprise[self.first[index] : self.first[index + 1]]
        if trial.split != "test" or not trial.pairs or not np.isfinite(by_video).all():
            return None
        gap = np.mean([by_video[pair.impossible] - by_video[pair.possible] for pair in trial.pairs])
        return float(gap / max(float(by_video.mean()), 1e-12))

    def _player(self, index: int, tag: str, surprise: Values) -> Player:
        trial, first = self.trials[index], int(self.first[index])
        contexts, outcomes = ({getattr(video, name) for video in trial.videos} for name in ("context_id", "outcome_id"))
        is_grid = len(contexts) == len(outcomes) == 2 and len(trial.videos) == 4
        order = sorted(range(len(trial.videos)), key=lambda index: _grid_position(trial.videos[index], is_grid))
        videos = [trial.videos[index] for index in order]
        fps = trial.videos[0].fps
        events = [(trial.violation_frame, "violation"), (trial.reveal_frame, "violation visible")]
        margin = self._margin(index, surprise)
        curves = self._curves([first + index for index in order])
        return Player(
            title=f"{trial.property}{f', {trial.visibility}' if trial.visibility else ''}",
            group=trial.property,
            note=trial.group_id,
            tag=tag,
            fps=page_fps(videos[0]),
            frames=max(max(1, round(video.frames / video.fps * page_fps(video))) for video in videos),
            videos=[self._video(video, is_grid) for video in videos],
            curves=curves,
            start_s=time_of_widest_gap([video.label for video in videos], next(iter(curves.values()), ())),
            heat_maps=self._heat_maps(videos),
            events=[(frame / fps, label) for frame, label in events if frame is not None],
            occlusion_s=(trial.occluded_frames[0] / fps, trial.occluded_frames[1] / fps) if trial.occluded_frames else None,
            numbers=self._numbers(trial, surprise[first : first + len(videos)], margin),
            rows=[f"context {name}" for name in dict.fromkeys(video.context_id for video in videos)] if is_grid else (),
            columns=[f"outcome {name}" for name in dict.fromkeys(video.outcome_id for video in videos)] if is_grid else (),
        )

    def _numbers(self, trial: Trial, surprise: Values, margin: float | None) -> dict[str, str]:
        """The score of a trial, by label."""
        found = {}
        for kind in dict.fromkeys(pair.kind for pair in trial.pairs):
            pairs = [pair for pair in trial.pairs if pair.kind == kind]
            correct = sum(float(score_pairs(surprise[pair.possible], surprise[pair.impossible])) for pair in pairs)
            found[f"{kind}, correct pairs"] = f"{correct:g} of {len(pairs)}"
        if margin is not None:
            found["margin"] = f"{float(f'{100 * margin:.2g}'):+g} % of the mean surprise"
        return found

    def _video(self, video: Video, is_grid: bool) -> PlayerVideo:
        kind: VideoKind = "unlabelled" if video.label is None else "possible" if video.label else "impossible"
        label = f"{video.context_id} → {video.outcome_id}" if is_grid else ""
        mp4, why_missing = None, ""
        if self._bytes > MAX_BYTES:
            why_missing = "left out to keep this page small"
        else:
            try:
                mp4 = trial_video_mp4(video, self.protocol.get("geometry", "resize"))
                self._bytes += len(mp4)
            except (VideoError, OSError):
                why_missing = "can no longer be read"
        return PlayerVideo(label, kind, mp4, Path(video.path).name, why_missing)

    def _curves(self, indices: Sequence[int]) -> dict[str, list[Curve]]:
        found = {}
        for windows, label in WINDOW_LABELS.items():
            for scorer in self.scorers:
                if (windows, scorer) in self.rows:
                    trace = self._trace(windows, scorer)
                    curves: list[Curve] = [trace.time_course(index) for index in indices]  # type: ignore[misc]
                    if any(len(times) for times, _ in curves):
                        found[f"{scorer}, {label}"] = curves
        return found

    def _heat_maps(self, videos: Sequence[Video]) -> dict[str, list[HeatMap | None]]:
        """By curve: the surprise by token, whose mean is the curve."""
        maps = [read_maps(self.out, video.video_id) for video in videos]
        step_s = self.protocol["model"].get("tubelet_size", 1) / self.protocol["windows"]["fps"]
        found = {}
        for windows, label in WINDOW_LABELS.items():
            for scorer in self.scorers:
                context_s = self.context_s.get(scorer) if windows == "sliding" else None
                found[f"{scorer}, {label}"] = [heat_map(arrays, windows, scorer, context_s, step_s) for arrays in maps]
        return found


def time_of_widest_gap(labels: Sequence[bool | None], curves: Sequence[Curve]) -> float:
    """Time at which the mean of the impossible videos is furthest above that of the possible ones; 0 if there are none.

    labels: whether each video is possible.
    """
    at: dict[float, dict[bool | None, list[float]]] = defaultdict(lambda: defaultdict(list))
    for label, (times, values) in zip(labels, curves, strict=False):
        for time, value in zip(times, values, strict=True):
            at[float(time)][label].append(float(value))
    gaps = {time: float(np.mean(by[False]) - np.mean(by[True])) for time, by in at.items() if by[False] and by[True]}
    return max(gaps, key=gaps.__getitem__, default=0.0)


def shown_trials(out: Path) -> list[str]:
    """Names of the trials that the report of an evaluation shows; its numbers determine them."""
    protocol, scores = (read_result(out / name) for name in ("protocol.json", "scores.json"))
    return TrialGallery(out, protocol, scores, read_trials(out / "trials.json")).shown()


def select_trials(trials: Sequence[Trial], margins: Mapping[int, float]) -> list[tuple[int, str]]:
    """(trial, why it is shown): the median, best and worst trial of each property, with locked windows if possible."""
    found: list[tuple[int, str]] = []
    for name in dict.fromkeys(trials[index].property for index in margins):
        of_property = [index for index in margins if trials[index].property == name]
        locked = [index for index in of_property if trials[index].locked_cuts is not None] or of_property
        order = sorted(locked, key=lambda index: (margins[index], index))
        worst = "worst failure" if margins[order[0]] < 0 else "smallest margin"
        picks = {order[len(order) // 2]: "median", order[-1]: "best", order[0]: worst}
        found += picks.items()
    # if there are very many properties, the median of each is shown first
    priority = {"median": 0, "best": 2}
    selected = sorted(range(len(found)), key=lambda index: (priority.get(found[index][1], 1), index))[:MAX_TRIALS]
    return [found[index] for index in sorted(selected)]


def _grid_position(video: Video, is_grid: bool) -> tuple[str, str] | bool:
    """Sort key: contexts by row and outcomes by column; or the possible videos first."""
    return (video.context_id, video.outcome_id) if is_grid else video.label is False
