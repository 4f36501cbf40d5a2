"""Look into every video of a data set and write its manifest. A run that was killed goes on where it was."""

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
from data_prep.existing import check_lines, check_manifest
from data_prep.inspection import Record, examine, rejected
from data_prep.journal import Journal
from data_prep.pool import Failed, run_each
from data_prep.progress import bar
from data_prep.rejected import listing_of, row
from data_prep.sources import SOURCES, Survey
from data_prep.splits import FEW_FILES, Stretch, by_content, in_time, whole
from worldmodel.files.atomic import replacing_file
from worldmodel.files.folder_lock import hold_file
from worldmodel.files.output_errors import output_errors
from worldmodel.files.outputs import ANOTHER_OUT
from worldmodel.manifest import Clip, clip_id, write_manifest
from worldmodel.process.arguments import above_zero, count, number
from worldmodel.process.cores import usable_cores
from worldmodel.process.terminal import say

HELP = "make a manifest of a folder of videos, or of a list in V-JEPA's form"
RESUMES = True
TIMEOUT_S = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("root", type=Path, metavar="DIR", help="the folder (or, with --source csv, the list)")
    parser.add_argument("--out", type=Path, required=True, metavar="M.parquet", help="the manifest to write")
    parser.add_argument("--source", choices=SOURCES, help="how the data set is laid out (default: csv for a .csv file)")
    parser.add_argument("--name", help="the data set's name, for the column `source` (default: that of DIR)")
    parser.add_argument(
        "--min-seconds", type=number(0, what="seconds"), default=1.0, help="shorter videos are rejected (default 1)"
    )
    parser.add_argument("--val", type=number(0, 1, "a share"), default=0.1, help="share of files in val (default 0.1)")
    parser.add_argument("--test", type=number(0, 1, "a share"), default=0.1, help="share of files in test (default 0.1)")
    parser.add_argument("--thorough", action="store_true", help="decode every frame, to find damage in the middle")
    parser.add_argument("--workers", type=count(1), default=usable_cores(), help="processes (default: one a core)")
    parser.add_argument(
        "--timeout-s", type=above_zero("seconds"), default=TIMEOUT_S, help="a file that takes longer is rejected"
    )


def run(args: argparse.Namespace) -> int:
    """Raises PrepError when there is nothing to index, or `--out` is not an index; OutputError when it cannot be written."""
    _check(args)
    root, out = Path(os.path.abspath(args.root)), Path(os.path.abspath(args.out))
    _check_out(out)
    source = args.source or ("csv" if root.is_file() else "folder")
    survey = Survey()
    total = sum(1 for _ in SOURCES[source](root, survey))
    if not total:
        raise PrepError(f"{args.root}: no videos in it or below it; {'; '.join(survey.lines(root)) or 'it is empty'}")
    with output_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    with hold_file(out, ANOTHER_OUT):
        return _index(args, root, out, source, total, survey)


def _index(args: argparse.Namespace, root: Path, out: Path, source: str, total: int, survey: Survey) -> int:
    settings = {"root": str(root), "source": source, "min_seconds": args.min_seconds, "thorough": args.thorough}
    settings["content_hash"] = METHOD
    journal = Journal(_journal_of(out), settings, SOURCES[source](root, Survey()))
    try:
        _examine_all(journal, total, args)
        shares = {"val": args.val, "test": args.test}
        say("\n".join([*_write(journal, out, args.name or root.stem, settings | shares), *survey.lines(root)]))
    except PrepError:
        journal.remove()  # all are rejected: the next run shall look again
        raise
    finally:
        journal.close()
    journal.remove()
    return 0


def _check(args: argparse.Namespace) -> None:
    if not args.root.exists():
        raise PrepError(f"{args.root}: no such folder")
    if args.root.is_file() and args.source not in (None, "csv"):
        raise PrepError(f"{args.root}: --source {args.source} expects a folder, this is a file")
    if args.out.is_dir():
        raise PrepError(f"{args.out}: --out is a folder; name a file in it, such as {args.out / 'm.parquet'}")
    if min(args.val, args.test) < 0 or args.val + args.test >= 1:
        raise PrepError(f"--val {args.val:g} --test {args.test:g}: expected shares that leave something to train on")


def _check_out(out: Path) -> None:
    """Raises PrepError where a file of others would be overwritten."""
    advice = "name another file as --out"
    check_manifest(out, "data_prep index", advice)
    check_lines(listing_of(out), "reason", advice)
    check_lines(_journal_of(out), "root", advice)


