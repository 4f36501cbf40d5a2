"""Make small copies of the videos of a manifest that decode fast (short H.264 GOPs), and a manifest of the copies.

Training reads random windows: most of the work is decoding, and most of that is pixels and frames nobody asked for.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from data_prep.content_hash import DIGEST, METHOD, content_hash
from data_prep.errors import PrepError
from data_prep.existing import check_lines, check_manifest, check_no_link, claim_folder
from data_prep.pool import Failed, run_each
from data_prep.progress import Bar, bar
from data_prep.recode import Recipe, recode
from data_prep.rejected import listing_of, row
from worldmodel.files.atomic import remove_parts, replacing_file, write_json, write_text
from worldmodel.files.folder_lock import hold_folder
from worldmodel.files.json_files import read_object
from worldmodel.files.output_errors import OutputError
from worldmodel.files.outputs import ANOTHER_OUT
from worldmodel.manifest import Clip, Manifest, clip_id, write_manifest
from worldmodel.process.arguments import above_zero, count, rate
from worldmodel.process.cores import usable_cores
from worldmodel.process.terminal import say
from worldmodel.video import VideoError, VideoInfo, probe

HELP = "make small, fast copies of the videos of a manifest"
RESUMES = True


VERSION = 3
"""Of the copies. Those of version 1 may show another video, since they were named by a hash of the ends of their source. Those
of version 2 have no note of their content, and may have other bytes when they are made again."""


@dataclass(frozen=True)
class Copy:
    """One finished copy."""

    path: str
    info: VideoInfo
    content_hash: str


@dataclass(frozen=True)
class Job:
    """One video and all its clips, which lie side by side in the manifest."""

    path: str
    member: str | None
    content_hash: str | None  # of the whole content; None where the manifest does not tell
    clips: tuple[Clip, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("manifest", type=Path, metavar="M.parquet")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="for copies and manifest.parquet")
    parser.add_argument("--short-side-px", type=count(2), default=80, help="never enlarged (default 80)")
    parser.add_argument("--fps", type=rate, help="upper bound of the frame rate (default: as it is)")
    parser.add_argument("--gop", type=count(1), default=12, help="frames from keyframe to keyframe (default 12)")
    parser.add_argument("--workers", type=count(1), default=usable_cores(), help="processes (default: one a core)")
    parser.add_argument("--timeout-s", type=above_zero("seconds"), default=3600.0, help="a file that takes longer is rejected")


def run(args: argparse.Namespace) -> int:
    """Raises PrepError when there is nothing to copy, or DIR holds other things; OutputError when DIR cannot be written."""
    manifest, out = Manifest.open(args.manifest), Path(os.path.abspath(args.out))
    with hold_folder(out, ANOTHER_OUT):
        return _transcode(args, manifest, out)


def _transcode(args: argparse.Namespace, manifest: Manifest, out: Path) -> int:
    recipe = Recipe(short_side_px=args.short_side_px, max_fps=args.fps, gop=args.gop)
    target = out / "manifest.parquet"
    if target.exists() and target.samefile(manifest.path):
        raise PrepError(f"{args.manifest}: the manifest of the copies would replace it; choose another --out than {args.out}")
    _claim(out, recipe)
    try:
        written = _copy_all(manifest, target, recipe, args)
    finally:
        _remove_unfinished(out)
    listing = listing_of(target)
    if not listing.stat().st_size:
        listing.unlink()
    if not written:
        target.unlink()
        raise PrepError(f"no video of {args.manifest} could be copied; see {listing}")
    say(f"{target}: {written} of {len(manifest)} clips" + (f"; see {listing}" if listing.exists() else ""))
    return 0


def _claim(out: Path, recipe: Recipe) -> None:
    """Write down what the copies in `out` are like, or see that they are like this. Raises PrepError for other things."""
    note, wanted = out / "transcode.json", {**dataclasses.asdict(recipe), "version": VERSION}
    if note.exists():
        try:
            there = read_object(note, PrepError)
        except PrepError as error:
            raise PrepError(f"{note}: not a note of `data_prep transcode` ({error}); choose another --out") from None
        if "version" not in there:
            old = f"{out} holds copies that an earlier version of this project made, and some may be wrong"
            raise PrepError(f"{old}; choose another --out, or delete the folder and make them again")
        if there["version"] != VERSION:
            other = f"{out} holds copies of version {there['version']}, this version of the project makes version {VERSION}"
            raise PrepError(f"{other}; choose another --out, or delete the folder and make them again")
        if there != wanted:
            raise PrepError(f"{out} holds copies made with {there}, asked for are {wanted}; choose another --out")
    advice = "choose another --out"
    check_manifest(out / "manifest.parquet", "data_prep transcode", advice)
    check_lines(listing_of(out / "manifest.parquet"), "reason", advice)
    check_no_link(note, advice)
    claim_folder(out, "data_prep transcode")
    write_text(note, json.dumps(wanted))


def _copy_all(manifest: Manifest, target: Path, recipe: Recipe, args: argparse.Namespace) -> int:
    """Make the copies, their manifest and the list of rejected files; returns the number of clips."""
    made_by = manifest.metadata
    config = {**dataclasses.asdict(recipe), "manifest": str(args.manifest), "made_by": made_by, "content_hash": METHOD}
    has_whole_hashes = made_by.get("config", {}).get("content_hash") == METHOD
    listing = listing_of(target)
    with replacing_file(listing) as lines, bar("transcode", len(manifest)) as progress:
        work = partial(_work, out=target.parent, recipe=recipe)
        results = run_each(work, _jobs(manifest, has_whole_hashes), args.workers, args.timeout_s)
        clips = _clips(results, lines, target.parent, progress)
        return write_manifest(target, clips, command="python -m data_prep transcode", config=config)


def _jobs(manifest: Manifest, has_whole_hashes: bool) -> Iterator[Job]:
    """Clips of the same file that follow one another are one job."""
    clips = (manifest.clip(row) for row in range(len(manifest)))
    for (path, member), group in itertools.groupby(clips, key=lambda clip: (clip.path, clip.member)):
        of_file = tuple(group)
        known = has_whole_hashes and DIGEST.fullmatch(of_file[0].content_hash)
        yield Job(path, member, of_file[0].content_hash if known else None, of_file)


def _work(job: Job, out: Path, recipe: Recipe) -> Copy | Failed:
    """Find or make the copy of a video. This runs in the worker processes. Raises OutputError where it cannot be written.

    The name of a copy is that of the content it was made from. The manifest's word is enough to find a copy, but a new
    copy is named by what the file holds now.
    """
    try:
        if job.content_hash is not None and (copy := _finished(out, job.content_hash)) is not None:
            return copy
        source = content_hash(job.path, job.member)
        if (copy := _finished(out, source)) is not None:
            return copy
        target = _place(out, source)
        recode(job.path, job.member, target, recipe)
        copy = Copy(str(target), probe(target), content_hash(str(target), None))
        write_json(_note_of(target), {"source": source, "copy": copy.content_hash})
        return copy
    except VideoError as error:
        return Failed(error.reason, error.detail)
    except OutputError:
        raise
    except OSError as error:
        return Failed("unreadable file", str(error))


def _place(out: Path, digest: str) -> Path:
    return out / digest[:2] / f"{digest[:16]}.mp4"


def _note_of(target: Path) -> Path:
    """The note beside a copy: the content hashes of its source and of itself."""
    return target.with_suffix(".json")


def _finished(out: Path, source: str) -> Copy | None:
    """The copy of a source with this content hash; None where there is none, or it is not the one that was written.

    That it is whole and of this source is proven by its note, which is written after it.
    """
    target = _place(out, source)
    try:
        note = json.loads(_note_of(target).read_text(encoding="utf-8"))
        copied = content_hash(str(target), None)
        return Copy(str(target), probe(target), copied) if note == {"source": source, "copy": copied} else None
    except (VideoError, OSError, ValueError):
        return None


def _remove_unfinished(out: Path) -> None:
    """Remove what processes that were killed left half written."""
    for folder in (out, *out.glob("??")):
        remove_parts(folder)


def _clips(results: Iterator[tuple[Job, Copy | Failed]], rejected: BinaryIO, folder: Path, progress: Bar) -> Iterator[Clip]:
    """The clips of the copies; files without a copy, and clips that their copy does not hold, are listed."""
    for job, result in results:
        progress.step(len(job.clips), ok=isinstance(result, Copy))
        if isinstance(result, Failed):
            rejected.write(row(job.path, job.member, result.reason, result.detail, folder).encode())
            continue
        for clip in job.clips:
            copied = _copied(clip, result)
            if copied.frames > 0 and copied.start_s < copied.stop_s:
                yield copied
            else:
                detail = (
                    f"the clip is [{clip.start_s:.3f}, {clip.stop_s:.3f}) s, its copy ends at {result.info.duration_s:.3f} s"
                )
                rejected.write(row(job.path, job.member, "past the end", detail, folder).encode())


def _copied(clip: Clip, copy: Copy) -> Clip:
    """The same stretch of the copy: split, label, truth and source stay."""
    info = copy.info
    stop_s = min(clip.stop_s, info.duration_s)
    return dataclasses.replace(
        clip,
        clip_id=clip_id(copy.content_hash, clip.start_s, stop_s),
        path=copy.path,
        member=None,
        stop_s=stop_s,
        fps=info.fps,
        frames=round((stop_s - clip.start_s) * info.fps),
        width=info.width,
        height=info.height,
        rotation=0,
        codec=info.codec,
        timing=info.timing,
        content_hash=copy.content_hash,
    )
