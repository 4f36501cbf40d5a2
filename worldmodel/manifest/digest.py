"""SHA-256 of the columns of a manifest that determine the samples of a run."""

from __future__ import annotations

import hashlib

import pyarrow as pa
import pyarrow.compute as pc

from worldmodel.manifest.validation import utf8_bytes

DIGEST_COLUMNS = ("clip_id", "content_hash", "start_s", "stop_s", "fps", "frames", "split")


class SampleDigest:
    """Digest of DIGEST_COLUMNS. It depends neither on paths nor on the division of rows into batches."""

    def __init__(self) -> None:
        self._sums = {name: (hashlib.sha256(), hashlib.sha256()) for name in DIGEST_COLUMNS}  # lengths of texts, then values

    def update(self, batch: pa.RecordBatch) -> None:
        """Add rows with the types of the manifest. The batch may have other columns too."""
        for name, (lengths, values) in self._sums.items():
            column = batch.column(name)
            if column.type == pa.string():
                lengths.update(pc.binary_length(column).to_numpy(zero_copy_only=False).astype("<i4").tobytes())
                values.update(utf8_bytes(column))
            else:
                values.update(column.to_numpy(zero_copy_only=False).astype("<f8").tobytes())

    def digest(self) -> bytes:
        whole = hashlib.sha256(" ".join(DIGEST_COLUMNS).encode())
        for parts in self._sums.values():
            for part in parts:
                whole.update(part.digest())
        return whole.digest()
