"""The calibration of `eval physics` in the run folder, for use where the run's val split is missing."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eval.cache import run_folder as run_reference
from eval.errors import EvalError
from eval.subject import Subject
from eval.voe.surprise.calibration import Usual
from eval.voe.surprise.whitening import Whitening
from worldmodel.manifest import Clip
from worldmodel.process.terminal import say

KIND, CLIPS, FORMAT = "physics", "clips", 1


@dataclass(frozen=True)
class CalibrationFolder:
    """FOLDER/physics-<key>.npz: calibrations, the key being of the weights and of all else that determines them.

    FOLDER/clips-<key>.npz lists the possible videos that they were made of: paths and lengths, from which windows follow.
    `instead`: those videos are missing, so that nothing but a stored calibration can be used.
    """

    folder: Path
    manifest: str
    clips: Sequence[Clip]
    instead: bool

    @classmethod
    def of(cls, subject: Subject, manifest: str | None, clips: Sequence[Clip]) -> CalibrationFolder | None:
        """For these videos of a run's val split; where none of them is there, for those of its stored calibrations.

        None where the subject is no run, or where there is nothing of either.
        """
        folder = run_reference.folder_of(subject)
        if folder is None:
            return None
        if manifest is not None and any(os.path.exists(clip.path) for clip in clips):
            return cls(folder, manifest, clips, instead=False)
        for stored in run_reference.load_all(folder, CLIPS):
            try:
                manifest_there = stored.about.get("manifest")
                if not isinstance(manifest_there, str):
                    raise EvalError("it does not name its manifest")
                return cls(folder, manifest_there, stored.clips, instead=True)
            except EvalError as error:
                say(f"{folder}: a stored list of videos is ignored: {error}", file=sys.stderr)
        return None

    def find(self, asked: Mapping[str, Any]) -> Usual | None:
        """The calibration that was stored for exactly this; None where there is none."""
        stored = run_reference.load(self._file(asked))
        if stored is None:
            return None
        try:
            return _calibration(stored)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            what = f"{type(error).__name__}: {error}"
            say(f"{self._file(asked)} does not hold a calibration ({what}); it is ignored", file=sys.stderr)
            return None

    def store(self, asked: Mapping[str, Any], usual: Usual) -> None:
        """Unless it is there, the folder cannot be written to, or some of the videos could not be used."""
        if not usual.whitening or not all(os.path.exists(clip.path) for clip in self.clips):
            return
        said = {"manifest": self.manifest, "clips": [asdict(clip) for clip in self.clips]}
        run_reference.store(self.folder / f"{CLIPS}-{_digest(said)}.npz", said, {})
        fits = {name: fit.numbers for name, fit in usual.whitening.items()}
        arrays = {f"{name}/{part}": array for name, fit in usual.whitening.items() for part, array in fit.arrays.items()}
        about = {"asked": asked, "fits": fits, "foretold": usual.foretold, "notes": usual.notes}
        run_reference.store(self._file(asked), about, arrays)

    def _file(self, asked: Mapping[str, Any]) -> Path:
        return self.folder / f"{KIND}-{_digest({'format': FORMAT, **asked})}.npz"


def _digest(said: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


def _calibration(stored: run_reference.Stored) -> Usual:
    """Raises KeyError, TypeError, ValueError or AttributeError where a file lacks something or holds it in another type."""
    fits: dict[str, dict[str, Any]] = {}
    for name, array in stored.arrays.items():
        fit, _, part = name.rpartition("/")
        fits.setdefault(fit, {})[part] = array
    numbers, notes = stored.about["fits"], tuple(stored.about["notes"])
    whitening = {name: Whitening.of_arrays(numbers[name], fits[name]) for name in numbers}
    return Usual(whitening, stored.about["foretold"], notes)
