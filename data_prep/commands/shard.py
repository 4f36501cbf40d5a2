"""Pack the videos of a manifest, their signals and ground truth into plain tar files with an index.

The tars lie in a folder or in object storage. Clips keep their order, so a run that reads the
shards draws the same samples as from the files. The same command resumes: finished shards stay.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from data_prep.content_hash import METHOD
from data_prep.errors import PrepError
from data_prep.overwrite_checks import check_lines, claim_folder
from data_prep.parallel.workers import add_worker_arguments, open_workers
from data_prep.pool import Failed
from data_prep.progress import bar
from data_prep.rejected_list import rejected_line, rejected_path
from data_prep.sharding.output import MANIFEST, OutputNote, make_shard, stage
from data_prep.sharding.plan import SourceKey, plan_shards, source_of, sources_of, table_source
from worldmodel.files.atomic import write_text
from worldmodel.files.folder_lock import lock_folder
from worldmodel.files.outputs import GIVE_ANOTHER_OUT
from worldmodel.manifest import Clip, Manifest, write_manifest
from worldmodel.process.arguments import positive_number
from worldmodel.process.terminal import print_escaped
from worldmodel.storage.members import member_name
from worldmodel.storage.shard_index import SUFFIX
from worldmodel.storage.transfer import upload
from worldmodel.storage.urls import is_url, split_url

HELP = "pack the videos of a manifest into tar files with an index, also in object storage"
RESUMES = True
COMMAND = "data_prep shard"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("manifest", metavar="M.parquet", help="the manifest, a file or a URL")
    parser.add_argument("--out", required=True, metavar="DIR_OR_URL", help="folder, or URL such as s3://bucket/folder")
    parser.add_argument(
        "--shard-mb", type=positive_number("MB"), default=256.0, help="size of a shard in MB of 10^6 bytes (default 256)"
    )
    add_worker_arguments(parser)
    parser.add_argument(
        "--timeout-s", type=positive_number("seconds"), default=3600.0, help="end if a shard takes longer (default 3600)"
    )


def run(args: argparse.Namespace) -> int:
    """Run the command.

    Raises PrepError if no video can be packed or the output holds other files, and OutputError if
    it cannot be written.
    """
    manifest = Manifest.open(args.manifest)
    if is_url(args.out):
        split_url(args.out)  # refuses credentials
    out = args.out.rstrip("/") if is_url(args.out) else os.path.abspath(args.out)
    with nullcontext() if is_url(out) else lock_folder(Path(out), GIVE_ANOTHER_OUT):
        return _shard(args, manifest, out)


def _shard(args: argparse.Namespace, manifest: Manifest, out: str) -> int:
    if not is_url(out):
        check_lines(rejected_path(Path(out, MANIFEST)), "reason", GIVE_ANOTHER_OUT)
        claim_folder(Path(out), COMMAND)
    has_hashes = manifest.metadata.get("config", {}).get("content_hash") == METHOD
    sources = (source for clip in _clips(manifest) for source in sources_of(clip, has_hashes))
    jobs = list(plan_shards(sources, int(args.shard_mb * 1e6)))
    names = [MANIFEST, *(name for job in jobs for name in (job.name, job.name + SUFFIX))]
    batches = (batch for name in ("signals", "truth") for batch in manifest.batches([name]))
    has_tables = any(batch.column(0).null_count < len(batch) for batch in batches)
    OutputNote(manifest.digest(), int(args.shard_mb * 1e6), has_tables).claim(out, names)
    members: dict[SourceKey, tuple[str, str]] = {}  # (shard, member) of every video and table
    rejected: list[str] = []
    first = [job.sources[0].path for job in jobs[:1]]
    with open_workers(args, first, out) as workers, bar("shard", sum(len(job.sources) for job in jobs)) as progress:
        for job, results in workers.run_each(partial(make_shard, out=out), jobs, args.timeout_s, len(jobs)):
            if isinstance(results, Failed):
                raise PrepError(f"{out}/{job.name}: cannot be made: {results.detail}; the same command resumes from here")
            for source, stored in zip(job.sources, results, strict=True):
                progress.step(ok=stored.member is not None)
                if stored.member is not None:
                    members[source.key] = job.name, stored.member
                else:
                    line = rejected_line(source.path, source.member, stored.reason, stored.detail, Path(os.path.abspath(".")))
                    rejected.append(line)
    if not any(source_of(clip, has_hashes).key in members for clip in _clips(manifest)):
        raise PrepError(
            f"no video of {args.manifest} could be packed: {rejected[0].strip() if rejected else 'it has no clips'}"
        )
    written, incomplete = _write_manifest(args, manifest, out, members, has_hashes, rejected)
    print_escaped(
        f"{out}/{MANIFEST}: {written} of {len(manifest)} clips, {len(members)} files in {len(jobs)} shards"
        + (f"; {len(rejected)} files rejected, see {rejected_path(Path(MANIFEST))} beside it" if rejected else "")
    )
    if incomplete:
        print_escaped(f"{incomplete} clips have no signals or no ground truth any more: these were rejected")
    return 0


def _clips(manifest: Manifest) -> Iterator[Clip]:
    return (manifest.clip(row) for row in range(len(manifest)))


def _write_manifest(
    args: argparse.Namespace,
    manifest: Manifest,
    out: str,
    members: Mapping[SourceKey, tuple[str, str]],
    has_hashes: bool,
    rejected: list[str],
) -> tuple[int, int]:
    """Write the manifest and the list of rejected files.

    Returns the number of clips, and how many of them lost ground truth or signals, which could not be packed.
    """
    incomplete = 0

    def packed_table(table: str | None) -> str | None:
        found = None if table is None else members.get(table_source(table).key)
        return None if found is None else member_name(*found)

    def packed() -> Iterator[Clip]:
        nonlocal incomplete
        for clip in _clips(manifest):
            found = members.get(source_of(clip, has_hashes).key)
            if found is None:
                continue
            signals, truth = packed_table(clip.signals), packed_table(clip.truth)
            incomplete += (signals is None, truth is None) != (clip.signals is None, clip.truth is None)
            yield dataclasses.replace(clip, path=found[0], member=found[1], signals=signals, truth=truth)

    config = {**manifest.metadata.get("config", {}), "sharded": str(args.manifest), "shard_mb": args.shard_mb}
    with stage(out) as folder:
        target = Path(folder, MANIFEST)
        written = write_manifest(target, packed(), command=f"python -m {COMMAND}", config=config)
        if rejected:
            write_text(rejected_path(target), "".join(rejected))
        elif not is_url(out):
            rejected_path(target).unlink(missing_ok=True)
        if is_url(out):
            for path in (rejected_path(target),) * bool(rejected) + (target,):
                upload(path, f"{out}/{path.name}")
    return written, incomplete
