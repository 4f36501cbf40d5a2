"""What an evaluation did: OUT/protocol.json."""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from typing import Any

from eval.voe.surprise.calibration import Usual
from eval.voe.surprise.calibration_reach import NOT_WHITENED, Calibration
from eval.voe.surprise.task import Task, unread_films
from eval.voe.surprise.whitening import MOST_FEATURES
from eval.voe.trials import Film
from worldmodel.process.commit import commit

FORMAT = 1


def protocol(args: argparse.Namespace, task: Task, usual: Usual, manifest: str | None, fit: Calibration) -> dict[str, Any]:
    """What was done, for the reader and for `score`."""
    model, plan, suite = task.subject.model, task.plan, task.suite
    notes = [*suite.notes, *fit.notes, *usual.notes]
    if model is not None and not usual.whitening and not any(note.startswith(NOT_WHITENED) for note in notes):
        notes.append(
            f"{NOT_WHITENED}: at least two possible videos are needed to calibrate it; give some with --lawful MANIFEST."
        )
    if usual.whitening and model is not None and model.latent_shape[1] > MOST_FEATURES:
        notes.append(f"Whitened along {MOST_FEATURES} random directions of the {model.latent_shape[1]} features.")
    asked: dict[str, Any] = {}
    if model is not None:
        asked = {
            name: getattr(model, name)
            for name in ("target_scope", "fps", "size_px", "tubelet_size", "max_context", "max_steps", "max_span")
        }
        asked["latent"] = list(model.latent_shape)
    single = len(plan.contexts) == 1
    whitening = usual.of("locked" if task.has_locked else "free").get("model")
    return {
        "format": FORMAT,
        "command": "python -m eval " + shlex.join(sys.argv[1:]),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": commit(),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("worldmodel", "torch", "numpy", "av")},
        },
        "model": {
            "name": task.subject.name,
            "spec": task.subject.spec,
            "hash": task.subject.hash,
            "step": task.subject.update,
            **asked,
        },
        "suite": {
            **{"name": suite.name, "path": str(suite.path.resolve()), "trials": len(suite.trials), "hash": suite.hash},
            "magnitudes": dict(suite.magnitudes),
        },
        "windows": windows_of(task),
        "square": task.square,
        "lawful": lawful_hash(fit.films),
        "chosen": {"context_s": plan.contexts[0] / plan.fps if single else None, "by": "given" if single else "val"},
        "whitening": None
        if whitening is None
        else {"films": whitening.films, "manifest": manifest, "shrinkage": whitening.shrinkage},
        "foretold_without_memory": usual.foretold,
        "untrained_seeds": args.untrained_seeds if model is not None else 0,
        "left_out": unread_films(args.out / "parts"),
        "notes": notes,
    }


def windows_of(task: Task) -> dict[str, Any]:
    """How films are cut into windows, in seconds."""
    plan = task.plan
    return {
        "fps": plan.fps,
        "window_s": plan.frames / plan.fps,
        "stride_s": plan.stride / plan.fps,
        "contexts_s": [context / plan.fps for context in plan.contexts],
        "horizon_s": plan.horizon * plan.tubelet_size / plan.fps,
        "scope": task.scope,
    }


def lawful_hash(films: Sequence[Film]) -> str:
    """Of the films that usual errors are learned from, wherever they lie: 16 hex digits."""
    said = json.dumps([[film.film_id, film.fps, film.frames, film.start_frame] for film in films])
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def differences(said: Mapping[str, Any], task: Task, lawful: Sequence[Film]) -> list[str]:
    """In what a finished evaluation (its protocol.json) is another than this one, in words; empty where it is the same."""
    found = []
    if said["model"]["hash"] != task.subject.hash:
        found.append(f"the model ({said['model']['name']}, weights {said['model']['hash'][:8]}, now {task.subject.hash[:8]})")
    if said["suite"]["hash"] != task.suite.hash:
        found.append(f"the suite ({said['suite']['name']} in {said['suite']['path']})")
    if found:
        return found  # windows follow the model and the suite
    for key, value in windows_of(task).items():
        if (there := said["windows"].get(key)) != value:
            found.append(f"windows ({key} {there}, now {value})")
    if said.get("lawful", now := lawful_hash(lawful)) != now:
        found.append("lawful films")
    return found
