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

from worldmodel.checkpoint.remote import STATE, list_run
from worldmodel.checkpoint.selection import best_checkpoint_name
from worldmodel.storage.errors import StorageError
from worldmodel.storage.object_lock import ObjectLock, lock_url
from worldmodel.storage.transfer import delete, read_whole, upload
from worldmodel.uploads.identity import UploadError, fetch_uploaded, identify
from worldmodel.uploads.run_files import checkpoint_names, file_version, file_versions, other_files, snapshot

POLL_S = 5.0  # between two looks at the run folder
LOGS_EVERY_S = 60.0  # between two uploads of files that grow
END_WAIT_S = 900.0  # for the upload after the last step
FAILED_END_WAIT_S = 30.0  # the same after an error
_READ_BYTES = 64 << 20  # files up to this size are read before they are sent, since they may grow meanwhile
_BEST = "best.json"  # sent after the checkpoint that it names
_NAMED = 5  # files in a message


class RunUpload:
    """Uploads one run folder. The main process has one; `upload_run` starts and ends it."""

    def __init__(self, run: Path, url: str, keep: int, lock: ObjectLock, stop: list[int]) -> None:
        self._stop = stop
        self._run, self._url, self._keep, self._lock = run, url, keep, lock
        self._report: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True)
        self._sent: dict[str, object] = {}  # versions of what was uploaded, by the name of a checkpoint or of another file
        self._remote = {name: set(files) for name, files in list_run(url).checkpoints.items()}
        self._problem = ""
        self._files_at = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True, name=f"uploads {run}")

    def start(self) -> None:
        self._thread.start()

    def report_to(self, report: Callable[[str], None]) -> None:
        """Set how failures are told. The function is called from another thread."""
        self._report = report

    def close(self, wait_s: float) -> list[str]:
        """Upload what is left, for up to `wait_s`. Returns what is not uploaded, checkpoints first."""
        until = time.monotonic() + wait_s
        self._ended.set()
        self._thread.join(wait_s)
        if self._thread.is_alive():  # in the middle of a request
            return self._left() or ["the object that is being sent"]
        while not self._upload(everything=True) and not self._lock.lost and (left_s := until - time.monotonic()) > 0:
            time.sleep(min(POLL_S, left_s))
        return self._left()

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
                for name in other_files(self._run):
                    if name != _BEST:
                        self._upload_file(name)
            for name in checkpoints:
                self._upload_checkpoint(name)
            self._upload_file(_BEST)
            self._prune()
        except OSError as error:  # of the store, or of a file of the run
            reason = error.strerror if isinstance(error, StorageError) else error
            self._tell(f"the upload to {self._url} fails: {reason}. Training goes on, and it is tried again")
            return False
        if self._problem:
            self._report(f"the upload to {self._url} works again")
            self._problem = ""
        return True

    def _tell(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            self._report(problem)

    def _is_new(self, name: str) -> bool:
        return self._sent.get(name) != file_versions(self._run / "checkpoints" / name)

    def _left(self) -> list[str]:
        checkpoints = [f"checkpoints/{name}" for name in checkpoint_names(self._run) if self._is_new(name)]
        return checkpoints + [name for name in other_files(self._run) if self._sent.get(name) != file_version(self._run / name)]

    def _upload_file(self, name: str) -> None:
        path = self._run / name
        with suppress(FileNotFoundError):  # removed since it was listed
            found = file_version(path)
            if self._sent.get(name) != found:
                self._send(path.read_bytes() if found[1] <= _READ_BYTES else path, name)
                self._sent[name] = found

    def _upload_checkpoint(self, name: str) -> None:
        """Upload a checkpoint, state.json last. It is skipped if it was removed meanwhile, or is there already."""
        folder = self._run / "checkpoints" / name
        with suppress(FileNotFoundError):
            found = file_versions(folder)
            remote = self._remote.setdefault(name, set())
            state = read_whole(f"{self._url}/checkpoints/{name}/{STATE}") if STATE in remote else None
            if state is None or state[0] != (folder / STATE).read_bytes():
                with snapshot(self._run, folder, found) as files:
                    for file in sorted(found, key=lambda file: (file == STATE, file)):
                        self._send(files / file, f"checkpoints/{name}/{file}")
                        remote.add(file)
                self._remove(name, remote - set(found))
            self._sent[name] = found

    def _send(self, content: Path | bytes, name: str) -> None:
        if not self._lock.lost:
            upload(content, f"{self._url}/{name}")

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
            if not self._lock.lost:
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
        print(f"uploaded to {url}")


def _left_message(run: Path, url: str, left: list[str]) -> str:
    more = f" and {len(left) - _NAMED} more" if len(left) > _NAMED else ""
    return (
        f"not uploaded to {url}: {', '.join(left[:_NAMED])}{more}. They are complete in {run}; the same command uploads them "
        "when the store answers"
    )
