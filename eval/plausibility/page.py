"""The HTML page of `eval plausibility`: all videos ranked, and a player for those at both ends of the ranking."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.progress import bar
from eval.plausibility.decoded_forecasts import DecodedForecasts
from eval.plausibility.reference_distribution import DISTANCE, ReferenceDistribution
from eval.plausibility.results import VideoResult, by_scorer, token_course
from eval.plausibility.scoring import ScoredVideo
from eval.plausibility.sliding_windows import Values, time_course
from eval.report import DecodedVideos, RankedVideo, VideoCard, write_video_page
from eval.report.rendering import percent, scorer_label, seconds
from eval.report.videos import MAX_BYTES, MAX_FPS, MAX_PX, resized
from eval.voe.surprise.windows import WindowPlan
from worldmodel.manifest import Clip
from worldmodel.video import VideoError, read_frames
from worldmodel.video.geometry import Geometry, crop_square
from worldmodel.video.resize import inside

MAX_SHOWN_S = 20.0  # length of the part of a video that is shown, around its most surprising time
MAX_VIDEOS = 40  # videos with a player; the table lists all videos
NO_FORECAST_GREY = 60  # grey level
COPY_LABEL = "copy baseline (latent distance)"
QUANTILE_LABELS = ("median of calibration videos", "95 % quantile of calibration videos")
EXPLANATION = (
    "Plausibility is the fraction of calibration videos (possible videos) of similar length and motion that surprise the "
    "model at least as much. Copy-adjusted plausibility compares surprise relative to the error of repeating the last latent "
    "of the context, with calibration videos of similar length and any motion. A video is then not plausible merely because "
    "nothing moves in it."
)
DecodeForecasts = Callable[[Clip, int, int], DecodedForecasts | None]
"""Decode the forecasts of frames [first, stop) of a clip, counted at the rate of the plan."""


def write_page(
    path: Path,
    model: str,
    scored: Sequence[ScoredVideo],
    failed: Mapping[str, str],
    distribution: ReferenceDistribution,
    geometry: Geometry,
    decode: DecodeForecasts | None,
    notes: Sequence[str],
    provenance: str,
) -> Path:
    """Write one HTML file that opens offline.

    The table lists all videos; players are made for MAX_VIDEOS at the two ends of the ranking.
    """
    shown = ends(len(scored), MAX_VIDEOS)
    names = short_names([it.result["video"] for it in scored])
    rows = [
        RankedVideo(
            rank=it.rank,
            name=names[index],
            plausibility=it.result["plausibility"],
            copy_adjusted=it.result["copy_adjusted_plausibility"],
            surprise=it.result["scorers"][it.result["scorer"]]["surprise"],
            peak_s=it.result["scorers"][it.result["scorer"]]["peak_s"],
            player=shown.index(index) + 1 if index in shown else None,
        )
        for index, it in enumerate(scored)
    ]
    title = f"Plausibility of {len(scored)} video{'s' if len(scored) != 1 else ''} under model {model}"
    label, bytes_per_video = scorer_label(distribution.scorers[0]), MAX_BYTES / max(1, len(shown))
    with bar("page", len(shown)) as progress:

        def cards() -> Iterator[VideoCard]:  # one video in memory at a time
            for index in shown:
                yield _card(names[index], scored[index], distribution, geometry, decode)
                progress.step()

        return write_video_page(path, title, EXPLANATION, cards(), rows, label, failed, notes, provenance, bytes_per_video)


def ends(count: int, most: int) -> list[int]:
    """Indices of the first and the last of a ranking, together `most` at most."""
    first = (min(count, most) + 1) // 2
    return [*range(first), *range(count - (min(count, most) - first), count)]


def short_names(names: Sequence[str]) -> list[str]:
    """Names without their common folder."""
    parts = [Path(name).parts for name in names]
    most = min(map(len, parts), default=1) - 1
    common = next((n for n in range(most) if len({part[n] for part in parts}) > 1), most)
    return [str(Path(*part[common:])) for part in parts]


def _card(
    name: str, scored: ScoredVideo, distribution: ReferenceDistribution, geometry: Geometry, decode: DecodeForecasts | None
) -> VideoCard:
    clip, video, result, plan = scored.named.clip, scored.surprise, scored.result, distribution.plan
    peak_s = result["scorers"][result["scorer"]]["peak_s"]
    assert peak_s is not None
    fps, length_s = min(clip.fps, MAX_FPS), clip.stop_s - clip.start_s
    from_s = min(max(0.0, peak_s - MAX_SHOWN_S / 2), max(0.0, length_s - MAX_SHOWN_S))
    count = max(1, round(min(MAX_SHOWN_S, length_s) * fps))
    times = [clip.start_s + min(from_s + index / fps, max(0.0, length_s - 0.5 / clip.fps)) for index in range(count)]
    frames: NDArray[np.uint8] | None = None
    with suppress(VideoError, OSError):
        size = inside(clip.rectangle, MAX_PX if min(clip.height, clip.width) > MAX_PX else None)
        frames = read_frames(clip.path, times_s=times, size=size, member=clip.member, folder_fps=clip.fps, timing=clip.timing)
        # as the model sees it, so that heat maps align with it
        frames = crop_square(frames) if geometry == "center_crop" else frames
    forecast = np.flatnonzero(video.window_counts)
    forecast_s = forecast / plan.fps
    is_shown = (forecast_s >= from_s - 1e-6) & (forecast_s < from_s + count / fps)
    surprise, copy_error = by_scorer(video.surprise), by_scorer(video.copy_error)
    values = {scorer_label(name): surprise[name] for name in distribution.scorers} | {COPY_LABEL: copy_error[DISTANCE]}
    curves = {label: time_course(array, plan, video.frames)[forecast][is_shown].tolist() for label, array in values.items()}
    maps = {scorer_label(name): token_course(video, name) for name in distribution.scorers}
    decoded = None
    if decode is not None and frames is not None:
        decoded = _decoded(decode, clip, plan, from_s + np.arange(count) / fps, from_s, frames.shape[1:3])
    return VideoCard(
        title=name,
        frames=frames,
        fps=fps,
        times_s=(forecast_s[is_shown] - from_s).tolist(),
        curves=curves,
        maps={label: course[is_shown] for label, course in maps.items() if course is not None},
        numbers=_numbers(result, from_s, count / fps, length_s),
        levels={
            scorer_label(name): list(zip(distribution.quantiles[name], QUANTILE_LABELS, strict=True))
            for name in distribution.scorers
        },
        note="; ".join(result["notes"]),
        decoded=decoded,
        peak_s=peak_s - from_s,
    )


def _decoded(
    decode: DecodeForecasts, clip: Clip, plan: WindowPlan, times_s: Values, from_s: float, shape: tuple[int, ...]
) -> DecodedVideos | None:
    """Decoded forecasts at `times_s` [T] of the clip, in frames of the shape (height, width) of the video.

    Frames are grey where nothing was forecast.
    """
    numbers = np.floor(times_s * plan.fps + 1e-6).astype(int)
    found = decode(clip, int(numbers[0]), int(numbers[-1]) + 1)
    if found is None:
        return None
    side = found.forecast.shape[2]
    size = (max(1, round(side * shape[0] / min(shape))), max(1, round(side * shape[1] / min(shape))))
    grey = np.full((side, side, 3), NO_FORECAST_GREY, np.uint8)
    at = [found.at(number) for number in numbers.tolist()]
    forecast, ground_truth = (
        resized(np.stack([grey if index is None else frames[index] for index in at]), size)
        for frames in (found.forecast, found.ground_truth)
    )
    start_s, contexts_s = found.times / plan.fps - from_s, found.contexts / plan.fps - from_s
    lead_s = start_s - contexts_s[:, 1] + 1 / plan.fps  # since the last frame of the context
    return DecodedVideos(
        forecast=forecast,
        ground_truth=ground_truth,
        contexts=list(zip(start_s.tolist(), *contexts_s.T.tolist(), strict=True)),
        labels=[(start, f"{lead:.2f} s ahead") for start, lead in zip(start_s.tolist(), lead_s.tolist(), strict=True)],
    )


def _numbers(result: VideoResult, from_s: float, shown_s: float, length_s: float) -> dict[str, str]:
    found = {
        "plausibility": f"{percent(result['plausibility'])} %",
        "copy-adjusted": f"{percent(result['copy_adjusted_plausibility'])} %",
    }
    for name, scorer in result["scorers"].items():
        if name != result["scorer"]:
            adjusted = percent(scorer["copy_adjusted_plausibility"])
            found[f"by {scorer_label(name)}"] = f"{percent(scorer['plausibility'])} %, copy-adjusted {adjusted} %"
    least = result["scorers"][result["scorer"]]["least_plausible"]
    compared = result["compared_with"]
    if compared["segments_of_video"] > 1:
        span = f"{seconds(least['start_s'])} to {seconds(least['stop_s'])}"
        found["least plausible segment"] = f"{percent(least['plausibility'])} %, {span}"
    found["compared with"] = (
        f"{compared['calibration_segments']} segments of {compared['calibration_videos']} calibration videos"
    )
    if shown_s < length_s - 0.5:
        found["shown"] = f"{seconds(from_s)} to {seconds(from_s + shown_s)} of {seconds(length_s)}"
    return found
