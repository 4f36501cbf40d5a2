"""Read files of named arrays (npz without pickles) with one-line errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eval.errors import EvalError


def load_arrays(path: Path) -> dict[str, NDArray]:
    """All arrays of a file, each checked against its checksum. Raises EvalError that names a file which cannot be read."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise EvalError(f"{path} is missing") from None
    except Exception as error:  # a damaged file raises errors of zipfile, zlib, struct, tokenize and numpy
        raise EvalError(f"{path} is damaged or is no npz file ({type(error).__name__}: {error})") from None
