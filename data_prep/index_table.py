"""What `index` writes from the records of its journal: the manifest, the list of rejected files, and a summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.errors import PrepError
from data_prep.frame_ranges import FrameRange
from data_prep.inspection import VideoRecord
from data_prep.rejected_list import rejected_line, rejected_path
from data_prep.splits import FEW_FILES, Part, clips_of, segments_of, split_in_time, split_of, whole_file
from worldmodel.files.atomic import atomic_file
from worldmodel.manifest import SPLITS, Clip, write_manifest


def write_index(records: Callable[[], Iterator[VideoRecord]], out: Path, name: str, settings: dict[str, Any]) -> list[str]:
    """Write the manifest and the list of rejected files.

    records: a new iterator over all records at each call, so that they are not held in memory.
    name: of the data set. Returns the lines of a summary. Raises PrepError if nothing can be used.
    """
    rejected, counts = _write_rejected(records, out, settings)
    reasons = ", ".join(f"{count} {reason}" for reason, count in counts.most_common())
    usable = sum(1 for _ in _usable(records))
    if not usable:
        raise PrepError(f"none of {counts.total()} files can be used: {reasons}; see {rejected}")
    divider = _Divider(_count_contents(records) < FEW_FILES, settings)
    summary = _Summary()
    clips = (clip for record in _usable(records) for clip in summary.counted(divider.clips(record, name)))
    written = write_manifest(out, clips, command="python -m data_prep index", config=settings)
    if not written:
        out.unlink()
        raise PrepError(f"no segment of {usable} videos can be used: {reasons}; see {rejected}")
    lines = [f"{out}: {written} clips of {usable} files", *_split_lines(records, divider, summary, settings)]
    lines += _content_lines(records, usable)
    if slow := sum(record.timing != "packets" for record in _usable(records)):
        lines.append(
            f"{slow} {'videos do' if slow > 1 else 'video does'} not say when frames are shown: each window is decoded from "
            "the start, which is slow; copies made by `python -m data_prep transcode` are read fast"
        )
    lines += _left_out(records)
    if counts:
        lines.append(f"{counts.total()} rejected: {reasons}; see {rejected}")
    return lines


def _usable(records: Callable[[], Iterator[VideoRecord]]) -> Iterator[VideoRecord]:
    return (record for record in records() if record.reason is None)


@dataclass
class _Divider:
    """Divides records into clips."""

    few: bool  # so few videos that each one without a split in a list is divided in time
    settings: dict[str, Any]
    in_time: dict[str, list[Part]] = field(default_factory=dict)  # by content, so that equal content is split equally

    def clips(self, record: VideoRecord, name: str) -> Iterator[Clip]:
        return clips_of(record, self._parts(record), name)

    def _parts(self, record: VideoRecord) -> list[Part]:
        split = split_of(record.content_hash, self.settings["val"], self.settings["test"])
        if record.segments:
            return [
                Part(segment.split or split, found, segment.label)
                for segment, found in segments_of(record)
                if found is not None and _is_long_enough(found, self.settings)
            ]
        if record.split is not None:
            return whole_file(record, record.split)
        if self.few:
            return self.in_time.setdefault(record.content_hash, split_in_time(record))
        return whole_file(record, split)


def _is_long_enough(found: FrameRange, settings: dict[str, Any]) -> bool:
    return found.frames >= 2 and found.stop_s - found.start_s >= settings["min_seconds"] - 1e-6


@dataclass
class _Summary:
    """Counts clips while they are written."""

    splits: Counter[str] = field(default_factory=Counter)
    labels: set[str] = field(default_factory=set)

    def counted(self, clips: Iterator[Clip]) -> Iterator[Clip]:
        for clip in clips:
            self.splits[clip.split] += 1
            if clip.label is not None:
                self.labels.add(clip.label)
            yield clip


def _split_lines(
    records: Callable[[], Iterator[VideoRecord]], divider: _Divider, summary: _Summary, settings: dict[str, Any]
) -> list[str]:
    """Sentences on splits and classes."""
    origins = Counter(_origin(record) for record in _usable(records))
    listed = origins["list"]
    lines = []
    if divider.few and not listed:
        lines.append(f"fewer than {FEW_FILES} files: each is split in time, and its last fifth is held out as val")
    else:
        how = "by content" if not listed else "as the lists say"
        if listed and origins["content"]:
            how += f"; {origins['content']} files whose split no list says are split by content"
        shown = [split for split in SPLITS if summary.splits[split] or split in ("train", "val", "test")]
        lines.append(", ".join(f"{summary.splits[split]} {split}" for split in shown) + f", {how}")
        if not summary.splits["val"] and (listed or settings["val"]):
            lines.append("no clip is in val, which training needs" if listed else "no file is in val; give a larger --val")
    if summary.labels:
        lines.append(f"{len(summary.labels)} classes")
    return lines


def _origin(record: VideoRecord) -> str:
    """Where the split of a video comes from."""
    if record.segments:
        return "list" if all(segment["split"] for segment in record.segments) else "content"
    return "list" if record.split is not None else "content"


def _content_lines(records: Callable[[], Iterator[VideoRecord]], usable: int) -> list[str]:
    """Sentences on videos with equal content."""
    if not (duplicates := usable - _count_contents(records)):
        return []
    lines = [f"{duplicates} {'files have' if duplicates > 1 else 'file has'} the same content as another one"]
    if all(_origin(record) == "content" for record in _usable(records)):
        return [f"{lines[0]}, and the same split"]
    # 61 bits of the hash and 3 of the split
    number = {name: index for index, name in enumerate(SPLITS)}
    marked = ((_hash_number(record) & ~7) | number[record.split] for record in _usable(records) if record.split is not None)
    pairs = np.unique(np.fromiter(marked, np.uint64))
    if crossing := len(pairs) - len(np.unique(pairs >> np.uint64(3))):
        lines.append(f"the lists put {crossing} contents into several splits: what is tested was seen in training")
    return lines


def _count_contents(records: Callable[[], Iterator[VideoRecord]]) -> int:
    return len(np.unique(np.fromiter((_hash_number(record) for record in _usable(records)), np.uint64)))


def _hash_number(record: VideoRecord) -> int:
    """64 bits of the content hash, so that a million of them take 8 MB."""
    return int(record.content_hash[:16], 16)


def _left_out(records: Callable[[], Iterator[VideoRecord]]) -> list[str]:
    """A line on folders with images that are not frames of their video, if there are any."""
    folders = [(record.path, record.left_out) for record in records() if record.left_out]
    if not folders:
        return []
    path, what = folders[0]
    more = f", and in {len(folders) - 1} more folders" if len(folders) > 1 else ""
    return [f"{path}: {what}{more} (`python -m data_prep inspect FOLDER` lists them)"]


def _write_rejected(
    records: Callable[[], Iterator[VideoRecord]], out: Path, settings: dict[str, Any]
) -> tuple[Path, Counter[str]]:
    """Write the list of what cannot be used, if there is any. Returns its path, and counts by reason."""
    path = rejected_path(out)
    counts = Counter(reason for record in records() for reason, _ in _faults(record, settings))
    if not counts:
        path.unlink(missing_ok=True)
        return path, counts
    with atomic_file(path) as lines:
        for record in records():
            for reason, detail in _faults(record, settings):
                lines.write(rejected_line(record.path, record.member, reason, detail, path.parent).encode())
    return path, counts


def _faults(record: VideoRecord, settings: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    """(reason, detail) of a video that cannot be used, or of each of its segments that cannot."""
    if record.reason is not None:
        yield record.reason, record.detail
        return
    for segment, found in segments_of(record):
        span = f"the segment [{segment.start_s:.3f}, {segment.stop_s:.3f}) s"
        if found is not None and _is_long_enough(found, settings):
            continue
        if segment.start_s >= record.duration_s:
            yield "segment past the end", f"{span} begins after the end of the video, {record.duration_s:.3f} s"
        else:
            frames = 0 if found is None else found.frames
            detail = f"{span} holds {frames} frames; expected at least 2, and {settings['min_seconds']:g} s (--min-seconds)"
            yield "segment too short", detail
