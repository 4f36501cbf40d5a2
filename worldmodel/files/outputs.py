"""Which files of a folder a command made, so that it replaces those alone and nobody else's.

    FOLDER/.outputs.jsonl    a row for each file that a command writes: its name, and the SHA-256 of what was written

A name is noted without a digest before it is written, so that a command that was killed may replace what it left. No torch.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from worldmodel.files.folder_lock import FolderLock, FolderLockError, hold_folder
from worldmodel.files.regular_file import open_regular
from worldmodel.runs.log_rows import append_row, read_rows

RECORD = ".outputs.jsonl"
ANOTHER_OUT = "give another --out"
_BEGUN = ""  # instead of a digest: the command that writes it has not ended, or was killed


class ForeignFileError(ValueError):
    """A file stands where a command would write, and the command did not make it."""


@contextlib.contextmanager
def output_folder(folder: Path, names: Iterable[str], instead: str = ANOTHER_OUT, adopt: bool = False) -> Iterator[FolderLock]:
    """Lock a folder and write these files and folders into it; see `hold_folder` and `writing`."""
    with hold_folder(folder, instead) as lock, writing(folder, names, instead, adopt=adopt, lock=lock):
        yield lock


@contextlib.contextmanager
def output_file(path: Path, instead: str = ANOTHER_OUT, adopt: bool = False) -> Iterator[None]:
    """Write one file, which its writer replaces as a whole; see `writing`."""
    with writing(path.absolute().parent, [path.name], instead, adopt=adopt):
        yield


@contextlib.contextmanager
def writing(
    folder: Path,
    names: Iterable[str],
    instead: str = ANOTHER_OUT,
    *,
    ours: bool = False,
    adopt: bool = False,
    lock: FolderLock | None = None,
) -> Iterator[None]:
    """Write these files (or folders) of a folder inside this context.

    ours: the folder is the command's own, whatever is on record. adopt: files that are not on record are the command's own,
    since an earlier version made them. lock: of the folder; once it is lost, nothing more is written there.
    Raises ForeignFileError, before anything is written, where one of them exists and is not on record as it is now.
    """
    wanted = tuple(dict.fromkeys(names))
    if not ours and (foreign := [name for name in wanted if not _may_replace(folder, name, adopt)]):
        more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        raise ForeignFileError(
            f"{folder / foreign[0]}{more} would be overwritten, but was not made by this command, or was changed since. "
            f"Move it away, or {instead}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name in wanted:
        append_row(folder / RECORD, {"file": name, "sha256": _BEGUN})
    try:
        yield
    finally:
        with contextlib.suppress(OSError, FolderLockError):
            if lock is not None:
                lock.check()
            _note(folder, wanted)


def _note(folder: Path, names: Sequence[str]) -> None:
    """Put digests of what was written on record; remove the record where none of its files exists."""
    if not folder.is_dir():
        return
    for name in names:
        if (folder / name).is_file():
            append_row(folder / RECORD, {"file": name, "sha256": sha256_of(folder / name)})
        elif not os.path.lexists(folder / name):
            append_row(folder / RECORD, {"file": name, "sha256": None})  # what may stand there later is somebody else's
    if not any(os.path.lexists(folder / str(row.get("file"))) for row in read_rows(folder / RECORD)):
        (folder / RECORD).unlink()


def _may_replace(folder: Path, name: str, adopt: bool) -> bool:
    path = folder / name
    if not os.path.lexists(path):
        return True
    noted = [row.get("sha256") for row in read_rows(folder / RECORD) if row.get("file") == name]
    if not noted or noted[-1] is None:
        return adopt and not noted
    return noted[-1] == _BEGUN or (path.is_file() and noted[-1] == sha256_of(path))


def sha256_of(path: Path) -> str:
    """Of a file's content, 64 hex digits. Raises OSError."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
