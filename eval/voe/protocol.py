"""The protocol of an evaluation: OUT/protocol.json."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from eval.cache.keys import source_digest
from eval.provenance import environment
from eval.voe.surprise.calibration import Calibration
from eval.voe.surprise.calibration_videos import NOT_WHITENED, CalibrationPlan
from eval.voe.surprise.task import VoeTask
from eval.voe.surprise.video_batches import unread_videos
from eval.voe.surprise.whitening import MAX_FEATURES
from eval.voe.trials import Video

FORMAT = 2
MODEL_FIELDS = ("target_scope", "fps", "size_px", "tubelet_size", "max_context", "max_horizon", "max_span")


@dataclass(frozen=True)
class Extras:
    """What an evaluation computes beside the traces of a model. A pixel baseline has none of it."""

    untrained_seeds: int = 0
    ablate_whitening: bool = False
    maps: bool = False
    """Maps of surprise of all videos, not only of those that the report shows."""


def describe_protocol(
    task: VoeTask,
    calibration: Calibration,
    manifest: str | None,
    calibration_plan: CalibrationPlan,
    extras: Extras,
    parts: Path,
) -> dict[str, Any]:
    """The protocol, for readers and for the computation of scores.

    manifest: of the calibration videos. parts: folder of the finished pieces, with the reasons for
    videos that are missing.
    """
    model, plan, suite = task.subject.model, task.plan, task.suite
    notes = [*suite.notes, *calibration_plan.notes, *calibration.notes]
    if model is not None and not calibration.whitening and not any(note.startswith(NOT_WHITENED) for note in notes):
        notes.append(
            f"{NOT_WHITENED}: at least two possible videos are needed to calibrate it; give some with --calibration MANIFEST."
        )
    if calibration.whitening and model is not None and model.latent_shape[1] > MAX_FEATURES:
        notes.append(f"Whitened along {MAX_FEATURES} random directions of the {model.latent_shape[1]} features.")
    fields: dict[str, Any] = {}
    if model is not None:
        fields = {**{name: getattr(model, name) for name in MODEL_FIELDS}, "latent": list(model.latent_shape)}
    single = len(plan.contexts) == 1
    whitening = calibration.full_fits("locked" if task.has_locked else "sliding").get("model")
    origin = environment()
    return {
        "format": FORMAT,
        **origin,
        "versions": {**origin["versions"], "av": version("av")},
        "model": {
            "name": task.subject.name,
            "spec": task.subject.spec,
            "hash": task.subject.hash,
            "step": task.subject.step,
            "precision": task.subject.precision,
            **fields,
        },
        "suite": {
            "name": suite.name,
            "title": suite.title,
            "path": str(suite.path.resolve()),
            "trials": len(suite.trials),
            "hash": suite.hash,
            "magnitudes": dict(suite.magnitudes),
        },
        "windows": describe_windows(task),
        "geometry": task.geometry,
        "calibration_hash": videos_hash(calibration_plan.videos),
        "chosen": {"context_s": plan.contexts[0] / plan.fps if single else None, "by": "given" if single else "val"},
        "whitening": None
        if whitening is None
        else {"videos": whitening.videos, "manifest": manifest, "shrinkage": whitening.shrinkage},
        "control_slope": calibration.control_slope,
        "untrained_seeds": extras.untrained_seeds,
        "ablate_whitening": extras.ablate_whitening,
        "maps_of_all_videos": extras.maps,
        "code": source_digest(),
        "left_out": unread_videos(parts),
        "notes": notes,
    }


def describe_windows(task: VoeTask) -> dict[str, Any]:
    """How videos are cut into windows, in seconds."""
    plan = task.plan
    return {
        "fps": plan.fps,
        "window_s": plan.frames / plan.fps,
        "stride_s": plan.stride / plan.fps,
        "contexts_s": [context / plan.fps for context in plan.contexts],
        "horizon_s": plan.horizon * plan.tubelet_size / plan.fps,
        "scope": task.scope,
    }


def videos_hash(videos: Sequence[Video]) -> str:
    """Digest of the calibration videos, independent of their folder: 16 hex digits."""
    rows = json.dumps([[video.video_id, video.fps, video.frames, video.start_s or video.start_frame] for video in videos])
    return hashlib.sha256(rows.encode()).hexdigest()[:16]


def differences(protocol: Mapping[str, Any], task: VoeTask, calibration_videos: Sequence[Video]) -> list[str]:
    """How a finished evaluation (its protocol.json) differs from this task, in words."""
    found = []
    if protocol["model"]["hash"] != task.subject.hash:
        theirs, mine = protocol["model"]["hash"][:8], task.subject.hash[:8]
        found.append(f"the model ({protocol['model']['name']}, weights {theirs}, now {mine})")
    if protocol["suite"]["hash"] != task.suite.hash:
        found.append(f"the suite ({protocol['suite']['name']} in {protocol['suite']['path']})")
    if found:
        return found  # windows follow the model and the suite
    if (precision := protocol["model"].get("precision", "fp32")) != task.subject.precision:
        found.append(f"the precision of the model ({precision}, now {task.subject.precision})")
    for key, value in describe_windows(task).items():
        if (before := protocol["windows"].get(key)) != value:
            found.append(f"windows ({key} {before}, now {value})")
    if (geometry := protocol.get("geometry")) != task.geometry:
        found.append(f"the spatial geometry ({geometry}, now {task.geometry})")
    if protocol.get("calibration_hash", now := videos_hash(calibration_videos)) != now:
        found.append("calibration videos")
    return found
