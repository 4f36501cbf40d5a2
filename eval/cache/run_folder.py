"""Small results that a run folder holds, so that its model can be used where its training data is missing.

    RUN/reference/score-<key>.npz      the reference distribution of `eval score`
    RUN/reference/physics-<key>.npz    the calibration of `eval physics`

Only what comes from the run's own val split is stored. A file holds arrays and a JSON text, without pickles. The key is a
digest of the model's weights and of the protocol: neither another checkpoint nor another protocol takes a file for its own.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.errors import EvalError
from eval.npz_files import load_arrays
from eval.subject import Subject
from worldmodel.files.atomic import write_arrays
from worldmodel.files.json_files import parsed
from worldmodel.manifest import Clip
from worldmodel.process.terminal import say
from worldmodel.runs.run_data import run_folder_of

FOLDER, ABOUT = "reference", "about"


@dataclass(frozen=True)
class Stored:
    """One file: what it is of, and its numbers."""

    about: Mapping[str, Any]
    arrays: Mapping[str, NDArray]

    @property
    def clips(self) -> list[Clip]:
        """The videos that it was made of; columns that this version's manifests do not have are left out."""
        known = [field.name for field in fields(Clip)]
        try:
            return [Clip(**{name: clip[name] for name in known if name in clip}) for clip in self.about["clips"]]
        except (KeyError, TypeError) as error:
            raise EvalError(f"it does not say which videos it was made of ({type(error).__name__}: {error})") from None


def folder_of(subject: Subject) -> Path | None:
    """Where results of a subject are stored; None for one that is no run."""
    return None if subject.checkpoint is None else run_folder_of(subject.checkpoint) / FOLDER


def store(file: Path, about: Mapping[str, Any], arrays: Mapping[str, NDArray]) -> None:
    """Write one file, whole or not at all, unless a whole one is there. A folder that cannot be written to is left as it is."""
    if load(file) is not None:
        return
    said = {**about, "created": datetime.now(timezone.utc).isoformat(timespec="seconds")}
    try:
        file.parent.mkdir(exist_ok=True)
        write_arrays(file, {ABOUT: np.array(json.dumps(said)), **arrays}, compressed=True)
    except OSError:  # a shared model in a read-only folder, or a full disk: the result itself is not lost
        return


def load(file: Path) -> Stored | None:
    """None where there is no such file; None, with a word, where it is damaged."""
    if not file.exists():
        return None
    try:
        arrays = load_arrays(file)
        about = parsed(str(arrays.pop(ABOUT)))
        if not isinstance(about, dict):
            raise EvalError(f"{file} does not say what it holds")
        return Stored(about, arrays)
    except (EvalError, ValueError, KeyError) as error:
        say(f"{error}; it is ignored; it will be computed again if its videos are available", file=sys.stderr)
        return None


def load_all(folder: Path, kind: str) -> list[Stored]:
    """All files of a kind ("score", "physics"), the newest first."""
    found = [it for file in sorted(folder.glob(f"{kind}-*.npz")) if (it := load(file)) is not None]
    return sorted(found, key=lambda it: str(it.about.get("created")), reverse=True)
