"""Safe file names for names that come from data, such as the clip ids of a benchmark."""

from __future__ import annotations

import hashlib
import re

MAX_LENGTH = 100  # characters of a name; with suffixes, also that of a temporary file, it stays below 255 bytes
READABLE_LENGTH = 40  # characters of a longer or unusual name that its file name repeats
_PLAIN = re.compile(r"[a-z0-9_](?:[a-z0-9_ .,+=@-]*[a-z0-9_,+=@-])?")
_UNUSUAL = re.compile(r"[^A-Za-z0-9_-]+")
_RESERVED = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9])(?:[ .].*)?")  # devices of Windows


def safe_file_name(name: str, suffix: str = "") -> str:
    """A unique file name for any name, plus a suffix such as ".npz". It contains no folder.

    A name of lower-case ASCII letters, digits and ` _.,+=@-` is unchanged. Every other name is
    shortened, its unusual characters are replaced, and a digest of the whole name is appended. Two
    names never have the same file name, even where the file system ignores case or normalises
    Unicode.
    """
    if len(name) <= MAX_LENGTH and _PLAIN.fullmatch(name) and not _RESERVED.fullmatch(name):
        return name + suffix
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"{_UNUSUAL.sub('_', name)[:READABLE_LENGTH]}~{digest}{suffix}"
