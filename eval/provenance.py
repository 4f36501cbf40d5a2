"""Where numbers and figures come from: the run, its update and weights, the commit, the command."""

from __future__ import annotations

import platform
import shlex
import sys
from datetime import datetime, timezone
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from worldmodel.process.commit import commit

if TYPE_CHECKING:  # what is made without a model is made without torch
    from eval.subject import Subject


def provenance(subject: Subject) -> dict[str, Any]:
    """For the head of a JSON file."""
    model = {"name": subject.name, "spec": subject.spec, "step": subject.update, "hash": subject.hash}
    return {**circumstances(), "model": model}


def circumstances() -> dict[str, Any]:
    """The same of what is of several models."""
    return {
        "command": "python -m eval " + shlex.join(sys.argv[1:]),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": commit(),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("worldmodel", "torch", "numpy")},
        },
    }


def named(source: dict[str, Any]) -> str:
    """For a caption: "demo, update 2000, weights 0123abcd, commit 4567cde"."""
    model = source["model"]
    update = [] if model["step"] is None else [f"update {model['step']}"]
    made = [] if source["commit"] is None else [f"commit {source['commit']}"]
    return ", ".join([model["name"], *update, f"weights {model['hash'][:8]}", *made])
