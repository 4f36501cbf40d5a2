"""Make small copies of the videos of a manifest that decode fast, and a manifest of the copies.

Training reads random windows. Without copies, it spends most of its time decoding pixels and frames
that it does not use.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO

from data_prep.content_hash import DIGEST, METHOD
from data_prep.errors import PrepError
from data_prep.frame_ranges import FrameRange
from data_prep.outputs.url_output import uploaded_output
from data_prep.overwrite_checks import check_lines, check_manifest, check_no_link, claim_folder
from data_prep.parallel.workers import Workers, add_worker_arguments, open_workers
from data_prep.pool import Failed
from data_prep.progress import Bar, bar
from data_prep.rejected_list import rejected_line, rejected_path
from data_prep.transcoding.copies import Copy, CopyJob, find_or_make_copy
from data_prep.transcoding.encode import TranscodeConfig
from worldmodel.files.atomic import atomic_file, remove_parts, write_text
from worldmodel.files.folder_lock import lock_folder
from worldmodel.files.json_files import read_json_object
from worldmodel.files.outputs import GIVE_ANOTHER_OUT
from worldmodel.manifest import Clip, Manifest, clip_id, write_manifest
from worldmodel.process.arguments import frame_rate, path_or_url, positive_number, whole_number
from worldmodel.process.terminal import print_escaped

HELP = "make small, fast copies of the videos of a manifest"
RESUMES = True
SPOOL_BYTES = 1 << 24  # a longer list of rejected files is kept on disk, not in memory
VERSION = 3
"""Version of the copies.

Copies of version 1 may show another video, because they were named by a hash of the first and last
MiB of their source. Copies of version 2 have no note of their content, and may have other bytes
when they are made again.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("manifest", type=path_or_url, metavar="M.parquet", help="the manifest, a file or a URL")
    parser.add_argument(
        "--out",
        type=path_or_url,
        required=True,
        metavar="DIR",
        help="output folder for the copies and manifest.parquet, or its URL",
    )
    parser.add_argument(
        "--short-side-px",
        type=whole_number(2),
        default=80,
        help="short side of the copies; videos are not enlarged (default 80)",
    )
    parser.add_argument("--fps", type=frame_rate, help="upper bound of the frame rate (default: none)")
    parser.add_argument("--gop", type=whole_number(1), default=12, help="frames from one keyframe to the next (default 12)")
    add_worker_arguments(parser)
    parser.add_argument(
        "--timeout-s", type=positive_number("seconds"), default=3600.0, help="reject a file that takes longer (default 3600)"
    )


def run(args: argparse.Namespace) -> int:
    """Run the command.

    Raises PrepError if no video can be copied or DIR holds other files, and OutputError if DIR
    cannot be written.
    """
    if isinstance(args.out, str):
        with uploaded_output(args.out, "data_prep transcode", is_file=False) as out:
            return run(argparse.Namespace(**{**vars(args), "out": out}))
    manifest, out = Manifest.open(args.manifest), Path(os.path.abspath(args.out))
    with lock_folder(out, GIVE_ANOTHER_OUT):
        return _transcode(args, manifest, out)


def _transcode(args: argparse.Namespace, manifest: Manifest, out: Path) -> int:
    config = TranscodeConfig(short_side_px=args.short_side_px, max_fps=args.fps, gop=args.gop)
    target = out / "manifest.parquet"
    if target.exists() and target.samefile(manifest.path):
        raise PrepError(f"{args.manifest}: the manifest of the copies would replace it; choose another --out than {args.out}")
    claim_copies(out, config)
    try:
        first = [manifest.clip(0).path] if len(manifest) else []
        with open_workers(args, first, out) as workers:
            written = _copy_all(manifest, target, config, args, workers)
    finally:
        _remove_unfinished(out)
    rejected_file = rejected_path(target)
    if not written:
        raise PrepError(f"no video of {args.manifest} could be copied; see {rejected_file}")
    print_escaped(
        f"{target}: {written} of {len(manifest)} clips" + (f"; see {rejected_file}" if rejected_file.exists() else "")
    )
    return 0


def claim_copies(out: Path, config: TranscodeConfig) -> None:
    """Write the configuration of the copies in `out`, or compare it with the one there.

    Raises PrepError for other folders.
    """
    note, wanted = out / "transcode.json", {**dataclasses.asdict(config), "version": VERSION}
    if note.exists():
        try:
            found = read_json_object(note, PrepError)
        except PrepError as error:
            raise PrepError(f"{note}: not a note of `data_prep transcode` ({error}); choose another --out") from None
        if "version" not in found:
            old = f"{out} holds copies made by an earlier version of this project, and some may be wrong"
            raise PrepError(f"{old}; choose another --out, or delete the folder and make them again")
        if found["version"] != VERSION:
            other = f"{out} holds copies of version {found['version']}, but this version of the project makes version {VERSION}"
            raise PrepError(f"{other}; choose another --out, or delete the folder and make them again")
        if found != wanted:
            raise PrepError(f"{out} holds copies made with {found}, but {wanted} is requested; choose another --out")
    advice = "choose another --out"
    check_manifest(out / "manifest.parquet", "data_prep transcode", advice)
    check_lines(rejected_path(out / "manifest.parquet"), "reason", advice)
    check_no_link(note, advice)
    claim_folder(out, "data_prep transcode")
    write_text(note, json.dumps(wanted))


