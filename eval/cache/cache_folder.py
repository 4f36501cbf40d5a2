"""The cache folder, which holds results for later evaluations."""

from __future__ import annotations

import getpass
import os
import sys
import tempfile
from pathlib import Path

from eval.errors import EvalError
from worldmodel.process.terminal import print_escaped

_announced: set[Path] = set()  # folders whose replacement was printed


def cache_folder() -> Path:
    """The folder of the cache.

    It is $XDG_CACHE_HOME/worldmodel, else ~/.cache/worldmodel, else, where that cannot be written,
    a temporary folder.

    The temporary folder is the same for all processes of a user. Raises EvalError where it cannot
    be written either.
    """
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "worldmodel"
        problem = _why_not_writable(folder)
    except RuntimeError as error:  # there is no home folder
        folder, problem = Path("~/.cache/worldmodel"), str(error)
    if not problem:
        return folder
    instead = Path(tempfile.gettempdir()) / f"worldmodel-cache-{_user()}"
    advice = "set XDG_CACHE_HOME to a folder that can be written"
    if (also := _why_not_writable(instead)) or _is_of_another_user(instead):
        raise EvalError(
            f"neither the cache folder {folder} ({problem}) nor {instead} ({also or 'it belongs to another user'}) can be "
            f"written; {advice}"
        )
    if folder not in _announced and os.environ.get("RANK", "0") == "0":
        _announced.add(folder)
        print_escaped(
            f"the cache folder {folder} cannot be written ({problem}); using {instead}. To change that, {advice}",
            file=sys.stderr,
        )
    return instead


def _why_not_writable(folder: Path) -> str:
    """Why no file can be made in a folder, which is created first; empty where one can."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def _is_of_another_user(folder: Path) -> bool:
    return folder.is_symlink() or (hasattr(os, "getuid") and folder.stat().st_uid != os.getuid())


def _user() -> str:
    return str(os.getuid()) if hasattr(os, "getuid") else getpass.getuser()
