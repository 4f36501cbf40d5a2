"""Read frames by a packet index where that is possible, and count how often it is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from worldmodel.video.packet_index.direct import CannotReadDirectlyError, read_directly
from worldmodel.video.packet_index.index_file import open_packet_index
from worldmodel.video.resize import Buffer
from worldmodel.video.selection import Selection

BufferT = TypeVar("BufferT", bound=Buffer)


@dataclass
class ReadCounts:
    """Reads of this process for which a packet index was given."""

    direct: int = 0  # by the index
    container: int = 0  # through the container: the index does not have the file, it has changed, or something is unusual


COUNTS = ReadCounts()


def read_by_index(
    index_path: str, path: Path | str, member: str | None, selection: Selection, new_buffer: Callable[[], BufferT]
) -> BufferT | None:
    """Write the selected frames into a new buffer; None if they have to be read through the container."""
    index = open_packet_index(index_path)
    table = None if index is None else index.find(str(path), member)
    if table is not None:
        buffer = new_buffer()
        try:
            read_directly(table, path, selection, buffer)
        except CannotReadDirectlyError:
            pass
        else:
            COUNTS.direct += 1
            return buffer
    COUNTS.container += 1
    return None