def _copy_all(manifest: Manifest, target: Path, config: TranscodeConfig, args: argparse.Namespace, workers: Workers) -> int:
    """Make the copies, their manifest and the list of rejected files. Returns the number of clips.

    Without any clip, no manifest is written.
    """
    made_by = manifest.metadata
    recorded = {**dataclasses.asdict(config), "manifest": str(args.manifest), "made_by": made_by, "content_hash": METHOD}
    has_whole_hashes = made_by.get("config", {}).get("content_hash") == METHOD
    with tempfile.SpooledTemporaryFile(SPOOL_BYTES) as rejected, bar("transcode", len(manifest)) as progress:
        work = partial(find_or_make_copy, out=target.parent, config=config)
        results = workers.run_each(work, _jobs(manifest, has_whole_hashes), args.timeout_s)
        clips = _clips(results, rejected, target.parent, progress)
        first = next(clips, None)
        written = 0
        if first is not None:
            every = itertools.chain([first], clips)
            written = write_manifest(target, every, command="python -m data_prep transcode", config=recorded)
        _write_rejected(rejected, rejected_path(target))
    return written


def _write_rejected(lines: IO[bytes], path: Path) -> None:
    if not lines.tell():
        path.unlink(missing_ok=True)
        return
    lines.seek(0)
    with atomic_file(path) as out:
        shutil.copyfileobj(lines, out)


def _jobs(manifest: Manifest, has_whole_hashes: bool) -> Iterator[CopyJob]:
    """One job for all clips of a file that follow one another."""
    clips = (manifest.clip(row) for row in range(len(manifest)))
    for (path, member), group in itertools.groupby(clips, key=lambda clip: (clip.path, clip.member)):
        of_file = tuple(group)
        known = has_whole_hashes and DIGEST.fullmatch(of_file[0].content_hash)
        yield CopyJob(path, member, of_file[0].content_hash if known else None, of_file)


def _remove_unfinished(out: Path) -> None:
    """Remove the unfinished files of processes that were killed."""
    for folder in (out, *out.glob("??")):
        remove_parts(folder)


def _clips(
    results: Iterator[tuple[CopyJob, Copy | Failed]], rejected: IO[bytes], folder: Path, progress: Bar
) -> Iterator[Clip]:
    """The clips of the copies.

    Files without a copy, and clips beyond the end of their copy, are written to the list. Raises
    PrepError where a store does not answer: that is not the fault of the file.
    """
    for job, result in results:
        progress.step(len(job.clips), ok=isinstance(result, Copy))
        if isinstance(result, Failed):
            if result.reason == "storage":
                raise PrepError(f"{result.detail}; copies that were made stay, so give the same command again")
            rejected.write(rejected_line(job.path, job.member, result.reason, result.detail, folder).encode())
            continue
        for clip, found in zip(job.clips, result.ranges, strict=True):
            if found is not None:
                yield _copied(clip, result, found)
                continue
            span, end_s = f"the clip is [{clip.start_s:.3f}, {clip.stop_s:.3f}) s", result.info.duration_s
            if clip.start_s >= end_s:
                reason, detail = "past the end", f"{span}, its copy ends at {end_s:.3f} s"
            else:
                reason, detail = "too short", f"{span}, in which no frame of its copy at {result.info.fps:g} fps begins"
            rejected.write(rejected_line(job.path, job.member, reason, detail, folder).encode())


def _copied(clip: Clip, copy: Copy, found: FrameRange) -> Clip:
    """The same time range of the copy. Split, label and source stay; ground truth, which counts frames and px, if these do."""
    info = copy.info
    keeps_truth = (info.width, info.height) == (clip.width, clip.height) and abs(info.fps - clip.fps) < 1e-3 * clip.fps
    return dataclasses.replace(
        clip,
        clip_id=clip_id(copy.content_hash, found.start_s, found.stop_s),
        path=copy.path,
        member=None,
        start_s=found.start_s,
        stop_s=found.stop_s,
        fps=info.fps,
        frames=found.frames,
        width=info.width,
        height=info.height,
        rotation=0,
        codec=info.codec,
        timing=info.timing,
        truth=clip.truth if keeps_truth else None,
        content_hash=copy.content_hash,
        first_frame=found.first_frame,
    )
