"""The packet index of a manifest: the packets of each of its videos that can be decoded without its container."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data_prep.errors import PrepError
from data_prep.pool import run_each
from data_prep.progress import bar
from worldmodel.files.outputs import ForeignFileError, output_file
from worldmodel.manifest import Manifest
from worldmodel.video import VideoError
from worldmodel.video.packet_index.build import Refusal, packet_table
from worldmodel.video.packet_index.index_file import PacketIndexWriter, packet_index_path, write_packet_index
from worldmodel.video.packet_index.table import PacketTable


@dataclass(frozen=True)
class IndexedVideo:
    """A video of a manifest."""

    path: str
    member: str | None
    timing: str | None


def index_packets(path: Path, workers: int, timeout_s: float) -> list[str]:
    """Write the packet index of a manifest beside it. Returns the lines of a summary.

    timeout_s: a file that takes longer is left out. Raises PrepError for a file of other origin in
    its place, OutputError and ManifestError.
    """
    manifest = Manifest.open(path)
    out = packet_index_path(manifest.path)
    total = sum(1 for _ in _videos(manifest))
    refused: Counter[str] = Counter()
    try:
        with output_file(out, "give the manifest another name"), write_packet_index(out) as index:
            _add_all(index, manifest, total, refused, workers, timeout_s)
    except ForeignFileError as error:
        raise PrepError(str(error)) from None
    lines = [f"{out}: {len(index)} of {total} videos, {os.path.getsize(out) / 1e6:.1f} MB"]
    if refused:
        reasons = ", ".join(f"{count}: {reason}" for reason, count in refused.most_common())
        lines.append(f"{refused.total()} will be read through their container ({reasons})")
    return lines


def _add_all(
    index: PacketIndexWriter, manifest: Manifest, total: int, refused: Counter[str], workers: int, timeout_s: float
) -> None:
    """Add all videos to the index, or count why they are left out."""
    with bar("packets", total) as progress:
        for video, result in run_each(table_of, _videos(manifest), min(workers, max(1, total)), timeout_s):
            if isinstance(result, PacketTable):
                index.add(video.path, video.member, result)
            else:
                refused[result.reason] += 1
            progress.step(ok=isinstance(result, PacketTable))


def table_of(video: IndexedVideo) -> PacketTable | Refusal:
    """The packets of a video, or why it is left out. Runs in worker processes."""
    if video.timing != "packets":
        return Refusal("the manifest does not say that packets have the times of their frames")
    try:
        return packet_table(video.path, video.member)
    except VideoError as error:
        return Refusal(error.reason)
    except OSError:
        return Refusal("unreadable file")


def _videos(manifest: Manifest) -> Iterator[IndexedVideo]:
    """The videos of a manifest, each once, in order."""
    seen: set[int] = set()
    for batch in manifest.batches(("path", "member", "timing")):
        for path, member, timing in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            key = hash((path, member))
            if key not in seen:
                seen.add(key)
                yield IndexedVideo(manifest.absolute(path), member, timing)
