"""What an evaluation did: OUT/protocol.json."""

from __future__ import annotations

import argparse
import platform
import shlex
import sys
from datetime import datetime, timezone
from importlib.metadata import version
from typing import Any

from eval.surprise.task import Task, unread_films
from eval.surprise.usual import Usual
from eval.surprise.whitening import MOST_FEATURES
from worldmodel.commit import commit

FORMAT = 1


def protocol(args: argparse.Namespace, task: Task, usual: Usual, manifest: str | None) -> dict[str, Any]:
    """What was done, for the reader and for `score`."""
    model, plan, suite = task.subject.model, task.plan, task.suite
    notes = list(suite.notes)
    if model is not None and not usual.whitening:
        notes.append(
            "No whitened surprise: there were no lawful films to learn usual errors from; give some with --lawful MANIFEST."
        )
    if usual.whitening and model is not None and model.latent_shape[1] > MOST_FEATURES:
        notes.append(f"Whitened along {MOST_FEATURES} random directions of the {model.latent_shape[1]} features.")
    asked: dict[str, Any] = {}
    if model is not None:
        asked = {
            name: getattr(model, name)
            for name in ("target_scope", "fps", "size_px", "frames_per_latent", "max_context", "max_steps", "max_span")
        }
        asked["latent"] = list(model.latent_shape)
    single = len(plan.contexts) == 1
    fit = usual.of("locked" if task.has_locked else "free").get("model")
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
            "update": task.subject.update,
            **asked,
        },
        "suite": {
            **{"name": suite.name, "path": str(suite.path.resolve()), "trials": len(suite.trials), "hash": suite.hash},
            "magnitudes": dict(suite.magnitudes),
        },
        "windows": {
            "fps": plan.fps,
            "window_s": plan.frames / plan.fps,
            "stride_s": plan.stride / plan.fps,
            "contexts_s": [context / plan.fps for context in plan.contexts],
            "horizon_s": plan.horizon * plan.frames_per_latent / plan.fps,
            "scope": task.scope,
        },
        "square": task.square,
        "chosen": {"context_s": plan.contexts[0] / plan.fps if single else None, "by": "given" if single else "val"},
        "whitening": None if fit is None else {"films": fit.films, "manifest": manifest, "shrinkage": fit.shrinkage},
        "foretold_without_memory": usual.foretold,
        "untrained_seeds": args.untrained_seeds if model is not None else 0,
        "left_out": unread_films(args.out / "parts"),
        "notes": notes,
    }
