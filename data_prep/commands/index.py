"""Inspect every video of a data set and write its manifest.

The data set lies in a folder, or below a URL such as s3://bucket/folder. An interrupted command resumes
when it is given again.
"""

from __future__ import annotations

import argparse
import hashlib
import os
from functools import partial
from pathlib import Path
from typing import Any

from data_prep.content_hash import METHOD
from data_prep.errors import PrepError
from data_prep.index_table import write_index
from data_prep.inspection import VideoRecord, inspect_item, rejected_record
from data_prep.journal import Journal
from data_prep.outputs.url_output import refuse_local_files, uploaded_output
from data_prep.overwrite_checks import check_lines, check_manifest
from data_prep.packet_indexing import index_packets
from data_prep.parallel.workers import EMBEDDED, add_worker_arguments, open_workers
from data_prep.pool import Failed
from data_prep.progress import bar
from data_prep.rejected_list import rejected_path
from data_prep.sources import LISTS, OBJECT_SOURCES, SOURCES, WHOLE_FOLDERS, Item, SkippedFiles, find_items
from data_prep.sources.detection import layout_of, suggestion
from worldmodel.files.folder_lock import lock_file
from worldmodel.files.output_errors import output_errors
from worldmodel.files.outputs import GIVE_ANOTHER_OUT
from worldmodel.process.arguments import finite_number, path_or_url, positive_number
from worldmodel.process.cores import usable_cores
from worldmodel.process.terminal import print_escaped
from worldmodel.storage.transfer import folder_url
from worldmodel.storage.urls import is_writable_url, split_url

HELP = "write a manifest of a folder of videos, or of a data set with lists of labels and splits"
RESUMES = True
TIMEOUT_S = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "root", type=path_or_url, metavar="DIR_OR_URL", help="the folder of the data set (s3:// and gs:// too), or a list of it"
    )
    parser.add_argument("--out", type=path_or_url, required=True, metavar="M.parquet", help="the manifest to write")
    parser.add_argument(
        "--source", choices=SOURCES, help="layout of the data set (default: folder; of a list, what its header says)"
    )
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
        "--packets",
        action="store_true",
        help="also write an index of packets, as `python -m data_prep packets` does, by processes of this machine",
    )
    add_worker_arguments(parser)
    parser.add_argument(
        "--timeout-s", type=positive_number("seconds"), default=TIMEOUT_S, help="reject a file that takes longer (default 60)"
    )


def run(args: argparse.Namespace) -> int:
    """Run the command.

    Raises PrepError if there is nothing to index or `--out` is another file, and OutputError if it
    cannot be written.
    """
    _check_root(args)
    if isinstance(args.out, str):
        if isinstance(args.root, Path):  # before the videos are inspected, which may take days
            folder = Path(os.path.abspath(args.root))
            items = find_items(args.source or layout_of(folder), folder, SkippedFiles())
            refuse_local_files(args.root, (item.path for item in items if item.problem is None))
        with uploaded_output(args.out, "data_prep index", is_file=True) as out:
            return run(argparse.Namespace(**{**vars(args), "out": out}))
    _check(args)
    root, out = _absolute(args.root), Path(os.path.abspath(args.out))
    _check_out(out)
    source = args.source or ("folder" if isinstance(root, str) else layout_of(root))
    skipped = SkippedFiles()
    total = sum(1 for _ in find_items(source, root, skipped))
    if not total:
        raise PrepError(f"{args.root}: no videos in this folder or below it; {'; '.join(skipped.lines(root)) or 'it is empty'}")
    with output_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    with lock_file(out, GIVE_ANOTHER_OUT):
        code = _index(args, root, out, source, total, skipped)
        if args.packets and not code:
            print_escaped("\n".join(index_packets(out, _local_processes(args), args.timeout_s)))
        return code


def _local_processes(args: argparse.Namespace) -> int:
    """How many processes of this machine write the index of packets. --workers with --ray ADDRESS is for a whole cluster."""
    wanted = args.workers or usable_cores()
    return wanted if args.ray in (None, EMBEDDED) else min(wanted, usable_cores())


def _index(args: argparse.Namespace, root: Path | str, out: Path, source: str, total: int, skipped: SkippedFiles) -> int:
    settings: dict[str, Any] = {"root": str(root), "source": source, "min_seconds": args.min_seconds}
    settings |= {"thorough": args.thorough, "content_hash": METHOD}
    if lists := LISTS[source](root) if isinstance(root, Path) and source in LISTS else []:
        settings["lists"] = {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in lists}
    journal = Journal(_journal_of(out), settings, find_items(source, root, SkippedFiles()), VideoRecord)
    try:
        _inspect_all(journal, total, args)
        fractions = {"val": args.val, "test": args.test}
        try:
            lines = write_index(journal.records, out, args.name or Path(root).stem, settings | fractions)
        except PrepError:
            journal.remove()  # all videos are rejected; the next run inspects them again
            raise
        better = suggestion(root) if args.source is None and isinstance(root, Path) else None
        print_escaped("\n".join([*lines, *skipped.lines(root), *([] if better is None else [better])]))
    finally:
        journal.close()
    journal.remove()
    return 0


def _absolute(root: Path | str) -> Path | str:
    return folder_url(root) if isinstance(root, str) else Path(os.path.abspath(root))


def _check_root(args: argparse.Namespace) -> None:
    if isinstance(args.root, str):
        _check_url(args.root, args.source)
    elif not args.root.exists():
        raise PrepError(f"{args.root}: no such folder")
    elif args.root.is_file() and args.source in WHOLE_FOLDERS:
        raise PrepError(f"{args.root}: --source {args.source} expects a folder, but this is a file")


def _check(args: argparse.Namespace) -> None:
    if args.out.is_dir():
        raise PrepError(f"{args.out}: --out is a folder; give a file in it, such as {args.out / 'm.parquet'}")
    if min(args.val, args.test) < 0 or args.val + args.test >= 1:
        raise PrepError(f"--val {args.val:g} --test {args.test:g}: expected fractions from 0 with a sum below 1")


def _check_url(url: str, source: str | None) -> None:
    split_url(url)  # first, because it refuses a URL with a secret without repeating it
    if not is_writable_url(url):
        raise PrepError(
            f"{url}: objects are listed at s3:// and gs:// only; of other URLs, give a list with lines `URL label` as a file"
        )
    if source is not None and source not in OBJECT_SOURCES:
        raise PrepError(
            f"{url}: --source {source} reads a folder of this machine; at URLs there are {', '.join(OBJECT_SOURCES)}"
        )


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
    with open_workers(args, [args.root]) as workers, bar("index", total) as progress:
        progress.step(done=journal.done)
        work = partial(inspect_item, min_seconds=args.min_seconds, thorough=args.thorough)
        left = total - journal.done
        for item, result in workers.run_each(work, journal.items, args.timeout_s, left):
            if isinstance(result, Failed) and result.reason == "storage":
                raise PrepError(f"{result.detail}; the same command resumes from here")
            record = rejected_record(item, result.reason, result.detail) if isinstance(result, Failed) else result
            journal.append(record)
            progress.step(ok=record.reason is None)
