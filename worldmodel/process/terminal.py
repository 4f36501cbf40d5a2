"""Text of others on a terminal: file names may hold escape sequences, which would move the cursor or rename the window."""

from __future__ import annotations

import sys
import unicodedata
from typing import TextIO

_UNSAFE = {"Cc", "Cs", "Zl", "Zp"}  # control characters, bytes that are not UTF-8, separators of lines and paragraphs
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # show text in another order


def printable(text: object) -> str:
    """A text of one or more lines with all characters escaped that a terminal would obey."""
    return "\n".join("\t".join(map(on_one_line, line.split("\t"))) for line in str(text).split("\n"))


def on_one_line(name: str) -> str:
    """The same of a name, in which line breaks and tabs are escaped too."""
    if name.isascii() and name.isprintable():
        return name
    return "".join(ascii(it)[1:-1] if it in _BIDI or unicodedata.category(it) in _UNSAFE else it for it in name)


def say(text: object = "", *, file: TextIO | None = None, flush: bool = False) -> None:
    """Print a text that holds names of others, on standard output unless a file is given."""
    print(printable(text), file=file, flush=flush)


def never_fail_to_print() -> None:
    """Characters that standard output cannot hold are escaped from now on, instead of ending the program."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
