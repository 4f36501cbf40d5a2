"""The origin of a manifest (format, command, config and versions) as JSON in the metadata of the table."""

from __future__ import annotations

import json
from typing import Any

from worldmodel.manifest.clip import FORMAT_VERSION, ManifestError

_ADVICE = "remove the key `worldmodel` from the metadata of the table, or write the table with write_manifest"


def parse_metadata(stored: bytes) -> dict[str, Any]:
    """Parse and validate the metadata. Raises ManifestError without the name of the file, also for a newer format."""
    try:
        metadata = json.loads(stored)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"its metadata is not JSON ({str(error)[:200]}); {_ADVICE}") from None
    if not isinstance(metadata, dict):
        raise ManifestError(
            f"its metadata is a {type(metadata).__name__}; expected an object with format and config; {_ADVICE}"
        )
    file_format = metadata.get("format", FORMAT_VERSION)
    if isinstance(file_format, bool) or not isinstance(file_format, int) or file_format < 1:
        raise ManifestError(f"its metadata has format {str(file_format)[:80]!r}; expected a whole number from 1; {_ADVICE}")
    if file_format > FORMAT_VERSION:
        versions = metadata.get("versions")
        made_by = str(versions.get("worldmodel", "unknown") if isinstance(versions, dict) else "unknown")[:80]
        raise ManifestError(
            f"made by version {made_by!r} of this project, with manifest format {file_format}; this version reads formats up "
            f"to {FORMAT_VERSION}; update this project"
        )
    for key in ("config", "versions"):
        if not isinstance(metadata.get(key, {}), dict):
            raise ManifestError(f"its metadata has a {key} that is not an object; {_ADVICE}")
    return metadata
