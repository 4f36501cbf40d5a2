"""StorageError: an object that cannot be read or written."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

from worldmodel.files.output_errors import OutputError


class StorageError(OSError):
    """An object of a store cannot be read or written.

    url: the object. store: its bucket or host. unreachable: the whole store does not answer or refuses this user, so that
    another attempt may succeed later; else only this object is missing or broken.
    missing: there is no object at this URL. changed: it was replaced while it was read.
    """

    def __init__(
        self, url: str, detail: str, *, store: str, unreachable: bool, missing: bool = False, changed: bool = False
    ) -> None:
        super().__init__(errno.ETIMEDOUT if unreachable else errno.EIO, f"{url}: {detail}")
        self._flags: dict[str, Any] = {"store": store, "unreachable": unreachable, "missing": missing, "changed": changed}
        self.url, self.detail, self.store, self.unreachable = url, detail, store, unreachable
        self.missing, self.changed = missing, changed

    def __reduce__(self) -> Any:
        return partial(StorageError, **self._flags), (self.url, self.detail)  # so that it can be sent from a worker process


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it was raised from, also where a reader hides that by `from None`."""
    for _ in range(20):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__


def fault_outside_file(error: BaseException) -> StorageError | OutputError | None:
    """The cause of an error that is not the fault of the file: its store does not answer, or the cache cannot be written."""
    for cause in causes(error):
        if isinstance(cause, OutputError) or (isinstance(cause, StorageError) and cause.unreachable):
            return cause
    return None


def short_reason(error: BaseException) -> str:
    """What a store answered, in a few words: the status and the code, never headers, signatures or keys."""
    text = str(error)
    status, code = re.search(r"status code: (\d+[ \w]*)", text), re.search(r"<Code>(\w+)</Code>", text)
    if status:
        return f"HTTP {status[1].strip()}" + (f", {code[1]}" if code else "")
    if "body error" in text or "error decoding" in text:
        return "the connection broke off in the middle of the answer"
    if "error sending request" in text or "HTTP error" in text:
        return "no connection, or no answer in time"
    return re.sub(r"https?://\S+", "...", text.splitlines()[0])[:160] if text else type(error).__name__
