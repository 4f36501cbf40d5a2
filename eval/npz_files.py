"""Read files of named arrays (npz without pickles) with one-line errors."""

from __future__ import annotations

import io
from pathlib import Path

from numpy.typing import NDArray

from eval.errors import EvalError
from worldmodel.files.npz_files import load_npz, parse_npz
from worldmodel.storage.errors import StorageError
from worldmodel.storage.members import read_named, split_member
from worldmodel.storage.urls import is_url

MAX_BYTES = 1 << 33  # of the arrays of a file


def load_arrays(path: Path | str) -> dict[str, NDArray]:
    """All arrays of a file, each checked against its checksum. A text may name an object or a member of a tar (`TAR::NAME`).

    Raises EvalError that names a file which cannot be read.
    """
    try:
        if isinstance(path, str) and (is_url(path) or split_member(path)[1] is not None):
            return parse_npz(io.BytesIO(read_named(path, MAX_BYTES)), MAX_BYTES)
        return load_npz(Path(path), MAX_BYTES)
    except FileNotFoundError:
        raise EvalError(f"{path} is missing") from None
    except StorageError as error:
        raise EvalError(f"{error.strerror}; try again later") from None
    except ValueError as error:
        raise EvalError(f"{path} is damaged or is no npz file ({error})") from None
