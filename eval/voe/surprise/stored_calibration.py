"""Calibrations of `eval voe` in the run folder, for use where the run's val split is missing."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eval.cache import run_folder
from eval.cache.keys import digest_of
from eval.errors import EvalError
from eval.subject import Subject
from eval.voe.surprise.calibration import Calibration
from eval.voe.surprise.whitening import ErrorKey, Whitening
from worldmodel.manifest import Clip
from worldmodel.process.terminal import print_escaped

KIND, CLIPS, FORMAT = "voe", "clips", 2


@dataclass(frozen=True)
class CalibrationFolder:
    """The calibrations in a run folder.

    FOLDER/voe-<key>.npz: one calibration. The key is a digest of the weights and of everything else
    that determines it.

    FOLDER/clips-<key>.npz lists the possible videos that they were fitted on: paths and lengths,
    which determine the windows. instead: those videos are missing, so only a stored calibration can
    be used.
    """

    folder: Path
    manifest: str
    clips: Sequence[Clip]
    instead: bool

    @classmethod
    def of(cls, subject: Subject, manifest: str | None, clips: Sequence[Clip]) -> CalibrationFolder | None:
        """The folder for these clips of a run's val split.

        If none of their files exists, it is for the clips of a stored calibration. None if the
        subject is not a run, or if there is no stored calibration either.
        """
        folder = run_folder.folder_of(subject)
        if folder is None:
            return None
        if manifest is not None and any(os.path.exists(clip.path) for clip in clips):
            return cls(folder, manifest, clips, instead=False)
        for stored in run_folder.load_all(folder, CLIPS):
            try:
                stored_manifest = stored.about.get("manifest")
                if not isinstance(stored_manifest, str):
                    raise EvalError("it does not name its manifest")
                return cls(folder, stored_manifest, stored.clips, instead=True)
            except EvalError as error:
                print_escaped(f"{folder}: a stored list of videos is ignored: {error}", file=sys.stderr)
        return None

    def find(self, inputs: Mapping[str, Any]) -> Calibration | None:
        """The calibration that was stored for exactly these inputs, if any."""
        stored = run_folder.load(self._file(inputs))
        if stored is None:
            return None
        try:
            return _calibration(stored)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            what = f"{type(error).__name__}: {error}"
            print_escaped(f"{self._file(inputs)} does not hold a calibration ({what}); it is ignored", file=sys.stderr)
            return None

    def store(self, inputs: Mapping[str, Any], calibration: Calibration) -> None:
        """Store a calibration, unless it exists, the folder is read-only, or a video is missing."""
        if not calibration.whitening or not all(os.path.exists(clip.path) for clip in self.clips):
            return
        listed = {"manifest": self.manifest, "clips": [asdict(clip) for clip in self.clips]}
        run_folder.store(self.folder / f"{CLIPS}-{digest_of(listed)}.npz", listed, {})
        fits = {str(key): fit.numbers for key, fit in calibration.whitening.items()}
        arrays = {f"{key}/{part}": array for key, fit in calibration.whitening.items() for part, array in fit.arrays.items()}
        about = {
            "inputs": inputs,
            "fits": fits,
            "control_slope": calibration.control_slope,
            "notes": calibration.notes,
        }
        run_folder.store(self._file(inputs), about, arrays)

    def _file(self, inputs: Mapping[str, Any]) -> Path:
        return self.folder / f"{KIND}-{digest_of({'format': FORMAT, **inputs})}.npz"


def _calibration(stored: run_folder.StoredResult) -> Calibration:
    """Raises KeyError, TypeError, ValueError or AttributeError for unexpected content."""
    arrays: dict[str, dict[str, Any]] = {}
    for name, array in stored.arrays.items():
        fit, _, part = name.rpartition("/")
        arrays.setdefault(fit, {})[part] = array
    numbers, notes = stored.about["fits"], tuple(stored.about["notes"])
    whitening = {ErrorKey.parse(name): Whitening.of_arrays(numbers[name], arrays[name]) for name in numbers}
    return Calibration(whitening, stored.about["control_slope"], notes)
