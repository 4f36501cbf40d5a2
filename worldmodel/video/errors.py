"""VideoError: a video that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from worldmodel.files.output_errors import OutputError
from worldmodel.process.terminal import escape_line

MAX_PIXELS = 1 << 27  # of one frame: 16K video has 132,710,400


class VideoError(ValueError):
    """A video that cannot be read, or that does not have the requested frames.

    path: the file (`shard.tar::clip.mp4` for a tar member). reason: a few words that are the same for all files with this
    problem, so that an index can count them: "empty file", "truncated", "no video stream", "too short", "past the end", ...
    """

    def __init__(self, path: str, reason: str, detail: str = "") -> None:
        super().__init__(f"{escape_line(str(path))}: {detail or reason}")
        self.path, self.reason, self.detail = str(path), reason, detail

    def __reduce__(self) -> tuple[type[VideoError], tuple[str, str, str]]:
        return VideoError, (self.path, self.reason, self.detail)  # so that it can be sent from a worker process


@contextmanager
def reading_errors(name: str) -> Iterator[None]:
    """Turn every error of reading a damaged video into a VideoError. `name` is the video's name in the message.

    FFmpeg, Pillow, numpy and tarfile raise many types of error for damaged files. An OutputError, which a block that also
    writes may raise, passes unchanged.
    """
    try:
        yield
    except (VideoError, OutputError):
        raise
    except MemoryError:
        raise VideoError(name, "too large", "reading it takes more memory than there is") from None
    except PermissionError:
        raise VideoError(name, "no permission", "this user may not read the file") from None
    except OSError as error:
        raise VideoError(name, "unreadable file", error.strerror or str(error)) from error
    except Exception as error:
        raise VideoError(name, "corrupt", f"it cannot be read ({type(error).__name__}: {error})") from error


def check_pixels(name: str, height: int, width: int) -> None:
    """Raise VideoError for a frame with more than MAX_PIXELS: a damaged header may claim any size."""
    if height * width > MAX_PIXELS:
        raise VideoError(
            name, "too large", f"its frames have {width} x {height} pixels; at most {MAX_PIXELS:,} are read (16K video)"
        )
