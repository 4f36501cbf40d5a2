"""Read files of named arrays (npz without pickles) with one-line errors."""

from __future__ import annotations

from pathlib import Path

from numpy.typing import NDArray

from eval.errors import EvalError
from worldmodel.files.npz_files import load_npz

MAX_BYTES = 1 << 33  # of the arrays of a file


def load_arrays(path: Path) -> dict[str, NDArray]:
    """All arrays of a file, each checked against its checksum.

    Raises EvalError that names a file which cannot be read.
    """
    try:
        return load_npz(path, MAX_BYTES)
    except FileNotFoundError:
        raise EvalError(f"{path} is missing") from None
    except ValueError as error:
        raise EvalError(f"{path} is damaged or is no npz file ({error})") from None
