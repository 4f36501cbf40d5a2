"""Hash of the whole content of a video.

It determines the split, the ids of the clips and the name of a transcoded copy.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from worldmodel.video.container.source import open_bytes
from worldmodel.video.frame_folder.frames import frame_names

METHOD = "sha256 of the whole content"
"""Stored in the metadata of manifests.

Manifests without it hold hashes of the first and last MiB, or of unknown origin.
"""
DIGEST = re.compile(r"[0-9a-f]{64}")  # format of a hash; manifests of other programs may hold any text
MIB = 1 << 20
CHUNK_BYTES = 4 * MIB


def content_hash(path: str, member: str | None) -> str:
    """SHA-256 of a video file, a tar member or a folder of frames, as 64 hex digits.

    A file is hashed as its size in decimal, its bytes, and its last MiB once more. So files of up
    to 1 MiB keep the hash of earlier versions. A folder is hashed as the length and the bytes of
    each frame, in order, without the names. Raises VideoError or OSError for what cannot be read.
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
