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
from typing import TextIO

from data_prep.errors import PrepError
from data_prep.examine import content_hash
from data_prep.pool import Failed, run_each
from data_prep.progress import Bar, bar
from data_prep.recode import Recipe, recode
from worldmodel.folder_lock import hold_folder
from worldmodel.manifest import Clip, Manifest, clip_id, write_manifest
from worldmodel.outputs import ANOTHER_OUT
from worldmodel.video import VideoError, VideoInfo, probe
from worldmodel.video.source import shown_name
from worldmodel.video.write import beside

HELP = "make small, fast copies of the videos of a manifest"


@dataclass(frozen=True)
class Copy:
    """What became of one video: the copy and its description, or why there is none."""

    info: VideoInfo | None
    content_hash: str = ""
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Job:
    """One video and all its clips, which lie side by side in the manifest."""

    path: str
    member: str | None
    target: str
    clips: tuple[Clip, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("manifest", type=Path, metavar="M.parquet")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="for copies and manifest.parquet")
    parser.add_argument("--short-side-px", type=int, default=80, help="never enlarged (default 80)")
    parser.add_argument("--fps", type=float, help="upper bound of the frame rate (default: as it is)")
    parser.add_argument("--gop", type=int, default=12, help="frames from keyframe to keyframe (default 12)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    parser.add_argument("--timeout-s", type=float, default=3600.0, help="a file that takes longer is rejected")


def run(args: argparse.Namespace) -> int:
    """Raises PrepError when there is nothing to copy, or DIR holds copies of another kind."""
    if args.short_side_px < 2 or args.gop < 1 or args.workers < 1 or (args.fps is not None and args.fps <= 0):
        raise PrepError("--short-side-px from 2, --gop and --workers from 1, --fps above 0, please")
    manifest, out = Manifest.open(args.manifest), Path(os.path.abspath(args.out))
    with hold_folder(out, ANOTHER_OUT):
        return _transcode(args, manifest, out)


def _transcode(args: argparse.Namespace, manifest: Manifest, out: Path) -> int:
    recipe = Recipe(short_side_px=args.short_side_px, max_fps=args.fps, gop=args.gop)
    _claim(out, recipe)
    target = out / "manifest.parquet"
    listing = out / "manifest.parquet.rejected.jsonl"
    config = dataclasses.asdict(recipe) | {"manifest": str(args.manifest), "made_by": manifest.metadata}
    with beside(listing) as part, open(part, "w", encoding="utf-8") as lines, bar("transcode", len(manifest)) as progress:
        work = partial(_work, recipe=recipe)
        results = run_each(work, _jobs(manifest, out), args.workers, args.timeout_s)
        clips = _clips(results, lines, progress)
        written = write_manifest(target, clips, command="python -m data_prep transcode", config=config)
    if not listing.stat().st_size:
        listing.unlink()
    if not written:
        target.unlink()
        raise PrepError(f"no video of {args.manifest} could be copied; see {listing}")
    print(f"{target}: {written} of {len(manifest)} clips" + (f"; see {listing}" if listing.exists() else ""))
    return 0


def _claim(out: Path, recipe: Recipe) -> None:
    """Write down what the copies in `out` are like, or see that they are like this."""
    note, wanted = out / "transcode.json", dataclasses.asdict(recipe)
    if note.exists():
        there = json.loads(note.read_text())
        if there != wanted:
            raise PrepError(f"{out} holds copies made with {there}, asked for are {wanted}; choose another --out")
        return
    with beside(note) as part:
        part.write_text(json.dumps(wanted))


def _jobs(manifest: Manifest, out: Path) -> Iterator[Job]:
    """Clips of the same file that follow one another are one job. A copy's name is that of its source's content."""
    clips = (manifest.clip(row) for row in range(len(manifest)))
    for (path, member), group in itertools.groupby(clips, key=lambda clip: (clip.path, clip.member)):
        of_file = tuple(group)
        name = of_file[0].content_hash
        yield Job(path, member, str(out / name[:2] / f"{name[:16]}.mp4"), of_file)


def _work(job: Job, recipe: Recipe) -> Copy:
    """Runs in a worker. A copy that is there already is whole, and is not made again."""
    try:
        if not os.path.exists(job.target):
            recode(job.path, job.member, Path(job.target), recipe)
        return Copy(probe(job.target), content_hash(job.target, None))
    except VideoError as error:
        return Copy(None, reason=error.reason, detail=error.detail)


def _clips(results: Iterator[tuple[Job, Copy | Failed]], rejected: TextIO, progress: Bar) -> Iterator[Clip]:
    """The clips of the copies; files without a copy are listed."""
    for job, result in results:
        progress.step(len(job.clips), ok=isinstance(result, Copy) and result.info is not None)
        if isinstance(result, Failed) or result.info is None:
            row = {"path": shown_name(job.path, job.member), "reason": result.reason, "detail": result.detail}
            rejected.write(json.dumps(row, ensure_ascii=False) + "\n")
            continue
        for clip in job.clips:
            yield _copied(clip, job.target, result.info, result.content_hash)


def _copied(clip: Clip, path: str, info: VideoInfo, digest: str) -> Clip:
    """The same stretch of the copy: split, label, truth and source stay."""
    stop_s = min(clip.stop_s, info.duration_s)
    return dataclasses.replace(
        clip,
        clip_id=clip_id(digest, clip.start_s, stop_s),
        path=path,
        member=None,
        stop_s=stop_s,
        fps=info.fps,
        frames=round((stop_s - clip.start_s) * info.fps),
        width=info.width,
        height=info.height,
        rotation=0,
        codec=info.codec,
        content_hash=digest,
    )
