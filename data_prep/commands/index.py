"""Inspect every video of a data set and write its manifest.

An interrupted command resumes when it is given again.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.content_hash import METHOD
from data_prep.errors import PrepError
from data_prep.inspection import VideoRecord, inspect_item, rejected_record
from data_prep.journal import Journal
from data_prep.overwrite_checks import check_lines, check_manifest
from data_prep.pool import Failed, run_each
from data_prep.progress import bar
from data_prep.rejected_list import rejected_line, rejected_path
from data_prep.sources import SOURCES, Item, SkippedFiles
from data_prep.splits import FEW_FILES, TimeRange, clips_of, split_in_time, split_of, whole_file
from worldmodel.files.atomic import atomic_file
from worldmodel.files.folder_lock import lock_file
from worldmodel.files.output_errors import output_errors
from worldmodel.files.outputs import GIVE_ANOTHER_OUT
from worldmodel.manifest import Clip, write_manifest
from worldmodel.process.arguments import finite_number, positive_number, whole_number
from worldmodel.process.cores import usable_cores
from worldmodel.process.terminal import print_escaped

HELP = "write a manifest of a folder of videos, or of a list in the format of V-JEPA"
RESUMES = True
TIMEOUT_S = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("root", type=Path, metavar="DIR", help="the folder (or, with --source csv, the list)")
    parser.add_argument("--out", type=Path, required=True, metavar="M.parquet", help="the manifest to write")
    parser.add_argument("--source", choices=SOURCES, help="layout of the data set (default: folder, or csv for a file)")
    parser.add_argument("--name", help="name of the data set, for the column `source` (default: the name of DIR)")
    parser.add_argument(
        "--min-seconds", type=finite_number(0, expected="seconds"), default=1.0, help="shorter videos are rejected (default 1)"
    )
    parser.add_argument(
        "--val", type=finite_number(0, 1, "a fraction"), default=0.1, help="fraction of files in val (default 0.1)"
    )
    parser.add_argument(
        "--test", type=finite_number(0, 1, "a fraction"), default=0.1, help="fraction of files in test (default 0.1)"
    )
    parser.add_argument("--thorough", action="store_true", help="decode every frame, to find damage anywhere in a file")
    parser.add_argument(
        "--workers", type=whole_number(1), default=usable_cores(), help="worker processes (default: one per core)"
    )
    parser.add_argument(
        "--timeout-s", type=positive_number("seconds"), default=TIMEOUT_S, help="reject a file that takes longer (default 60)"
    )


def run(args: argparse.Namespace) -> int:
    """Run the command.

    Raises PrepError if there is nothing to index or `--out` is another file, and OutputError if it
    cannot be written.
    """
    _check(args)
    root, out = Path(os.path.abspath(args.root)), Path(os.path.abspath(args.out))
    _check_out(out)
    source = args.source or ("csv" if root.is_file() else "folder")
    skipped = SkippedFiles()
    total = sum(1 for _ in SOURCES[source](root, skipped))
    if not total:
        raise PrepError(f"{args.root}: no videos in this folder or below it; {'; '.join(skipped.lines(root)) or 'it is empty'}")
    with output_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    with lock_file(out, GIVE_ANOTHER_OUT):
        return _index(args, root, out, source, total, skipped)


def _index(args: argparse.Namespace, root: Path, out: Path, source: str, total: int, skipped: SkippedFiles) -> int:
    settings = {"root": str(root), "source": source, "min_seconds": args.min_seconds, "thorough": args.thorough}
    settings["content_hash"] = METHOD
    journal = Journal(_journal_of(out), settings, SOURCES[source](root, SkippedFiles()), VideoRecord)
    try:
        _inspect_all(journal, total, args)
        fractions = {"val": args.val, "test": args.test}
        print_escaped("\n".join([*_write(journal, out, args.name or root.stem, settings | fractions), *skipped.lines(root)]))
    except PrepError:
        journal.remove()  # all videos are rejected; the next run inspects them again
        raise
    finally:
        journal.close()
    journal.remove()
    return 0


def _check(args: argparse.Namespace) -> None:
    if not args.root.exists():
        raise PrepError(f"{args.root}: no such folder")
    if args.root.is_file() and args.source not in (None, "csv"):
        raise PrepError(f"{args.root}: --source {args.source} expects a folder, but this is a file")
    if args.out.is_dir():
        raise PrepError(f"{args.out}: --out is a folder; give a file in it, such as {args.out / 'm.parquet'}")
    if min(args.val, args.test) < 0 or args.val + args.test >= 1:
        raise PrepError(f"--val {args.val:g} --test {args.test:g}: expected fractions from 0 with a sum below 1")


def _check_out(out: Path) -> None:
    """Raises PrepError where a file of other origin would be overwritten."""
    advice = "give another file as --out"
    check_manifest(out, "data_prep index", advice)
    check_lines(rejected_path(out), "reason", advice)
    check_lines(_journal_of(out), "root", advice)


def _journal_of(out: Path) -> Path:
    return out.with_name(f"{out.name}.part.jsonl")


def _inspect_all(journal: Journal[Item, VideoRecord], total: int, args: argparse.Namespace) -> None:
    """Inspect the items that are left, and append them to the journal."""
    with bar("index", total) as progress:
        progress.step(done=journal.done)
        work = partial(inspect_item, min_seconds=args.min_seconds, thorough=args.thorough)
        left = total - journal.done
        for item, result in run_each(work, journal.items, min(args.workers, max(1, left)), args.timeout_s):
            record = rejected_record(item, result.reason, result.detail) if isinstance(result, Failed) else result
            journal.append(record)
            progress.step(ok=record.reason is None)


def _write(journal: Journal[Item, VideoRecord], out: Path, name: str, settings: dict[str, Any]) -> list[str]:
    """Write the manifest and the list of rejected files.

    Returns the lines of a summary. Raises PrepError if all are rejected.
    """
    reasons = Counter(record.reason for record in journal.records() if record.reason is not None)
    contents = np.unique(np.fromiter((_hash_number(record) for record in _usable(journal)), np.uint64))
    splits = Counter(split_of(record.content_hash, settings["val"], settings["test"]) for record in _usable(journal))
    usable, unusable = splits.total(), reasons.total()
    counts = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    rejected_file = rejected_path(out)
    _write_rejected(journal, rejected_file, unusable)
    if not usable:
        raise PrepError(f"none of {unusable} files can be used: {counts}; see {rejected_file}")
    few = len(contents) < FEW_FILES
    clips = _clips(journal, name, few, settings)
    written = write_manifest(out, clips, command="python -m data_prep index", config=settings)
    lines = [f"{out}: {written} clips of {usable} files"]
    if few:
        lines.append(f"fewer than {FEW_FILES} files: each is split in time, and its last fifth is held out as val")
    else:
        lines.append(", ".join(f"{splits[split]} {split}" for split in ("train", "val", "test")) + ", by content")
        if settings["val"] and not splits["val"]:
            lines.append("no file is in val; give a larger --val")
    if duplicates := usable - len(contents):
        lines.append(
            f"{duplicates} {'files have' if duplicates > 1 else 'file has'} the same content as another one, and the same split"
        )
    if slow := sum(record.timing != "packets" for record in _usable(journal)):
        lines.append(
            f"{slow} {'videos do' if slow > 1 else 'video does'} not say when frames are shown: each window is decoded from "
            "the start, which is slow; copies made by `python -m data_prep transcode` are read fast"
        )
    lines += _left_out(journal)
    if unusable:
        lines.append(f"{unusable} rejected: {counts}; see {rejected_file}")
    return lines


def _usable(journal: Journal[Item, VideoRecord]) -> Iterator[VideoRecord]:
    return (record for record in journal.records() if record.reason is None)


def _hash_number(record: VideoRecord) -> int:
    """64 bits of the content hash, so that a million of them take 8 MB."""
    return int(record.content_hash[:16], 16)


def _left_out(journal: Journal[Item, VideoRecord]) -> list[str]:
    """A line on folders with images that are not frames of their video, if there are any."""
    folders = [(record.path, record.left_out) for record in journal.records() if record.left_out]
    if not folders:
        return []
    path, what = folders[0]
    more = f", and in {len(folders) - 1} more folders" if len(folders) > 1 else ""
    return [f"{path}: {what}{more} (`python -m data_prep inspect FOLDER` lists them)"]


def _write_rejected(journal: Journal[Item, VideoRecord], rejected_file: Path, count: int) -> None:
    if not count:
        rejected_file.unlink(missing_ok=True)
        return
    with atomic_file(rejected_file) as lines:
        for record in journal.records():
            if record.reason is not None:
                lines.write(
                    rejected_line(record.path, record.member, record.reason, record.detail, rejected_file.parent).encode()
                )


def _clips(journal: Journal[Item, VideoRecord], name: str, few: bool, settings: dict[str, Any]) -> Iterator[Clip]:
    split_ranges: dict[str, list[TimeRange]] = {}  # by content, if there are few files, so that equal content is split equally
    for record in _usable(journal):
        split = split_of(record.content_hash, settings["val"], settings["test"])
        ranges = split_ranges.setdefault(record.content_hash, split_in_time(record)) if few else whole_file(record, split)
        yield from clips_of(record, ranges, name)
