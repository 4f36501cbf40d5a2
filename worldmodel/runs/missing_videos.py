"""Creation of missing training videos, for recipes that say how their videos are made (data.make)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from worldmodel.data.loader import DataConfig, DataError


def make_missing_videos(data: DataConfig) -> None:
    """Run `python -m data_prep` with the arguments `data.make` if a manifest is missing. Raises DataError if that fails.

    It does not run if the command would write to other folders than the manifest's, as from another working directory.
    """
    missing = [path for path in data.manifests if not Path(path).exists()]
    outputs = {Path(os.path.abspath(argument)) for argument in data.make or ()}
    if not data.make or not any(outputs & {Path(path), *Path(path).parents} for path in missing):
        return
    command = " ".join(("python -m data_prep", *data.make))
    print(f"{missing[0]} is missing; making it: {command}", flush=True)
    if subprocess.run([sys.executable, "-m", "data_prep", *data.make], check=False).returncode:
        raise DataError(f"`{command}` failed; see its message above")
