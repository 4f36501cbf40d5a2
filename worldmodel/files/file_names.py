"""File names for names that come from data, such as the clip ids of a benchmark. A name never becomes a path unescaped."""

from __future__ import annotations

import hashlib
import re

MAX_LENGTH = 100  # characters of a name; with a suffix and the mark of an unfinished file it stays below 255 bytes
SHOWN_LENGTH = 40  # characters of a longer or unusual name that its file name shows
_PLAIN = re.compile(r"[a-z0-9_](?:[a-z0-9_ .,+=@-]*[a-z0-9_,+=@-])?")
_NOT_SHOWN = re.compile(r"[^A-Za-z0-9_-]+")
_RESERVED = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9])(?:[ .].*)?")  # devices of Windows


def file_name_for(name: str, suffix: str = "") -> str:
    """One file name for each name, plus a suffix such as ".npz". Any text is allowed, and the result has no folder in it.

    A name of lower-case ASCII letters, digits and ` _.,+=@-` stays as it is. Every other name is shortened, its unusual
    characters are replaced, and a digest of the whole name is appended. Two names never share a file, also where the file
    system ignores case or normalises Unicode.
    """
    if len(name) <= MAX_LENGTH and _PLAIN.fullmatch(name) and not _RESERVED.fullmatch(name):
        return name + suffix
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"{_NOT_SHOWN.sub('_', name)[:SHOWN_LENGTH]}~{digest}{suffix}"
