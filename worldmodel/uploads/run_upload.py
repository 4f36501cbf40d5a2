"""Upload of a run folder in the background: training writes to a local folder, and finished files follow to a URL.

    URL/upload.json                 which run this is; the run folder has the same file
    URL/lock.json                   the process that uploads now
    URL/checkpoints/<step>/...      state.json last, so that a part of a checkpoint is never taken for one
    URL/metrics.jsonl, ...          all other files of the run folder, again when they have changed

A thread compares the folder with what it has uploaded, every few seconds. So it needs no call from the training, and what
could not be uploaded is tried again. Errors of the store never stop the training; the end of the run waits for the upload.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from worldmodel.checkpoint.remote import LOGS, STATE, list_run
from worldmodel.checkpoint.selection import best_checkpoint_name
from worldmodel.storage.errors import StorageError
from worldmodel.storage.object_lock import ObjectLock, lock_url
from worldmodel.storage.transfer import delete, read_whole, upload
from worldmodel.storage.urls import split_url
from worldmodel.uploads.identity import UploadError, fetch_uploaded, identify
from worldmodel.uploads.run_files import checkpoint_names, digests_in, file_version, file_versions, other_files, snapshot

POLL_S = 5.0  # between two looks at the run folder
LOGS_EVERY_S = 60.0  # between two uploads of files that grow
END_WAIT_S = 900.0  # after the last step, while nothing arrives at the store
FAILED_END_WAIT_S = 30.0  # the same after an error
_READ_BYTES = 64 << 20  # files up to this size are read before they are sent, since they may grow meanwhile
_BEST = "best.json"  # sent after the checkpoint that it names
_NAMED = 5  # files in a message
_UNREADABLE = "such files cannot be read, or have names that no object can have"


class RunUpload:
    """Uploads one run folder. The main process has one; `upload_run` starts and ends it."""

    def __init__(self, run: Path, url: str, keep: int, lock: ObjectLock, stop: list[int]) -> None:
        self._stop = stop
        self._run, self._url, self._keep, self._lock = run, url, keep, lock
        self._report: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True)
        self._sent: dict[str, object] = {}  # versions of what was uploaded, by the name of a checkpoint or of another file
        self._remote = {name: set(files) for name, files in list_run(url).checkpoints.items()}
        self._files: dict[str, dict[str, str]] = {}  # SHA-256 of the files of each checkpoint at the URL, as far as it is known
        self.unreadable: list[str] = []  # other files that cannot be read, or whose name no object can have
        self._moved_at = 0.0  # when the last object, or part of one, was sent
        self._reached: dict[str, int] = {}  # how far files were sent: a part that is sent again is no progress
        self._problem = ""
        self._files_at = 0.0
        self._ended = threading.Event()
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True, name=f"uploads {run}")

    def start(self) -> None:
        self._thread.start()

    def report_to(self, report: Callable[[str], None]) -> None:
        """Set how failures are told. The function is called from another thread."""
        self._report = report

    def close(self, wait_s: float) -> list[str]:
        """Upload what is left. Gives up when nothing was sent for `wait_s`. Returns what is not uploaded, checkpoints first."""
        began = time.monotonic()
        self._ended.set()
        while self._thread.is_alive() and (left_s := max(began, self._moved_at) + wait_s - time.monotonic()) > 0:
            self._thread.join(left_s)
        self._given_up.set()
        return self._left() or ["the object that is being sent"] * self._thread.is_alive()

    def _work(self) -> None:
        self._follow()
        self._ended.wait()
        while not self._upload(everything=True) and not self._lock.lost and not self._given_up.wait(POLL_S):
            pass

    def _follow(self) -> None:
        while not self._ended.wait(POLL_S):
            if self._lock.lost:
                self._tell(f"{self._lock.lost}; the run ends")
                self._stop.append(0)
                return
            self._upload(everything=time.monotonic() - self._files_at >= LOGS_EVERY_S)

    def _upload(self, everything: bool) -> bool:
        """Upload what has changed: logs, then the checkpoints that were there before, the last one first. False on failure.

        everything: also logs if no checkpoint is new.
        """
        try:
            checkpoints = [name for name in checkpoint_names(self._run) if self._is_new(name)]
            if everything or checkpoints:
                self._files_at = time.monotonic()
                self.unreadable = [name for name in other_files(self._run) if name != _BEST and not self._upload_other(name)]
            for name in checkpoints:
                self._upload_checkpoint(name)
            self._upload_file(_BEST)
            self._prune()
        except OSError as error:  # of the store, or of a file of the run
            reason = error.strerror if isinstance(error, StorageError) else error
            self._tell(f"the upload to {self._url} fails: {reason}. Training goes on, and it is tried again")
            return False
        if self.unreadable:
            self._tell(f"not uploaded to {self._url}: {_shortened(self.unreadable)}; {_UNREADABLE}")
        elif self._problem:
            self._report(f"the upload to {self._url} works again")
            self._problem = ""
        return True

    def _tell(self, problem: str) -> None:
        if problem != self._problem and not self._given_up.is_set():
            self._problem = problem
            self._report(problem)

    def _is_new(self, name: str) -> bool:
        return self._sent.get(name) != file_versions(self._run / "checkpoints" / name)

    def _left(self) -> list[str]:
        checkpoints = [f"checkpoints/{name}" for name in checkpoint_names(self._run) if self._is_new(name)]
        return checkpoints + [name for name in other_files(self._run) if name not in self.unreadable and self._is_changed(name)]

    def _is_changed(self, name: str) -> bool:
        with suppress(FileNotFoundError):  # removed since it was listed
            return self._sent.get(name) != file_version(self._run / name)
        return False

    def _upload_other(self, name: str) -> bool:
        """`_upload_file`; False for a file that cannot be read. For a log it raises OSError: checkpoints need it."""
        try:
            self._upload_file(name)
        except (OSError, ValueError) as error:  # ValueError: its name cannot be that of an object
            if isinstance(error, StorageError) or name in LOGS:
                raise
            return False
        return True

    def _upload_file(self, name: str) -> None:
        path = self._run / name
        with suppress(FileNotFoundError):  # removed since it was listed
            found = file_version(path)
            if self._sent.get(name) != found:
                self._send(path.read_bytes() if found[1] <= _READ_BYTES else path, name)
                self._sent[name] = found

    def _upload_checkpoint(self, name: str) -> None:
        """Upload a checkpoint, state.json last. It is skipped if it was removed meanwhile, or is there already.

        Files that are there with the same digest are not sent again. If one of them is replaced, the state.json at the URL is
        removed first, since it does not belong to the new file.
        """
        folder = self._run / "checkpoints" / name
        with suppress(FileNotFoundError):
            found = file_versions(folder)
            remote = self._remote.setdefault(name, set())
            state = read_whole(f"{self._url}/checkpoints/{name}/{STATE}") if STATE in remote else None
            if state is None or state[0] != (folder / STATE).read_bytes():
                with snapshot(self._run, folder, found) as files:
                    if file_versions(folder) != found:
                        return  # another process has just changed it
                    digests = digests_in((files / STATE).read_bytes())
                    theirs = digests_in(state[0]) if state is not None else {}
                    known = self._files.setdefault(name, theirs)
                    if any(digests.get(file, digest) != digest for file, digest in theirs.items()):
                        self._remove(name, {STATE})
                    for file in sorted(found, key=lambda file: (file == STATE, file)):
                        if file not in remote or file not in digests or known.get(file) != digests[file]:
                            known.pop(file, None)  # unknown while it is sent
                            self._send(files / file, f"checkpoints/{name}/{file}")
                            remote.add(file)
                            known |= {file: digests[file]} if file in digests else {}
                self._remove(name, remote - set(found))
            self._sent[name] = found

    def _send(self, content: Path | bytes, name: str) -> None:
        def on_part(start: int) -> None:
            if start > self._reached.get(name, 0):
                self._reached[name], self._moved_at = start, time.monotonic()

        if self._may_write():
            upload(content, f"{self._url}/{name}", on_part)
            self._moved_at = time.monotonic()

    def _may_write(self) -> bool:
        """Whether this process owns the URL. Raises StorageError where the store cannot say so now, or `close` has given up."""
        if self._lock.confirm() and not self._given_up.is_set():
            return True
        if not self._lock.lost:
            detail = "it is not known whether this process still owns the lock"
            raise StorageError(self._lock.url, detail, store=split_url(self._url)[0], unreachable=True)
        return False

    def _prune(self) -> None:
        """Remove checkpoints at the URL that the run folder no longer has, except the best one and the last ones.

        Parts of older ones, which a killed process left, are removed too.
        """
        complete = sorted((name for name, files in self._remote.items() if STATE in files), key=int)
        kept = {*checkpoint_names(self._run), *complete[-self._keep :], best_checkpoint_name(self._run)}
        for name in sorted(self._remote, key=int):
            if name not in kept and complete and int(name) < int(complete[-1]):
                self._remove(name, set(self._remote[name]))
                del self._remote[name]

    def _remove(self, name: str, files: set[str]) -> None:
        """Remove files of a checkpoint, state.json first."""
        for file in sorted(files, key=lambda file: (file != STATE, file)):
            if self._may_write():
                delete([f"{self._url}/checkpoints/{name}/{file}"])
                self._remote[name].discard(file)


@contextmanager
def upload_run(run: Path, url: str, keep: int, stop: list[int]) -> Iterator[RunUpload]:
    """Fetch what a URL has of a run and its folder has not, then upload the folder until the end of the block.

    keep: how many checkpoints stay at the URL, beside the best one. stop: gets a 0 if another process takes the URL over.
    Raises UploadError where the URL holds something else, and at the end where something could not be uploaded;
    FolderLockError where another process writes to the URL; StorageError.
    """
    run.mkdir(parents=True, exist_ok=True)
    with lock_url(url, "give another upload_to=URL") as lock:
        identify(run, url)
        fetch_uploaded(run, url)
        uploading = RunUpload(run, url, keep, lock, stop)
        uploading.start()
        try:
            yield uploading
        except Exception:
            if left := uploading.close(FAILED_END_WAIT_S):
                print(_left_message(run, url, left), file=sys.stderr, flush=True)
            raise
        left = uploading.close(END_WAIT_S)
        lock.check()
        if left:
            raise UploadError(_left_message(run, url, left))
        unread = uploading.unreadable
        print(f"uploaded to {url}" + (f", without {_shortened(unread)}; {_UNREADABLE}" if unread else ""))


def _left_message(run: Path, url: str, left: list[str]) -> str:
    advice = f"They are complete in {run}; the same command uploads them when the store answers"
    return f"not uploaded to {url}: {_shortened(left)}. {advice}"


def _shortened(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
