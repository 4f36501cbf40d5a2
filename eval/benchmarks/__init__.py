"""Benchmarks, by the layout they come in.

A new one: a file here with `open_folder(path, **options) -> Suite`, and its line in SUITES.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl

from eval.benchmarks import builtin, grasp, inflevel, intphys, intphys2
from eval.benchmarks.suite import Count, Published, Suite
from eval.trials import TrialError

SUITES: dict[str, Callable[..., Suite]] = {
    "builtin": builtin.open_folder,
    "intphys": intphys.open_folder,
    "intphys2": intphys2.open_folder,
    "grasp": grasp.open_folder,
    "inflevel": inflevel.open_folder,
}


def open_suite(spec: str) -> Suite:
    """From KIND:DIR, with options as in inflevel:DIR?priming=yes. Raises TrialError for what is wrong, all of it at once."""
    kind, colon, rest = spec.partition(":")
    folder, _, query = rest.partition("?")
    if kind not in SUITES or not colon or not folder:
        near = difflib.get_close_matches(kind, SUITES, 1)
        raise TrialError(
            f"{spec!r} is no suite{f'; did you mean {near[0]}:DIR?' if near else ''}; expected one of "
            + ", ".join(f"{name}:DIR" for name in SUITES)
        )
    if not Path(folder).is_dir():
        raise TrialError(f"{folder}: no such folder (from {spec!r})")
    options = dict(parse_qsl(query, keep_blank_values=True))
    known = list(inspect.signature(SUITES[kind]).parameters)[1:]
    if unknown := [name for name in options if name not in known]:
        raise TrialError(f"{spec!r}: {', '.join(unknown)} is no option of {kind}; it has {', '.join(known) or 'none'}")
    if empty := [name for name, value in options.items() if not value]:
        raise TrialError(f"{spec!r}: {empty[0]} has no value; write ?{empty[0]}=VALUE")
    return SUITES[kind](Path(folder), **options)


__all__ = ["SUITES", "Count", "Published", "Suite", "open_suite"]
