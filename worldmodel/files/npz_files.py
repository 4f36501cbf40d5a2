"""Files of named arrays (npz) that somebody else may have written: no pickles, and no more memory than a limit."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worldmodel.files.regular_file import open_regular


def load_npz(path: Path, most_bytes: int) -> dict[str, NDArray]:
    """All arrays, each checked against its checksum.

    Raises FileNotFoundError where there is no file, and ValueError for everything else: a damaged one raises many types of
    error, and a small one may claim to hold terabytes.
    """
    try:
        with open_regular(path) as file:
            size = sum(entry.file_size for entry in zipfile.ZipFile(file).infolist())
            if size > most_bytes:
                raise ValueError(f"its arrays have {size:,} bytes; at most {most_bytes:,} are read")
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
    except FileNotFoundError:
        raise
    except ValueError as error:
        raise ValueError(str(error)) from None
    except Exception as error:  # of zipfile, zlib, struct, tokenize and numpy
        raise ValueError(f"{type(error).__name__}: {error}") from None
