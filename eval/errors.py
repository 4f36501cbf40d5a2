"""User-facing errors, reported in one line."""

from __future__ import annotations


class EvalError(ValueError):
    """An evaluation that cannot be made as requested.

    The message says what was given, what was expected and what to do.
    """
