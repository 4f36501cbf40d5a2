"""SHA-256 of the columns of a manifest that determine the samples of a run."""

from __future__ import annotations

import hashlib

import pyarrow as pa
import pyarrow.compute as pc

from worldmodel.manifest.validation import utf8_bytes

DIGEST_COLUMNS = ("clip_id", "content_hash", "start_s", "stop_s", "fps", "frames", "split")
CROP = "crop"  # part of the digest if a clip has a crop; so manifests without any keep the digest that they always had
FIRST_FRAME = "first_frame"  # likewise, if it is not the frame that is shown at `start_s` at the average rate


class SampleDigest:
    """Digest of DIGEST_COLUMNS, of the crops where there are some, and of first frames that the rate does not give.

    It depends neither on paths nor on the division of rows into batches.
    """

    def __init__(self) -> None:
        self._sums = {
            name: (hashlib.sha256(), hashlib.sha256()) for name in (*DIGEST_COLUMNS, CROP, FIRST_FRAME)
        }  # lengths, values
        self._optional = {CROP: False, FIRST_FRAME: False}  # whether they are part of the digest

    def update(self, batch: pa.RecordBatch) -> None:
        """Add rows with the types of the manifest: DIGEST_COLUMNS, the crop and the first frame. Others are not used."""
        for name, (lengths, values) in self._sums.items():
            column = batch.column(name)
            if name == CROP:
                self._optional[CROP] |= column.null_count < len(column)
                column = pc.fill_null(column, "")
            if name == FIRST_FRAME:
                by_rate = pa.array((batch.column("start_s").to_numpy() * batch.column("fps").to_numpy() + 1e-6).astype("<i8"))
                column = pc.coalesce(column, by_rate)
                self._optional[FIRST_FRAME] |= not column.equals(by_rate)
            if column.type == pa.string():
                lengths.update(pc.binary_length(column).to_numpy(zero_copy_only=False).astype("<i4").tobytes())
                values.update(utf8_bytes(column))
            else:
                values.update(column.to_numpy(zero_copy_only=False).astype("<f8").tobytes())

    def digest(self) -> bytes:
        whole = hashlib.sha256(" ".join(DIGEST_COLUMNS).encode())
        for name, parts in self._sums.items():
            for part in parts if self._optional.get(name, True) else ():
                whole.update(part.digest())
        return whole.digest()
