"""Record of the files that a command wrote to a folder. A command replaces these files and no others.

    FOLDER/.outputs.jsonl    one row per written file: its name and the SHA-256 of its content

A name is recorded without a digest before the file is written, so that a command may replace the
files of an earlier run that was killed. This module does not import torch.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from worldmodel.files.folder_lock import FolderLock, FolderLockError, lock_folder
from worldmodel.files.log_rows import append_row, read_rows
from worldmodel.files.regular_file import open_regular

RECORD = ".outputs.jsonl"
GIVE_ANOTHER_OUT = "give another --out"
_UNFINISHED = ""  # instead of a digest: the command still runs, or was killed


class ForeignFileError(ValueError):
    """A command would overwrite a file that it did not write."""


@contextlib.contextmanager
def output_folder(
    folder: Path, names: Iterable[str], advice: str = GIVE_ANOTHER_OUT, adopt_unrecorded: bool = False
) -> Iterator[FolderLock]:
    """Lock a folder and record these files and folders as written by this command.

    See `lock_folder` and `record_outputs`.
    """
    with (
        lock_folder(folder, advice) as lock,
        record_outputs(folder, names, advice, adopt_unrecorded=adopt_unrecorded, lock=lock),
    ):
        yield lock


@contextlib.contextmanager
def output_file(path: Path, advice: str = GIVE_ANOTHER_OUT, adopt_unrecorded: bool = False) -> Iterator[None]:
    """Record one file, which is replaced atomically, as written by this command; see `record_outputs`."""
    with record_outputs(path.absolute().parent, [path.name], advice, adopt_unrecorded=adopt_unrecorded):
        yield


@contextlib.contextmanager
def record_outputs(
    folder: Path,
    names: Iterable[str],
    advice: str = GIVE_ANOTHER_OUT,
    *,
    owned: bool = False,
    adopt_unrecorded: bool = False,
    lock: FolderLock | None = None,
) -> Iterator[None]:
    """Record these files (or folders) as written by this command, which writes them inside the context.

    owned: the whole folder belongs to the command; the record is not checked. adopt_unrecorded:
    files without a record belong to the command, because an earlier version wrote them. lock: the
    lock of the folder; after it is lost, nothing more is written. advice: the end of the error
    message.

    Raises ForeignFileError before anything is written, where one of the files exists and differs
    from the record.
    """
    wanted = tuple(dict.fromkeys(names))
    if not owned and (foreign := [name for name in wanted if not _may_replace(folder, name, adopt_unrecorded)]):
        more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        raise ForeignFileError(
            f"{folder / foreign[0]}{more} would be overwritten, but was not written by this command, or was changed since. "
            f"Move it away, or {advice}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name in wanted:
        append_row(folder / RECORD, {"file": name, "sha256": _UNFINISHED})
    try:
        yield
    finally:
        with contextlib.suppress(OSError, FolderLockError):
            if lock is not None:
                lock.check()
            _record_digests(folder, wanted)


def _record_digests(folder: Path, names: Sequence[str]) -> None:
    """Record the digests of written files. Remove the record where none of its files exists."""
    if not folder.is_dir():
        return
    for name in names:
        if (folder / name).is_file():
            append_row(folder / RECORD, {"file": name, "sha256": sha256_of(folder / name)})
        elif not os.path.lexists(folder / name):
            append_row(folder / RECORD, {"file": name, "sha256": None})  # a later file of this name belongs to another program
    if not any(os.path.lexists(folder / str(row.get("file"))) for row in read_rows(folder / RECORD)):
        (folder / RECORD).unlink()


def _may_replace(folder: Path, name: str, adopt_unrecorded: bool) -> bool:
    path = folder / name
    if not os.path.lexists(path):
        return True
    digests = [row.get("sha256") for row in read_rows(folder / RECORD) if row.get("file") == name]
    if not digests or digests[-1] is None:
        return adopt_unrecorded and not digests
    return digests[-1] == _UNFINISHED or (path.is_file() and digests[-1] == sha256_of(path))


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content as 64 hex digits. Raises OSError."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
