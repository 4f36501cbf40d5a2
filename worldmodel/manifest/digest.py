"""SHA-256 of what determines the samples of a run: which clips of which contents there are, in which splits and order."""

from __future__ import annotations

import hashlib

import pyarrow as pa
import pyarrow.compute as pc

from worldmodel.manifest.validation import bytes_of

DIGESTED = ("clip_id", "content_hash", "start_s", "stop_s", "fps", "frames", "split")


class SampleDigest:
    """Digest of the columns DIGESTED. It does not depend on paths, nor on how the rows are cut into batches."""

    def __init__(self) -> None:
        self._sums = {name: (hashlib.sha256(), hashlib.sha256()) for name in DIGESTED}  # lengths of texts, then values

    def update(self, batch: pa.RecordBatch) -> None:
        """Add rows, of the manifest's own types. The batch may have further columns."""
        for name, (lengths, values) in self._sums.items():
            column = batch.column(name)
            if column.type == pa.string():
                lengths.update(pc.binary_length(column).to_numpy(zero_copy_only=False).astype("<i4").tobytes())
                values.update(bytes_of(column))
            else:
                values.update(column.to_numpy(zero_copy_only=False).astype("<f8").tobytes())

    def digest(self) -> bytes:
        whole = hashlib.sha256(" ".join(DIGESTED).encode())
        for parts in self._sums.values():
            for part in parts:
                whole.update(part.digest())
        return whole.digest()
