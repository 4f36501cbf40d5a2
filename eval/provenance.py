"""Provenance of numbers and figures: the run, its step and weights, the commit, the command."""

from __future__ import annotations

import platform
import sys
from datetime import datetime, timezone
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from worldmodel.process.git_commit import current_commit
from worldmodel.storage.secrets import recorded_command

if TYPE_CHECKING:  # results without a model are written without torch
    from eval.subject import Subject


def provenance(subject: Subject) -> dict[str, Any]:
    """The command, the versions and the model, for the head of a JSON file."""
    fields = ("name", "spec", "step", "hash", "precision")
    model = {name: getattr(subject, name) for name in fields}
    return {**environment(), "model": model}


def environment() -> dict[str, Any]:
    """The command and the versions, for a JSON file about several models."""
    return {
        "command": "python -m eval " + recorded_command(sys.argv[1:]),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": current_commit(),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("worldmodel", "torch", "numpy")},
        },
    }


def provenance_caption(source: dict[str, Any]) -> str:
    """The provenance in one line: "demo, step 2000, weights 0123abcd, commit 4567cde"."""
    model = source["model"]
    step = [] if model["step"] is None else [f"step {model['step']}"]
    precision = ["in bfloat16"] if model.get("precision") == "bf16" else []
    made = [] if source["commit"] is None else [f"commit {source['commit']}"]
    return ", ".join([model["name"], *step, f"weights {model['hash'][:8]}", *precision, *made])
