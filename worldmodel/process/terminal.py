"""Print text of unknown origin. File names may have escape sequences that move the cursor or rename the window."""

from __future__ import annotations

import sys
import unicodedata
from typing import TextIO

_UNSAFE = {"Cc", "Cs", "Zl", "Zp"}  # Unicode categories: control characters, surrogates, line and paragraph separators
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # change the order of text


def escape_lines(text: object) -> str:
    """Escape all characters that a terminal would execute, except line breaks and tabs."""
    return "\n".join("\t".join(map(escape_line, line.split("\t"))) for line in str(text).split("\n"))


def escape_line(name: str) -> str:
    """Escape all characters that a terminal would execute, line breaks and tabs too."""
    if name.isascii() and name.isprintable():
        return name
    return "".join(ascii(c)[1:-1] if c in _BIDI or unicodedata.category(c) in _UNSAFE else c for c in name)


def print_escaped(text: object = "", *, file: TextIO | None = None, flush: bool = False) -> None:
    """Print a text of unknown origin with `escape_lines`, on standard output unless a file is given."""
    print(escape_lines(text), file=file, flush=flush)


def escape_unencodable_output() -> None:
    """Escape characters that standard output and error cannot encode, instead of raising an error."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
