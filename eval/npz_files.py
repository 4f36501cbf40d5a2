"""Files of named arrays (npz without pickles): written whole or not at all, and read with one-line errors."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eval.errors import EvalError


def save_arrays(path: Path, arrays: Mapping[str, ArrayLike]) -> None:
    """Write a file under exactly this name. A symbolic link there is replaced, not followed."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def load_arrays(path: Path) -> dict[str, NDArray]:
    """All arrays of a file, each checked against its checksum. Raises EvalError that names a file which cannot be read."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise EvalError(f"{path} is missing") from None
    except Exception as error:  # a damaged file raises errors of zipfile, zlib, struct, tokenize and numpy
        raise EvalError(f"{path} is damaged or is no npz file ({type(error).__name__}: {error})") from None
