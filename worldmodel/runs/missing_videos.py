"""Creation of missing training videos, for recipes with a command that makes them (data.make)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from worldmodel.data.loader import DataConfig, DataError
from worldmodel.storage.urls import is_url


def make_missing_videos(data: DataConfig) -> None:
    """Run `python -m data_prep` with the arguments `data.make` if a manifest is missing. Raises DataError if that fails.

    The command does not run if it would write to a folder other than the manifest's, for example in another working directory.
    """
    missing = [path for path in data.manifests if not is_url(path) and not Path(path).exists()]
    outputs = {Path(os.path.abspath(argument)) for argument in data.make or ()}
    if not data.make or not any(outputs & {Path(path), *Path(path).parents} for path in missing):
        return
    command = " ".join(("python -m data_prep", *data.make))
    print(f"{missing[0]} is missing; making it: {command}", flush=True)
    if subprocess.run([sys.executable, "-m", "data_prep", *data.make], check=False).returncode:
        raise DataError(f"`{command}` failed; see its message above")
