"""Write the files of a checkpoint in a thread, while training goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path

from worldmodel.checkpoint.write import FileContent, write_files

VISIBILITY_TIMEOUT_S = 60.0  # for a folder that another host made to become visible on network storage
_RETRY_S = 0.2


class BackgroundWriting:
    """The files that one process writes of one checkpoint. The thread communicates with no other process.

    `files` must not change until `wait` has returned. Writing and hashing release the interpreter, so training continues.
    """

    def __init__(self, folder: Path, files: Mapping[str, FileContent]) -> None:
        self._folder, self._files = folder, files
        self._digests: dict[str, str] = {}
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._write, daemon=True, name=f"writes {folder.name}")
        self._thread.start()

    @property
    def is_done(self) -> bool:
        """Whether all files are written, or could not be written."""
        return not self._thread.is_alive()

    def wait(self) -> dict[str, str]:
        """Wait for the end; returns the SHA-256 of each file. Raises the error that ended the writing."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._digests

    def _write(self) -> None:
        try:
            until = time.monotonic() + VISIBILITY_TIMEOUT_S
            while self._files and not self._folder.is_dir() and time.monotonic() < until:
                time.sleep(_RETRY_S)
            self._digests = write_files(self._folder, self._files)
        except Exception as error:  # raised by `wait` in the main thread
            self._error = error
        finally:
            self._files = {}
