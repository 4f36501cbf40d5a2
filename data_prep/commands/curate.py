"""Divide the clips of a manifest into usable stretches, and measure them.

A stretch never holds a camera cut. Black, frozen and short stretches are set aside as rows of split
`excluded`; nothing is deleted. Near-duplicates among videos get one split. What was measured and
decided is in added columns and, with examples, on the page C.html.

--recipe gives other thresholds: a YAML file; NAME=VALUE on the command line changes one, such as
cuts.min_score=15. An interrupted command resumes when it is given again.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shlex
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from data_prep.curation.analysis import VideoAnalysis, VideoClips, analyse_video
from data_prep.curation.near_duplicates import group_duplicates
from data_prep.curation.recipe import CurationRecipe
from data_prep.curation.report import write_page
from data_prep.curation.table import CuratedClip, added_columns, curated_clips
from data_prep.errors import PrepError
from data_prep.journal import Journal
from data_prep.outputs.url_output import named_in, refuse_local_files, uploaded_output
from data_prep.overwrite_checks import check_lines, check_manifest, check_no_link
from data_prep.parallel.workers import add_worker_arguments, open_workers
from data_prep.pool import Failed
from data_prep.progress import bar
from worldmodel.config import ConfigError, load_config, parse_config
from worldmodel.config.yaml_text import read_yaml
from worldmodel.files.atomic import write_text
from worldmodel.files.folder_lock import lock_file
from worldmodel.files.output_errors import output_errors
from worldmodel.files.outputs import GIVE_ANOTHER_OUT
from worldmodel.manifest import Manifest, write_manifest
from worldmodel.process.arguments import path_or_url, positive_number
from worldmodel.process.terminal import print_escaped

HELP = "divide videos into shots, set aside black, frozen and doubled ones, and measure motion"
RESUMES = True
TIMEOUT_S = 600.0
COMMAND = "data_prep curate"
MARK = f"<!-- python -m {COMMAND} -->"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("manifest", type=path_or_url, metavar="M.parquet", help="a manifest, a file or a URL")
    parser.add_argument("changes", nargs="*", metavar="NAME=VALUE", help="other thresholds, such as stills.min_s=1")
    parser.add_argument("--out", type=path_or_url, required=True, metavar="C.parquet", help="the manifest to write")
    parser.add_argument("--recipe", type=Path, metavar="YAML", help="a file with thresholds (default: those of CurationRecipe)")
    add_worker_arguments(parser)
    parser.add_argument(
        "--timeout-s",
        type=positive_number("seconds"),
        default=TIMEOUT_S,
        help="give up on a video after this time (default 600)",
    )


def run(args: argparse.Namespace) -> int:
    """Run the command.

    Raises PrepError for thresholds that do not exist and for an --out that is another file.
    """
    if isinstance(args.out, str):
        if isinstance(args.manifest, Path):  # before the videos are analysed; one at a URL cannot name files of this machine
            refuse_local_files(args.manifest, named_in(Manifest.open(args.manifest)))
        with uploaded_output(args.out, "data_prep curate", is_file=True) as out:
            return run(argparse.Namespace(**{**vars(args), "out": out}))
    recipe = _recipe(args)
    out = Path(os.path.abspath(args.out))
    if isinstance(args.manifest, Path) and out == Path(os.path.abspath(args.manifest)):
        raise PrepError(f"{args.out}: --out is the manifest itself; {GIVE_ANOTHER_OUT}")
    manifest = Manifest.open(args.manifest)
    if not len(manifest):
        raise PrepError(f"{args.manifest}: it has no clips")
    check_manifest(out, COMMAND, GIVE_ANOTHER_OUT)
    check_lines(_journal_of(out), "curates", GIVE_ANOTHER_OUT)
    _check_page(_page_of(out))
    with output_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    with lock_file(out, GIVE_ANOTHER_OUT):
        return _curate(args, manifest, recipe, out)


def _recipe(args: argparse.Namespace) -> CurationRecipe:
    try:
        if args.recipe is not None:
            return load_config(CurationRecipe, args.recipe, args.changes)
        data: dict[str, Any] = {}
        for text in args.changes:
            name, equals, value = text.partition("=")
            if not equals:
                raise PrepError(f"{text}: expected NAME=VALUE, such as cuts.min_score=15")
            *above, last = name.split(".")
            inside = data
            for key in above:
                inside = inside.setdefault(key, {})
            try:
                inside[last] = read_yaml(value)
            except ValueError as error:
                raise PrepError(f"{text}: {error}") from None
        return parse_config(CurationRecipe, data, "command line")
    except ConfigError as error:
        raise PrepError(str(error)) from None


def _curate(args: argparse.Namespace, manifest: Manifest, recipe: CurationRecipe, out: Path) -> int:
    videos = list(_videos(manifest))
    settings = {"curates": manifest.digest(), "recipe": recipe.model_dump(mode="json")}
    journal = Journal(_journal_of(out), settings, iter(videos), VideoAnalysis)
    try:
        first = [video.path for video in videos[:1]]
        with open_workers(args, first) as workers, bar("curate", len(videos)) as progress:
            progress.step(journal.done)
            work = partial(analyse_video, recipe=recipe)
            left = len(videos) - journal.done
            for video, result in workers.run_each(work, journal.items, args.timeout_s, left):
                if isinstance(result, Failed) and result.reason == "storage":
                    raise PrepError(f"{result.detail}; the same command resumes from here")
                if isinstance(result, Failed):
                    result = VideoAnalysis(video.path, video.member, video.label, problem=result.detail)
                journal.append(result)
                progress.step(ok=not result.problem)
        analyses = list(journal.records())
    finally:
        journal.close()
    groups = group_duplicates([[int(value, 16) for value in analysis.hashes] for analysis in analyses], recipe.duplicates)
    rows = list(curated_clips(videos, analyses, groups, recipe))
    changes = " ".join(shlex.quote(text) for text in args.changes)
    command = f"python -m {COMMAND} {shlex.quote(os.path.basename(args.manifest))} {changes}".strip()
    before = manifest.metadata.get("config", {})
    config = {"recipe": recipe.model_dump(mode="json"), "curated": before}
    if "content_hash" in before:  # `shard` and `transcode` look for it here, to compare contents
        config["content_hash"] = before["content_hash"]
    write_manifest(out, (row.clip for row in rows), command=command, config=config, added=added_columns(rows))
    page = write_page(videos, analyses, groups, rows, recipe, command)
    write_text(_page_of(out), page.replace("<html", f"{MARK}<html", 1))
    journal.remove()
    print_escaped("\n".join(_summary(out, videos, groups, rows)))
    return 0


def _videos(manifest: Manifest) -> Iterator[VideoClips]:
    """The videos of a manifest, each with its clips that follow one another."""
    clips = (manifest.clip(row) for row in range(len(manifest)))
    for (path, member), group in itertools.groupby(clips, key=lambda clip: (clip.path, clip.member)):
        found = tuple(group)
        yield VideoClips(path, member, found[0].label, found)


def _summary(out: Path, videos: list[VideoClips], groups: list[int], rows: list[CuratedClip]) -> list[str]:
    words = ", ".join(f"{count} {name}" for name, count in Counter(row.decision for row in rows).most_common())
    moved = sum(row.decision == "used" and row.clip.split != row.split_before for row in rows)
    copies = sum(group != index for index, group in enumerate(groups))
    lines = [
        f"{out}: {len(rows)} stretches of {len(videos)} videos: {words}",
        f"examples of each decision: {_page_of(out)}",
    ]
    if cropped := len({(row.clip.path, row.clip.member) for row in rows if row.clip.crop is not None}):
        lines.append(f"{cropped} videos have borders; readers of the manifest see what lies inside them (borders.crop)")
    if copies:
        lines.append(f"{copies} videos are near-duplicates of others; {moved} stretches changed their split for it")
    return lines


def _journal_of(out: Path) -> Path:
    return out.with_name(f"{out.name}.part.jsonl")


def _page_of(out: Path) -> Path:
    return out.with_suffix(".html")


def _check_page(page: Path) -> None:
    check_no_link(page, GIVE_ANOTHER_OUT)
    if page.exists() and MARK not in page.read_text(encoding="utf-8", errors="replace")[:200]:
        raise PrepError(f"{page}: exists and was not made by this command, so it is not overwritten; {GIVE_ANOTHER_OUT}")
