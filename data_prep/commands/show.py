"""Draw contact sheets of clips of any manifest, or of quadruplets of the physics world.

python -m data_prep show OUT/train.parquet --rows 24 --out train.png       the first clips
python -m data_prep show OUT/train.parquet --clip 3f2a... --out clip.png   one clip
python -m data_prep show OUT/quads.parquet --quad shape-occluded-test-0000 --out quad.png
python -m data_prep show OUT/quads.parquet --out sheets/                   one sheet per property, with each template once
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from data_prep.errors import PrepError
from data_prep.overwrite_checks import check_no_link
from data_prep.physics.contact_sheets import SheetRow, contact_sheet
from worldmodel.files.atomic import atomic_path
from worldmodel.files.file_names import safe_file_name
from worldmodel.files.output_mark import mark_new_folder
from worldmodel.manifest import Clip, Manifest
from worldmodel.process.arguments import whole_number
from worldmodel.process.terminal import print_escaped
from worldmodel.video import read_frames

HELP = "draw a contact sheet of clips or of quadruplets"
MAX_FRAMES = 240
COMMAND = "data_prep show"  # written into every sheet, so that no other image is overwritten


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("table", type=Path, metavar="TABLE.parquet", help="a manifest, or the quads.parquet of a suite")
    parser.add_argument("--out", type=Path, required=True, metavar="PNG", help="a .png file; a folder for all properties")
    parser.add_argument("--clip", help="only this clip_id")
    parser.add_argument("--quad", help="only this quad_id")
    parser.add_argument("--rows", type=whole_number(1), default=12, help="number of clips of a manifest (default 12)")
    parser.add_argument("--every", type=whole_number(1), default=2, help="show every N-th frame (default 2)")
    parser.add_argument("--scale", type=whole_number(1), default=1, help="factor of enlargement (default 1)")


def run(args: argparse.Namespace) -> int:
    """Raises PrepError if the table, the clip or the quadruplet does not exist."""
    if not args.table.is_file():
        raise PrepError(f"{args.table}: no such table; generate videos with `python -m data_prep synthesize OUT --suite nano`")
    if "quad_id" in pq.read_schema(args.table).names:
        _quadruplets(args)
    else:
        _clips(args)
    return 0


def _clips(args: argparse.Namespace) -> None:
    manifest = Manifest.open(args.table)
    ids = manifest.column("clip_id")
    chosen = np.flatnonzero(ids == args.clip) if args.clip else np.arange(min(args.rows, len(manifest)))
    if not len(chosen):
        problem = f"no clip {args.clip}; its clip_ids are {', '.join(ids[:3])}, ..." if len(ids) else "it has no clips"
        raise PrepError(f"{args.table}: {problem}")
    rows = []
    for number in chosen:
        clip = manifest.clip(int(number))
        rows.append(SheetRow(_frames(clip), f"{clip.split}\n{clip.label or clip.clip_id}"))
    _save(contact_sheet(rows, every=args.every, scale=args.scale), args.out)


def _quadruplets(args: argparse.Namespace) -> None:
    videos = pq.read_table(args.table).to_pylist()
    manifest = Manifest.open(args.table.with_name("suite.parquet"))
    rows = {clip_id: row for row, clip_id in enumerate(manifest.column("clip_id"))}
    quads: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for video in videos:
        quads[video["quad_id"]].append(video)
    if args.quad:
        if args.quad not in quads:
            raise PrepError(f"{args.table}: no quadruplet {args.quad}; its quad_ids are {', '.join(list(quads)[:3])}, ...")
        _save(_sheet_of([quads[args.quad]], manifest, rows, args), args.out)
        return
    first: dict[str, dict[tuple[str, str], list[dict[str, Any]]]] = defaultdict(dict)
    for quad in quads.values():
        first[quad[0]["property"]].setdefault((quad[0]["visibility"], quad[0]["template"]), quad)
    for property_, templates in first.items():
        _save(_sheet_of(list(templates.values()), manifest, rows, args), args.out / safe_file_name(property_, ".png"))


def _sheet_of(
    quads: list[list[dict[str, Any]]], manifest: Manifest, manifest_rows: dict[str, int], args: argparse.Namespace
) -> Image.Image:
    rows = []
    for quad in quads:
        for video in quad:
            kind = "possible" if video["possible"] else "IMPOSSIBLE"
            text = f"{video['template']}\n({video['context_id']}, {video['outcome_id']}) {kind}"
            marks = () if video["possible"] else (video["reveal"],)
            rows.append(SheetRow(_frames(manifest.clip(manifest_rows[video["clip_id"]])), text, marks))
    return contact_sheet(rows, every=args.every, scale=args.scale)


def _frames(clip: Clip) -> np.ndarray:
    times = clip.start_s + (np.arange(min(clip.frames, MAX_FRAMES)) + 0.5) / clip.fps
    return read_frames(clip.path, times_s=times, member=clip.member, timing=clip.timing)


def _save(image: Image.Image, path: Path) -> None:
    """Write a sheet.

    Raises PrepError if the file exists and is not a sheet, and OutputError if it cannot be written.
    """
    check_no_link(path, "choose another --out")
    if path.exists() and not _is_sheet(path):
        raise PrepError(f"{path}: exists and is not a sheet of this command, so it is not overwritten; choose another --out")
    mark_new_folder(path.parent, f"python -m {COMMAND}")
    metadata = PngInfo()
    metadata.add_text("Software", COMMAND)
    with atomic_path(path) as part:
        image.save(part, format="PNG", optimize=True, pnginfo=metadata)
    print_escaped(path)


def _is_sheet(path: Path) -> bool:
    try:
        with Image.open(path, formats=("PNG",)) as image:
            return image.info.get("Software") == COMMAND
    except OSError:
        return False
