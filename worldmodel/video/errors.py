"""VideoError: a video that cannot be read."""

from __future__ import annotations


class VideoError(ValueError):
    """A video that cannot be read, or was asked for what it does not have.

    path: the file (`shard.tar::clip.mp4` for a tar member). reason: a few words that repeat from file to file, so that
    an index can count them: "empty file", "truncated", "no video stream", "too short", "past the end", ...
    """

    def __init__(self, path: str, reason: str, detail: str = "") -> None:
        super().__init__(f"{path}: {detail or reason}")
        self.path, self.reason, self.detail = str(path), reason, detail

    def __reduce__(self) -> tuple[type[VideoError], tuple[str, str, str]]:
        return VideoError, (self.path, self.reason, self.detail)  # so that it crosses from a worker process