def _journal_of(out: Path) -> Path:
    return out.with_name(f"{out.name}.part.jsonl")


def _examine_all(journal: Journal, total: int, args: argparse.Namespace) -> None:
    """Bring the journal to its end."""
    with bar("index", total) as progress:
        progress.step(done=journal.done)
        work = partial(examine, min_seconds=args.min_seconds, thorough=args.thorough)
        left = total - journal.done
        for item, result in run_each(work, journal.items, min(args.workers, max(1, left)), args.timeout_s):
            record = rejected(item, result.reason, result.detail) if isinstance(result, Failed) else result
            journal.add(record)
            progress.step(ok=record.reason is None)


def _write(journal: Journal, out: Path, name: str, settings: dict[str, Any]) -> list[str]:
    """Manifest and list of rejected files, from the journal; returns the summary. Raises PrepError if all are rejected."""
    reasons = Counter(record.reason for record in journal.records() if record.reason is not None)
    contents = np.unique(np.fromiter((_number(record) for record in _usable(journal)), np.uint64))
    splits = Counter(by_content(record.content_hash, settings["val"], settings["test"]) for record in _usable(journal))
    usable, unusable = splits.total(), reasons.total()
    told = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    listing = listing_of(out)
    _write_rejected(journal, listing, unusable)
    if not usable:
        raise PrepError(f"none of {unusable} files can be used: {told}; see {listing}")
    few = len(contents) < FEW_FILES
    clips = _clips(journal, name, few, settings)
    written = write_manifest(out, clips, command="python -m data_prep index", config=settings)
    lines = [f"{out}: {written} clips of {usable} files"]
    if few:
        lines.append(f"fewer than {FEW_FILES} files: split in time, the last fifth of each is held out as val")
    else:
        lines.append(", ".join(f"{splits[split]} {split}" for split in ("train", "val", "test")) + ", by content")
        if settings["val"] and not splits["val"]:
            lines.append("no file fell into val; a larger --val helps")
    if duplicates := usable - len(contents):
        lines.append(
            f"{duplicates} {'files have' if duplicates > 1 else 'file has'} the same content as another, and its split"
        )
    if slow := sum(record.timing != "packets" for record in _usable(journal)):
        lines.append(
            f"{slow} {'videos do' if slow > 1 else 'video does'} not tell when frames are shown: each window is decoded from "
            "the start, which is slow; copies made by `python -m data_prep transcode` are read fast"
        )
    lines += _left_out(journal)
    if unusable:
        lines.append(f"{unusable} rejected: {told}; see {listing}")
    return lines


def _usable(journal: Journal) -> Iterator[Record]:
    return (record for record in journal.records() if record.reason is None)


def _number(record: Record) -> int:
    """64 bits of the content hash: a million of them are 8 MB."""
    return int(record.content_hash[:16], 16)


def _left_out(journal: Journal) -> list[str]:
    """A line on folders that hold other pictures than their frames, if there are any."""
    folders = [(record.path, record.left_out) for record in journal.records() if record.left_out]
    if not folders:
        return []
    path, what = folders[0]
    more = f", and in {len(folders) - 1} more folders" if len(folders) > 1 else ""
    return [f"{path}: {what}{more} (`python -m data_prep probe FOLDER` names them)"]


def _write_rejected(journal: Journal, listing: Path, count: int) -> None:
    if not count:
        listing.unlink(missing_ok=True)
        return
    with replacing_file(listing) as lines:
        for record in journal.records():
            if record.reason is not None:
                lines.write(row(record.path, record.member, record.reason, record.detail, listing.parent).encode())


def _clips(journal: Journal, name: str, few: bool, settings: dict[str, Any]) -> Iterator[Clip]:
    cut: dict[str, list[Stretch]] = {}  # by content, where files are few: the same content is cut at the same time
    for record in _usable(journal):
        split = by_content(record.content_hash, settings["val"], settings["test"])
        stretches = cut.setdefault(record.content_hash, in_time(record)) if few else whole(record, split)
        for stretch in stretches:
            yield Clip(
                clip_id=clip_id(record.content_hash, stretch.start_s, stretch.stop_s),
                path=record.path,
                member=record.member,
                start_s=stretch.start_s,
                stop_s=stretch.stop_s,
                fps=record.fps,
                frames=stretch.frames,
                width=record.width,
                height=record.height,
                rotation=record.rotation,
                codec=record.codec,
                split=stretch.split,
                label=record.label,
                truth=None,
                source=name,
                content_hash=record.content_hash,
                timing=record.timing,
            )
