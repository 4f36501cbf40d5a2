"""Read files of named arrays (npz) of unknown origin, without pickles and with a limit of memory."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from worldmodel.files.regular_file import open_regular


def load_npz(path: Path, max_bytes: int) -> dict[str, NDArray]:
    """Load all arrays and verify their checksums.

    Raises FileNotFoundError where there is no file, and ValueError for every other problem: damaged
    files cause many types of errors, and a small file may claim to hold terabytes.
    """
    try:
        with open_regular(path) as file:
            return parse_npz(file, max_bytes)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None


def parse_npz(file: BinaryIO, max_bytes: int) -> dict[str, NDArray]:
    """Load all arrays of an open file and verify their checksums. Raises ValueError for every problem."""
    try:
        size = sum(entry.file_size for entry in zipfile.ZipFile(file).infolist())
        if size > max_bytes:
            raise ValueError(f"its arrays have {size:,} bytes; at most {max_bytes:,} are read")
        file.seek(0)
        with np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except ValueError as error:
        raise ValueError(str(error)) from None
    except Exception as error:  # zipfile, zlib, struct, tokenize and numpy raise many types
        raise ValueError(f"{type(error).__name__}: {error}") from None
