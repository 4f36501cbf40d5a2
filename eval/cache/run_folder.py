"""Small results in a run folder, for evaluations where the training data is missing.

    RUN/reference/plausibility-<key>.npz    the reference distribution of `eval plausibility`
    RUN/reference/voe-<key>.npz             the calibration of `eval voe`

Only results on the run's own val split are stored. A file holds arrays and a JSON text, without
pickles. The key is a digest of the model's weights and of the protocol, so that a file is never
used for another checkpoint or protocol.
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
from worldmodel.files.json_files import parse_json
from worldmodel.manifest import Clip
from worldmodel.process.terminal import print_escaped
from worldmodel.runs.run_data import run_folder_of

FOLDER, ABOUT = "reference", "about"


@dataclass(frozen=True)
class StoredResult:
    """The content of one file: what it describes, and its arrays."""

    about: Mapping[str, Any]
    arrays: Mapping[str, NDArray]

    @property
    def clips(self) -> list[Clip]:
        """The videos that the result was computed on.

        Columns that this version's manifests do not have are left out.
        """
        known = [field.name for field in fields(Clip)]
        try:
            return [Clip(**{name: clip[name] for name in known if name in clip}) for clip in self.about["clips"]]
        except (KeyError, TypeError) as error:
            raise EvalError(f"it does not list the videos that it was computed on ({type(error).__name__}: {error})") from None


def folder_of(subject: Subject) -> Path | None:
    """The folder of a subject's stored results; None for a subject that is no run.

    A checkpoint that was exported has a folder of its own.
    """
    return None if subject.checkpoint is None else run_folder_of(subject.checkpoint) / FOLDER


def store(file: Path, about: Mapping[str, Any], arrays: Mapping[str, NDArray]) -> None:
    """Write one file atomically, unless an intact one exists.

    Nothing is written if the folder is not writable.
    """
    if load(file) is not None:
        return
    dated = {**about, "created": datetime.now(timezone.utc).isoformat(timespec="seconds")}
    try:
        file.parent.mkdir(exist_ok=True)
        write_arrays(file, {ABOUT: np.array(json.dumps(dated)), **arrays}, compressed=True)
    except OSError:  # a shared model in a read-only folder, or a full disk: the result itself is not lost
        return


def load(file: Path) -> StoredResult | None:
    """Read one file. None where it is missing; None, with a warning, where it is damaged."""
    if not file.exists():
        return None
    try:
        arrays = load_arrays(file)
        about = parse_json(str(arrays.pop(ABOUT)))
        if not isinstance(about, dict):
            raise EvalError(f"{file} does not describe its content")
        return StoredResult(about, arrays)
    except (EvalError, ValueError, KeyError) as error:
        print_escaped(f"{error}; it is ignored; it will be computed again if its videos are available", file=sys.stderr)
        return None


def load_all(folder: Path, kind: str) -> list[StoredResult]:
    """All files of a kind ("plausibility", "voe", "clips"), the newest first."""
    found = [it for file in sorted(folder.glob(f"{kind}-*.npz")) if (it := load(file)) is not None]
    return sorted(found, key=lambda it: str(it.about.get("created")), reverse=True)
