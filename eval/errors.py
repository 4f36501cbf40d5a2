"""What can be wrong in the user's world, told in a line."""

from __future__ import annotations


class EvalError(ValueError):
    """An evaluation that cannot be made as asked; says what was given, what was expected, what to do."""
