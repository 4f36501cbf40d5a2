"""Outputs at a URL: a command writes to a folder of this machine, which is uploaded when it is complete.

    WORLDMODEL_CACHE_DIR/outputs/<hash of the URL>/   the folder; the same command resumes there
    URL/output.json                                   names this folder, so that no other command writes below the URL

Of a single file, `URL` is its folder, and the note is called FILE.output.json.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import sys
import threading
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from data_prep.errors import PrepError
from data_prep.rejected_list import rejected_path
from worldmodel.files.atomic import write_json
from worldmodel.files.folder_lock import lock_folder
from worldmodel.files.json_files import parse_json, read_json_object
from worldmodel.files.log_rows import append_row, read_rows
from worldmodel.files.outputs import GIVE_ANOTHER_OUT
from worldmodel.manifest import Manifest, ManifestError
from worldmodel.process.terminal import print_escaped
from worldmodel.storage.cache import cache_folder
from worldmodel.storage.errors import StorageError
from worldmodel.storage.members import split_member
from worldmodel.storage.store import latest_version
from worldmodel.storage.transfer import IN_FLIGHT, delete, folder_url, list_objects, read_whole, upload, write_if
from worldmodel.storage.urls import is_url, is_writable_url, refuse_secrets, split_url

_NOTE = "output.json"
_UPLOADED = "uploaded.jsonl"  # size and time of the files that were uploaded, and which of them were removed later


@dataclass(frozen=True)
class _Target:
    """Where an output belongs. `files` are the names that may be written; None: any below the URL."""

    url: str
    note: str
    files: tuple[str, ...] | None


@contextmanager
def uploaded_output(out: str, command: str, is_file: bool) -> Iterator[Path]:
    """The folder, or the file, of this machine that stands for an output at a URL. It is uploaded at the end of the block.

    Raises PrepError where other objects would be overwritten or mixed with it, and where a manifest names files of this
    machine; StorageError.
    """
    refuse_secrets(sys.argv)  # the lock records the command line
    out = folder_url(out)  # first, because it refuses a URL with a secret without repeating it
    if not is_writable_url(out):
        raise PrepError(f"{out}: outputs are written to folders of this machine, and to s3:// and gs://")
    if is_file and not split_url(out)[1]:
        raise PrepError(f"{out}: names no file; expected for example {out}/m.parquet")
    folder = cache_folder() / "outputs" / hashlib.sha256(out.encode()).hexdigest()[:16]
    base, _, name = out.rpartition("/")
    if is_file:
        files = (name, Path(name).with_suffix(".html").name, rejected_path(Path(name)).name)
        target = _Target(base, f"{name}.{_NOTE}", files)
    else:
        target = _Target(out, _NOTE, None)
    with lock_folder(folder, GIVE_ANOTHER_OUT, lock_name=".upload.lock"):
        _claim(target, folder / _NOTE, folder / _UPLOADED, command)
        yield folder / name
        root = folder if is_file else folder / name
        names = (
            sorted(_files_below(root)) if target.files is None else [file for file in target.files if (root / file).exists()]
        )
        named = {file for table in names if table.endswith(".parquet") for file in _files_named(root, table)}
        _upload(target, root, names, named, folder / _UPLOADED)


def named_in(manifest: Manifest) -> Iterator[str]:
    """All paths of videos, truth and signals in a manifest, as they are stored."""
    for batch in manifest.batches(("path", "truth", "signals")):
        for column in batch.columns:
            yield from column.drop_null().to_pylist()


def refuse_local_files(source: object, names: Iterable[str]) -> None:
    """Raise PrepError where `names`, which are in `source`, are not all URLs. Nobody could follow a path at a URL."""
    for name in names:
        if not is_url(name):
            raise PrepError(_local_file(source, name))


def _local_file(source: object, name: str) -> str:
    return (
        f"{source}: names {name}, a file of this machine, so it is not uploaded; pack the videos first "
        "(`python -m data_prep shard`), or give a folder of this machine as --out"
    )


def _claim(target: _Target, note: Path, record: Path, command: str) -> None:
    """Compare the note at the URL with the one of this machine, or write it where there is nothing yet.

    Where it is written, nothing is at the URL any more, so the record of what was uploaded is removed.
    """
    own = read_json_object(note, PrepError).get("output") if note.is_file() else None
    found = read_whole(f"{target.url}/{target.note}")
    if found is not None:
        try:
            theirs = parse_json(found[0])["output"]
        except (ValueError, KeyError, TypeError):
            theirs = None
        if own is None or own != theirs:
            raise PrepError(f"{target.url}/{target.note}: written by another command or machine; {GIVE_ANOTHER_OUT}")
        return
    if others := list(_sizes_at(target)):
        raise PrepError(f"{target.url}/{others[0]}: exists and was not made by this command; {GIVE_ANOTHER_OUT}")
    record.unlink(missing_ok=True)
    write_json(note, {"made_by": f"python -m {command}", "output": own or uuid.uuid4().hex})
    if write_if(f"{target.url}/{target.note}", note.read_bytes(), None) is None:
        raise PrepError(f"{target.url}: another process has just begun to write there; {GIVE_ANOTHER_OUT}")


def _sizes_at(target: _Target) -> dict[str, int]:
    """Sizes of the objects that are at the URL now, by name. Of files, only those that may be written."""
    if target.files is None:
        return list_objects(target.url)
    sizes = {}
    for name in target.files:
        try:
            sizes[name] = latest_version(f"{target.url}/{name}").size
        except StorageError as error:
            if not error.missing:
                raise
    return sizes


def _files_below(root: Path) -> Iterator[str]:
    """Names of all files below a folder, without hidden ones, which are locks, journals and unfinished files."""
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for file in files:
            if not file.startswith("."):
                yield os.path.relpath(os.path.join(folder, file), root).replace(os.sep, "/")


def _files_named(root: Path, table: str) -> Iterator[str]:
    """The files below `root` that a manifest names, relative to `root`; none for another table.

    Raises PrepError for a path that nobody could follow at a URL.
    """
    try:
        manifest = Manifest.open(root / table)
    except ManifestError:
        return
    for name in named_in(manifest):
        if is_url(name):
            continue
        if os.path.isabs(name) or name.startswith(".."):
            raise PrepError(_local_file(root / table, name))
        yield posixpath.normpath(posixpath.join(posixpath.dirname(table), split_member(name)[0]))


def _upload(target: _Target, root: Path, names: list[str], named: set[str], record: Path) -> None:
    """Upload what has changed or is not at the URL, the tables at the top last: they are there only with the files they name.

    A file that was uploaded and is no longer on this machine is removed at the URL, unless a table names it (`named`). Raises
    PrepError, before anything is sent, where a file that a table names is in neither place.
    """
    known = {
        row.get("name"): None if row.get("removed") else (row.get("size"), row.get("time_ns")) for row in read_rows(record)
    }
    there = _sizes_at(target)
    if lost := sorted(named - set(names) - there.keys()):
        raise PrepError(
            f"{root / lost[0]}: a table names this file, but it was deleted, and it is not at {target.url}; {GIVE_ANOTHER_OUT}"
        )
    lock = threading.Lock()

    def send(name: str) -> None:
        stat = (root / name).stat()
        if known.get(name) != (stat.st_size, stat.st_mtime_ns) or there.get(name) != stat.st_size:
            upload(root / name, f"{target.url}/{name}")
            with lock:
                append_row(record, {"name": name, "size": stat.st_size, "time_ns": stat.st_mtime_ns})

    tables = [name for name in names if name.endswith(".parquet") and "/" not in name]
    with ThreadPoolExecutor(IN_FLIGHT, "upload") as pool:
        for _ in pool.map(send, [name for name in names if name not in tables]):
            pass
    for name in tables:
        send(name)
    for name in (str(name) for name, uploaded in known.items() if uploaded is not None):
        if name not in named and not (root / name).exists():
            delete([f"{target.url}/{name}"])
            append_row(record, {"name": name, "removed": True})
    print_escaped(f"uploaded {len(names)} files to {target.url}")
