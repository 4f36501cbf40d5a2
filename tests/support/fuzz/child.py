"""A process that reads damaged files: `python -m fuzz.child FAMILY FIRST LAST SEED FOLDER`.

It prints a line before each read and after each finding, so that its parent knows which read crashed
or hung.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import shutil
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

import numpy as np

from fuzz.mutations import mutated

MOST_MEMORY = 1 << 30  # bytes in addition to those of the process with loaded modules


def main(family: str, first: int, last: int, seed: int, folder: Path) -> None:
    module = importlib.import_module(f"fuzz.{family}")
    source = folder / "source"
    source.mkdir(parents=True)
    seeds = module.seeds(source)
    names, originals = list(seeds), {name: path.read_bytes() for name, path in seeds.items()}
    for name in names:  # read intact files and load modules before memory is limited
        for turn in range(8):
            if found := _read(module, name, seeds[name], originals[name], turn, expect_error=False):
                raise SystemExit(f"{name}, not damaged: {found}")
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MOST_MEMORY, resource.RLIM_INFINITY))
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    reported: set[str] = set()
    for turn in range(first, last):
        name = names[turn % len(names)]
        row = {"turn": turn, "name": name, "path": str(seeds[name])}
        print(json.dumps(row), flush=True)
        data = mutated(originals[name], seed * 1_000_003 + turn)
        if (found := _read(module, name, seeds[name], data, turn // len(names))) and found not in reported:
            reported.add(found)
            saved = Path(tempfile.mkdtemp(prefix="found")) / f"{turn}-{seeds[name].name}"
            saved.write_bytes(data)
            print(json.dumps({**row, "finding": found, "path": str(saved)}), flush=True)
    print(json.dumps({"turn": last, "name": "", "path": ""}), flush=True)


def _read(module, name: str, path: Path, data: bytes, turn: int, expect_error: bool = True) -> str:
    """An error of another type than those of this project, with its location; "" where there was none."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()  # caches of readers identify files by inode or by time
    path.write_bytes(data)
    os.utime(path, ns=(turn * 10**9 + 1, turn * 10**9 + 1))
    os.utime(path.parent, ns=(turn * 10**9 + 1, turn * 10**9 + 1))
    try:
        module.reader(name, path)(turn)
    except module.ERRORS:
        return "" if expect_error else traceback.format_exc()
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {str(error)[:200]} (at {where.filename}:{where.lineno})"
    return ""


if __name__ == "__main__":
    where = Path(sys.argv[5])
    try:
        main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), where)
    finally:
        shutil.rmtree(where, ignore_errors=True)
