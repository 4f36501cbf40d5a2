"""Bytes of a known number, readable as a file: those of a file or of a part of it."""

from __future__ import annotations

import io
from abc import abstractmethod
from pathlib import Path


class ByteFile(io.RawIOBase):
    """`size` bytes, readable as a file.

    failure: the first error of storage, where the reader may have taken it for the end of the file.
    """

    failure: OSError | None = None

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self._at = size, 0

    @abstractmethod
    def read_at(self, start: int, stop: int) -> bytes:
        """The bytes [start, stop), where 0 <= start < stop <= size; fewer if a file has become shorter."""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def read(self, size: int = -1) -> bytes:
        stop = self.size if size < 0 else min(self.size, self._at + size)
        data = self.read_at(self._at, stop) if self._at < stop else b""
        self._at += len(data)
        return data


class FileRange(ByteFile):
    """The bytes [offset, offset + size) of a file on disk."""

    def __init__(self, path: Path | str, offset: int, size: int) -> None:
        super().__init__(size)
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115  closed by close()
        self._offset = offset

    def read_at(self, start: int, stop: int) -> bytes:
        self._file.seek(self._offset + start)
        return self._file.read(stop - start)

    def close(self) -> None:
        self._file.close()
        super().close()
