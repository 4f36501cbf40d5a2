"""Keep the containers that were read last open, so that another window of the same file needs no opening and no scan.

Opening a file costs 1 to 16 ms, since FFmpeg decodes the first frames to learn about the stream, and a new decoder
allocates its frame buffers again. Only MP4, MOV, Matroska and WebM files are kept open: there, a read seeks before it
decodes, and finds the same packets however often. A file that was changed is opened again. A child process never uses a
container of its parent, since both would share one position in the file.
"""

from __future__ import annotations

import os
import sys
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from worldmodel.storage.urls import is_url
from worldmodel.video.container.opening import Video, open_video
from worldmodel.video.container.source import file_version
from worldmodel.video.container.timeline import scan_packets

MAX_OPEN = 32
MAX_BYTES = 1 << 26  # estimated memory of all containers that are kept open
BUFFERED_FRAMES = 12  # frames that a decoder keeps allocated, with 1.5 bytes per pixel
INDEX_BYTES = 64  # of a demuxer, per frame of the file

Key = tuple[str, str | None, int, int, int, int]


@dataclass
class OpenVideo:
    """A container that stays open after a read."""

    video: Video
    stack: ExitStack  # closes it
    ticks: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))  # presentation times of the first frames

    @property
    def bytes(self) -> int:
        """Estimate of the memory that it takes."""
        codec = self.video.stream.codec_context
        return codec.width * codec.height * 3 // 2 * BUFFERED_FRAMES + self.video.stream.frames * INDEX_BYTES


class OpenVideos:
    """The containers of this process that are kept open, the least recently used first."""

    def __init__(self) -> None:
        self._entries: OrderedDict[Key, OpenVideo] = OrderedDict()
        self._pid = os.getpid()

    def __len__(self) -> int:
        return len(self._entries)

    def take(self, key: Key) -> OpenVideo | None:
        """Remove and return the container of a file, so that no other thread uses it; None if it is not open."""
        if self._pid != os.getpid():  # after a fork
            self.close_all()
            self._pid = os.getpid()
        return self._entries.pop(key, None)

    def keep(self, key: Key, opened: OpenVideo) -> None:
        """Keep a container, and close others until the limits are met."""
        replaced = self._entries.pop(key, None)  # another thread has read the same file
        if replaced is not None:
            replaced.stack.close()
        self._entries[key] = opened
        while len(self._entries) > MAX_OPEN or sum(entry.bytes for entry in list(self._entries.values())) > MAX_BYTES:
            self._entries.popitem(last=False)[1].stack.close()

    def close_all(self) -> None:
        """Close all containers."""
        while self._entries:
            self._entries.popitem()[1].stack.close()


KEPT = OpenVideos()


@contextmanager
def reused_video(path: Path | str, member: str | None, frames: int = 0) -> Iterator[OpenVideo]:
    """Open a video, or take it from those that are kept open. It is at any position; seek before reading.

    frames: number of first frames whose presentation times are needed in `ticks`, which has fewer only if the video does.
    A video whose reading raised an error is closed. Raises VideoError.
    """
    key = _key(path, member)
    opened = KEPT.take(key) if key is not None else None
    if opened is not None and len(opened.ticks) < frames:
        opened.stack.close()  # a scan has to begin at the start of the file
        opened = None
    if opened is None:
        stack = ExitStack()
        opened = OpenVideo(stack.enter_context(open_video(path, member)), stack)
    try:
        if len(opened.ticks) < frames:
            opened.ticks = scan_packets(opened.video, until=frames - 1).ticks[:frames]
        yield opened
    except BaseException:
        if not opened.stack.__exit__(*sys.exc_info()):  # may raise a VideoError instead
            raise
    else:
        if key is not None and opened.video.states_start_time:
            KEPT.keep(key, opened)
        else:
            opened.stack.close()


def _key(path: Path | str, member: str | None) -> Key | None:
    """What identifies the content of a file; None if it cannot be found, which opening it will report."""
    try:
        if is_url(path):
            return str(path), member, *file_version(path, member), 0, 0
        stat = os.stat(path)
    except (OSError, ValueError):
        return None
    return str(path), member, stat.st_mtime_ns, stat.st_size, stat.st_ino, stat.st_dev
