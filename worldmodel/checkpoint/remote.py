"""Runs and checkpoints at URLs: which checkpoints are complete there, and copies of them on this machine.

A checkpoint at a URL is complete when its state.json is there, which is uploaded last and removed first. Copies for reading
lie in the folder of the cache, below `copies`; they do not count towards its limit.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from worldmodel.checkpoint.opening import open_checkpoint
from worldmodel.checkpoint.state import CheckpointError, NewerFormatError, UnreadableError
from worldmodel.files.atomic import atomic_folder, file_age_s
from worldmodel.files.folder_lock import lock_folder
from worldmodel.files.json_files import read_json_object
from worldmodel.storage.cache import cache_folder
from worldmodel.storage.errors import StorageError
from worldmodel.storage.transfer import download, folder_url, list_objects, read_whole
from worldmodel.storage.urls import UrlError, stays_below

STATE = "state.json"
LOGS = ("metrics.jsonl", "health.jsonl", "bad_clips.jsonl")
_READ = ("recipe.yaml", "best.json", "held_out.npz", "metrics.jsonl", "health.jsonl")  # of a run, beside a checkpoint
_SCORES = re.compile(r"[^/]+/(?:protocol\.json|table\.md)")  # of evaluations in folders of a run, for its model card
_OF_RUN = re.compile(r"(.+)/checkpoints/([0-9]+)")
_COPY_WAIT_S = 3600.0  # for another process of this machine that makes the same copy
_COPY_KEPT_S = 3600.0  # since its last use: another process may still read a copy that is no longer wanted here


@dataclass(frozen=True)
class RemoteRun:
    """What lies at the URL of a run folder, or of one checkpoint."""

    url: str
    files: Mapping[str, int]  # sizes by name, of all that is not in a checkpoint of the run
    checkpoints: Mapping[str, Mapping[str, int]]  # sizes of the files of each checkpoint folder by name

    @property
    def complete(self) -> list[str]:
        """Names of the complete checkpoints, the last one first."""
        return sorted((name for name, files in self.checkpoints.items() if STATE in files), key=int, reverse=True)


def list_run(url: str) -> RemoteRun:
    """List a run folder at a URL. Raises StorageError."""
    files, checkpoints = dict[str, int](), dict[str, dict[str, int]]()
    for name, size in list_objects(url).items():
        if not stays_below(name):
            continue
        parts = name.split("/", 2)
        if len(parts) == 3 and parts[0] == "checkpoints" and parts[1].isdecimal():
            checkpoints.setdefault(parts[1], {})[parts[2]] = size
        else:
            files[name] = size
    return RemoteRun(url, files, checkpoints)


def fetch_last(url: str, run: Path, after: int, warn: Callable[[str], None]) -> int | None:
    """Download the last complete checkpoint later than step `after` into a run folder, with the logs and the best checkpoint.

    Returns its step; None where there is none. A damaged one is skipped with a warning. The best checkpoint is also downloaded
    again where that of the run folder is damaged. Raises CheckpointError.
    """
    with _checkpoint_errors():
        remote = list_run(url)
        step = _fetch_later(remote, run, after, warn)
        best = _best_name(run)
        if best in remote.complete and _is_damaged(run / "checkpoints" / str(best)):
            _fetch_intact(remote, str(best), run / "checkpoints" / str(best), warn)
    return step


def _fetch_later(remote: RemoteRun, run: Path, after: int, warn: Callable[[str], None]) -> int | None:
    """Download the last complete checkpoint later than step `after`, and the logs. Returns its step, None without one."""
    for name in remote.complete:
        if int(name) <= after:
            return None
        if _fetch_intact(remote, name, run / "checkpoints" / name, warn):
            break
    else:
        return None
    for file in (*LOGS, "best.json"):
        if file in remote.files:
            download(f"{remote.url}/{file}", run / file)
    return int(name)


def _is_damaged(folder: Path) -> bool:
    """Whether a checkpoint is missing or damaged. One that cannot be read now is not."""
    try:
        return not _is_intact(folder)
    except (NewerFormatError, UnreadableError):
        return False


def copy_of_run(url: str) -> Path:
    """A local copy of the best complete checkpoint (else the last one) of a run at a URL, or of one checkpoint.

    It lies in a copy of the run folder. Only what has changed since the last call is downloaded. Copies of other checkpoints
    are removed an hour after their last use. Raises CheckpointError.
    """
    with _checkpoint_errors():
        url = folder_url(url)
        of_run = _OF_RUN.fullmatch(url)
        run_url, wanted = (of_run[1], of_run[2]) if of_run else (url, None)
        folder = cache_folder() / "copies" / hashlib.sha256(run_url.encode()).hexdigest()[:16] / run_url.rpartition("/")[2]
        with lock_folder(folder.parent, "try again later", wait_s=_COPY_WAIT_S):
            remote = list_run(run_url)
            if wanted is None and STATE in remote.files:  # one checkpoint, such as `worldmodel export` writes it
                files = {name: size for name, size in remote.files.items() if "/" not in name}
                _update(run_url, files, folder)
                _fetch_scores(remote, folder)
                return folder
            _fetch_run_files(remote, folder)
            names = _in_order(remote, folder) if wanted is None else [wanted] * (wanted in remote.complete)
            for stale in (folder / "checkpoints").glob("[0-9]*"):
                if stale.name not in names[:1] and file_age_s(stale) > _COPY_KEPT_S:
                    shutil.rmtree(stale, ignore_errors=True)
            for name in names:
                if _fetch_intact(remote, name, found := folder / "checkpoints" / name, _print_warning):
                    os.utime(found)
                    return found
    raise CheckpointError(
        f"{url} is neither a run folder nor a checkpoint, or has no complete checkpoint yet ({len(remote.files)} other files)"
    )


def refuse_run_url(url: str) -> None:
    """Raise CheckpointError for the URL of a run folder, of which all checkpoints are wanted. That of a checkpoint passes."""
    with _checkpoint_errors():
        url = folder_url(url)
        remote = list_run(url)
    if remote.checkpoints and STATE not in remote.files:
        raise CheckpointError(
            f"{url} is the URL of a run with {len(remote.complete)} complete checkpoints; all checkpoints are read only from a "
            f"run folder of this machine. Copy the run folder first (for example `aws s3 sync {url} FOLDER`), and give FOLDER"
        )


def _fetch_run_files(remote: RemoteRun, folder: Path) -> None:
    """Download what is read of a run beside its checkpoints, and remove from the copy what is no longer at the URL."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in _READ:
        if file in remote.files:
            download(f"{remote.url}/{file}", folder / file)
        else:
            (folder / file).unlink(missing_ok=True)
    _fetch_scores(remote, folder)


