"""Benchmark suites: a reader for each layout.

To add one, write a file here with `open_folder(path, **options) -> Suite` and SOURCE, which states
where the data come from, and add a line to SUITES.
"""

from __future__ import annotations

import difflib
import inspect
from pathlib import Path
from types import ModuleType
from urllib.parse import parse_qsl

from eval.voe.suites import builtin, grasp, inflevel, intphys, intphys2
from eval.voe.suites.checked_files import source_line
from eval.voe.suites.suite import Count, PublishedProtocol, Suite
from eval.voe.trials import TrialError
from worldmodel.storage.errors import StorageError
from worldmodel.storage.folder_copy import copy_of_folder
from worldmodel.storage.urls import UrlError, is_url

SUITES: dict[str, ModuleType] = {
    "builtin": builtin,
    "intphys": intphys,
    "intphys2": intphys2,
    "grasp": grasp,
    "inflevel": inflevel,
}


def open_suite(spec: str) -> Suite:
    """Open KIND:DIR, with options as in inflevel:DIR?priming=yes. DIR may be a URL, which is copied to this machine first.

    Raises TrialError with all problems at once.
    """
    kind, colon, rest = spec.partition(":")
    folder, _, query = rest.partition("?")
    if kind not in SUITES or not colon or not folder:
        near = difflib.get_close_matches(kind, SUITES, 1)
        raise TrialError(
            f"{spec!r} is not a suite{f'; did you mean {near[0]}:DIR?' if near else ''}; expected one of "
            + ", ".join(f"{name}:DIR" for name in SUITES)
        )
    if is_url(folder):
        folder = str(_local_copy(folder))
    if not Path(folder).is_dir():
        raise TrialError(f"{folder}: no such folder (from {spec!r}){source_line(SUITES[kind].SOURCE)}")
    options = dict(parse_qsl(query, keep_blank_values=True))
    known = list(inspect.signature(SUITES[kind].open_folder).parameters)[1:]
    if unknown := [name for name in options if name not in known]:
        raise TrialError(f"{spec!r}: {', '.join(unknown)} is no option of {kind}; it has {', '.join(known) or 'none'}")
    if empty := [name for name, value in options.items() if not value]:
        raise TrialError(f"{spec!r}: {empty[0]} has no value; write ?{empty[0]}=VALUE")
    suite: Suite = SUITES[kind].open_folder(Path(folder), **options)
    return suite


def _local_copy(url: str) -> Path:
    try:
        return copy_of_folder(url)
    except StorageError as error:
        raise TrialError(str(error.strerror)) from None
    except UrlError as error:
        raise TrialError(str(error)) from None


__all__ = ["SUITES", "Count", "PublishedProtocol", "Suite", "open_suite"]
