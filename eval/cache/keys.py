"""Keys of stored results: digests of everything that determines them.

Results that can be computed again are keyed by their inputs and by `source_digest`, so that any
change of the code invalidates them. Results that must outlive an upgrade (`eval.cache.run_folder`)
carry a format number instead.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

PACKAGES = ("eval", "worldmodel", "data_prep")


def digest_of(inputs: Mapping[str, Any] | Sequence[Any]) -> str:
    """Digest of JSON values, 16 hex digits. Other values, such as paths, count by their text."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True, default=str).encode()).hexdigest()[:16]


@cache
def source_digest() -> str:
    """Digest of the source files of this project."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        for file in sorted((Path(__file__).resolve().parents[2] / package).rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def content_digest(*files: Path) -> str:
    """Digest of the content of files. A missing file counts as empty."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes() if file.is_file() else b"").digest())
    return digest.hexdigest()
