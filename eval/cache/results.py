"""On-disk cache of finished results, so that an interrupted command resumes from them.

Keyed by inputs and source digest: any change invalidates the cache.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from eval.cache.keys import digest_of, source_digest
from eval.result_folder import read_json
from worldmodel.files.atomic import write_json
from worldmodel.files.file_names import safe_file_name
from worldmodel.process.terminal import print_escaped

Result = TypeVar("Result")


@dataclass(frozen=True)
class ResultCache:
    """Results in a folder, one JSON file each."""

    folder: Path

    @classmethod
    def for_inputs(cls, out: Path, inputs: Mapping[str, Any]) -> ResultCache:
        """The cache in OUT/answers/<digest> for these inputs and this source code."""
        return cls(out / "answers" / digest_of({**inputs, "code": source_digest()}))

    def get_or_compute(self, name: str, compute: Callable[[], Result]) -> Result:
        """The cached result of this name, else `compute()`, which is then cached.

        Results must survive a round trip to JSON.
        """
        file = self.folder / safe_file_name(name, ".json")
        if file.exists():
            stored = read_json(file) or {}
            if "answer" in stored and stored.get("sha256") == _digest(stored["answer"]):
                cached: Result = stored["answer"]
                return cached
            print_escaped(f"{file} was damaged or changed since it was written; it is computed again", file=sys.stderr)
        result = compute()
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(file, {"answer": result, "sha256": _digest(result)})
        return result

    def clear(self) -> None:
        """Remove the cache once all results are written elsewhere.

        Results for other inputs are removed, too.
        """
        if self.folder.parent.exists():
            shutil.rmtree(self.folder.parent)


def _digest(result: Any) -> str:
    return hashlib.sha256(json.dumps(result, sort_keys=True).encode()).hexdigest()