def _fetch_scores(remote: RemoteRun, folder: Path) -> None:
    """Download the protocols and tables of evaluations that were uploaded to the run folder, and remove others."""
    wanted = {name for name in remote.files if _SCORES.fullmatch(name)}
    for name in sorted(wanted):
        (folder / name).parent.mkdir(exist_ok=True)
        download(f"{remote.url}/{name}", folder / name)
    for file in folder.glob("*/*"):
        name = file.relative_to(folder).as_posix()
        if _SCORES.fullmatch(name) and name not in wanted:
            file.unlink(missing_ok=True)


def _in_order(remote: RemoteRun, folder: Path) -> list[str]:
    """The complete checkpoints of a run in the order in which they are wanted: the best, then the last ones."""
    best, names = _best_name(folder), remote.complete
    return [best, *(name for name in names if name != best)] if best in names else names


def _best_name(run: Path) -> str | None:
    try:
        name = read_json_object(run / "best.json", CheckpointError).get("checkpoint")
    except CheckpointError:
        return None
    return name if isinstance(name, str) and name.isdecimal() else None


def _fetch_intact(remote: RemoteRun, name: str, folder: Path, warn: Callable[[str], None]) -> bool:
    """Download a checkpoint unless it is there; False, after a warning, where it is damaged or was removed meanwhile."""
    url = f"{remote.url}/checkpoints/{name}"
    try:
        _update(url, remote.checkpoints[name], folder)
    except NewerFormatError:
        raise
    except CheckpointError as error:
        warn(f"{url}: {error}; using another checkpoint instead")
        return False
    except StorageError as error:
        if not error.missing:
            raise
        warn(f"{url} was removed while it was read; using another checkpoint instead")
        return False
    return True


def _update(url: str, files: Mapping[str, int], folder: Path) -> None:
    """Download a checkpoint as a whole, unless there is an intact copy of it. Raises CheckpointError for a damaged one."""
    found = read_whole(f"{url}/{STATE}")
    if found is not None and (folder / STATE).is_file() and (folder / STATE).read_bytes() == found[0] and _is_intact(folder):
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(folder) as part:
        for name in files:
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            download(f"{url}/{name}", part / name)
        _verify(part, folder)


def _is_intact(folder: Path) -> bool:
    try:
        open_checkpoint(folder)
    except (NewerFormatError, UnreadableError):
        raise
    except CheckpointError:
        return False
    return True


def _verify(part: Path, folder: Path) -> None:
    """Open a downloaded checkpoint under its temporary name. Raises CheckpointError with its final name."""
    try:
        open_checkpoint(part)
    except NewerFormatError:
        raise
    except CheckpointError as error:
        raise CheckpointError(str(error).replace(str(part), str(folder))) from None


def _print_warning(text: str) -> None:
    print(text, file=sys.stderr)


@contextmanager
def _checkpoint_errors() -> Iterator[None]:
    """Convert errors of storage and of URLs into CheckpointErrors."""
    try:
        yield
    except StorageError as error:
        raise (UnreadableError if error.unreachable else CheckpointError)(str(error.strerror)) from None
    except UrlError as error:
        raise CheckpointError(str(error)) from None
