"""The possible videos that a model is calibrated on, and the horizon that they allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from eval.errors import EvalError
from eval.subject import Subject
from eval.voe.suites import Suite
from eval.voe.surprise.stored_calibration import CalibrationFolder
from eval.voe.surprise.windows import WindowPlan
from eval.voe.trials import Video
from worldmodel.manifest import Clip, Manifest
from worldmodel.runs.run_data import RunData, find_data
from worldmodel.video.selection import frame_count_at

MAX_CALIBRATION_VIDEOS = 400  # a run's val split may hold millions
NOT_WHITENED = "No whitened surprise"
MIN_CALIBRATION_VIDEOS = 2  # for a covariance between videos


def calibration_clips(given: str | None, of_suite: str | None, subject: Subject) -> tuple[str | None, list[Clip]]:
    """(manifest, clips) of the given manifest, else of the suite's, else of the run's.

    The clips are of split val, because a run was trained on the others. A given manifest without
    val gives split train.
    """
    path = given or of_suite or _with_val(run_data(subject))
    if path is None:
        return None, []
    manifest = Manifest.open(path)
    rows = manifest.rows("val")
    if not len(rows) and given:
        rows = manifest.rows("train")
    return str(path), [manifest.clip(row) for row in rows[:MAX_CALIBRATION_VIDEOS].tolist()]


def run_data(subject: Subject) -> RunData:
    """The training data of a subject."""
    return RunData((), ()) if subject.recipe is None else find_data(subject.recipe, subject.checkpoint)


def _with_val(data: RunData) -> Path | str | None:
    """The first manifest that exists and has a val split, else the first that exists."""
    found = [path for path in data.manifests if path is not None]
    return next((path for path in found if len(Manifest.open(path).rows("val"))), found[0] if found else None)


@dataclass(frozen=True)
class CalibrationSource:
    """The videos to calibrate on, and the calibrations in a run folder for them."""

    manifest: str | None = None
    videos: Sequence[Video] = ()
    stored: CalibrationFolder | None = None  # None where the videos are not of the run's own val split


def find_calibration_videos(given: str | None, suite: Suite, subject: Subject) -> CalibrationSource:
    """Videos of the given manifest, else of the suite's, else of the run's val split.

    Calibrations on a run's val split are stored in the run folder. If that split is missing, the videos
    of a stored calibration are used.
    """
    if subject.model is None:
        return CalibrationSource()
    manifest, clips = calibration_clips(given, suite.calibration, subject)
    stored = None if given or suite.calibration else CalibrationFolder.of(subject, manifest, clips)
    if stored is not None:
        manifest, clips = stored.manifest, list(stored.clips)
    longest_s = max((video.frames / video.fps for trial in suite.trials for video in trial.videos), default=0.0)
    videos = []
    for clip in clips:
        if clip.member is None:
            frames = min(clip.frames_at(clip.fps), max(1, round(longest_s * clip.fps)))
            start_s = clip.start_s or None  # at the start of the file, the key of a video is that of earlier versions
            videos.append(Video(clip.clip_id, clip.path, clip.fps, frames, True, crop=clip.crop, start_s=start_s))
    return CalibrationSource(manifest, videos, stored)


@dataclass(frozen=True)
class CalibrationPlan:
    """The videos that errors are calibrated on, and the plan of windows that they allow."""

    plan: WindowPlan
    videos: Sequence[Video]  # none where nothing can be calibrated
    notes: tuple[str, ...] = ()  # what was changed, and why


def plan_calibration(plan: WindowPlan, source: CalibrationSource, horizon: str | None) -> CalibrationPlan:
    """Lower the plan's horizon to what the calibration videos reach.

    Without two usable videos nothing is calibrated and the horizon does not change. Raises EvalError
    if the user gave a `horizon` that they do not reach.
    """
    if source.manifest is None:
        return CalibrationPlan(plan, ())
    lengths = [frame_count_at(video.frames, video.fps, plan.fps) for video in source.videos]
    reached = reachable_steps(plan, lengths)
    step_s = plan.tubelet_size / plan.fps
    if reached == 0:
        needed = min(plan.contexts) + plan.tubelet_size
        found = f"{len(lengths)} possible video{'' if len(lengths) == 1 else 's'}"
        longest = f", the longest of {max(lengths)} frames" if lengths else ""
        return CalibrationPlan(
            plan,
            (),
            (
                f"{NOT_WHITENED}: {source.manifest} has {found} for calibration{longest}; at least "
                f"{MIN_CALIBRATION_VIDEOS} of {needed} frames at {plan.fps:g} frames/s are needed. Give others with "
                "--calibration MANIFEST.",
            ),
        )
    if reached >= plan.horizon:
        return CalibrationPlan(plan, source.videos)
    if horizon is not None:
        raise EvalError(
            f"--horizon {horizon} is {plan.horizon} latent steps, but the possible videos of {source.manifest}, on which "
            f"errors are calibrated, reach {reached}; give --horizon {reached * plan.tubelet_size} (frames), or longer "
            "videos with --calibration MANIFEST"
        )
    lowered, whole = (f"{steps * step_s:.3g} s ({steps} latent steps)" for steps in (reached, plan.horizon))
    note = (
        f"Forecasts are evaluated up to {lowered} instead of {whole}: the possible videos of {source.manifest}, on which "
        "errors are calibrated, are too short for more. Longer ones can be given with --calibration MANIFEST."
    )
    return CalibrationPlan(replace(plan, horizon=reached), source.videos, (note,))


def reachable_steps(plan: WindowPlan, lengths: Sequence[int]) -> int:
    """Latent steps that windows of at least two videos of these lengths reach; 0 without two."""
    steps = {length: max((window.steps for window in plan.for_calibration(length)), default=0) for length in set(lengths)}
    reached = sorted((steps[length] for length in lengths), reverse=True)
    return reached[MIN_CALIBRATION_VIDEOS - 1] if len(reached) >= MIN_CALIBRATION_VIDEOS else 0
