"""Identity of a video: a hash of its whole content. Copies, splits and the ids of clips are functions of it."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from worldmodel.video.container.source import open_bytes
from worldmodel.video.frame_folder.frames import frame_names

METHOD = "sha256 of the whole content"
"""Stands in the metadata of manifests. Those without it have hashes of the first and last MiB, or of unknown origin."""
DIGEST = re.compile(r"[0-9a-f]{64}")  # what a hash looks like; a manifest of others may hold any text
MIB = 1 << 20
CHUNK_BYTES = 4 * MIB


def content_hash(path: str, member: str | None) -> str:
    """sha256 of a video file or tar member, or of all frames of a folder: 64 hex digits, in constant memory.

    Of a file: its size in decimal, its bytes, and its last MiB once more, so that files of up to 1 MiB have the hash that
    earlier versions gave them. Of a folder of frames: the length and the bytes of each frame, in order; names do not count.
    Raises VideoError or OSError for what cannot be read.
    """
    digest = hashlib.sha256()
    if member is None and os.path.isdir(path):
        for name in frame_names(path):
            frame = Path(path, name).read_bytes()
            digest.update(len(frame).to_bytes(8, "big"))
            digest.update(frame)
        return digest.hexdigest()
    with open_bytes(path, member) as file:
        size = file.seek(0, os.SEEK_END)
        digest.update(str(size).encode())
        for start in (0, max(0, size - MIB)):
            file.seek(start)
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
    return digest.hexdigest()
