"""Draw contact sheets of any manifest, or of quadruplets of the physics world.

python -m data_prep show M.parquet --out clips.png                          clips of all splits and classes
python -m data_prep show M.parquet --split val --label archery --out a.png  clips of one split and class
python -m data_prep show M.parquet --clip 3f2a... --every 1 --out clip.png  one clip, every frame
python -m data_prep show OUT/quads.parquet --quad shape-occluded-test-0000 --out quad.png
python -m data_prep show OUT/quads.parquet --out sheets/                    one sheet per property, with each template once

A row of a manifest has the class, the split, the times in the file, frames with their times, and the
actions, if there are any.
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
from worldmodel.manifest import SPLITS, Clip, Manifest
from worldmodel.process.arguments import whole_number
from worldmodel.process.terminal import print_escaped
from worldmodel.storage.urls import is_url
from worldmodel.video import read_frames

HELP = "draw a contact sheet of a manifest or of quadruplets"
MAX_FRAMES = 240
COMMAND = "data_prep show"  # written into every sheet, so that no other image is overwritten


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("table", metavar="TABLE.parquet", help="a manifest (file or URL), or the quads.parquet of a suite")
    parser.add_argument("--out", type=Path, required=True, metavar="PNG", help="a .png file; a folder for all properties")
    parser.add_argument("--clip", help="only this clip_id")
    parser.add_argument("--quad", help="only this quad_id")
    parser.add_argument("--split", choices=SPLITS, help="only clips of this split")
    parser.add_argument("--label", help="only clips of this class")
    parser.add_argument("--rows", type=whole_number(1), default=12, help="number of clips of a manifest (default 12)")
    parser.add_argument("--frames", type=whole_number(1), default=8, help="frames of each clip of a manifest (default 8)")
    parser.add_argument("--height-px", type=whole_number(16), default=96, help="height of a frame of a manifest (default 96)")
    parser.add_argument(
        "--every", type=whole_number(1), help="show every N-th frame (default: of quadruplets, 2; of a manifest, see --frames)"
    )
    parser.add_argument("--scale", type=whole_number(1), default=1, help="factor of enlargement of quadruplets (default 1)")


def run(args: argparse.Namespace) -> int:
    """Raises PrepError if the table, the clip or the quadruplet does not exist."""
    table = Path(args.table)
    if not is_url(args.table) and not table.is_file():
        raise PrepError(f"{args.table}: no such table; make one with `python -m data_prep index DIR --out {table.name}`")
    if not is_url(args.table) and "quad_id" in pq.read_schema(table).names:
        _quadruplets(args, table)
    else:
        _clips(args)
    return 0


def _clips(args: argparse.Namespace) -> None:
    from data_prep.clip_sheets import choose_rows, draw_sheet, even_times, read_row, title_of  # it imports matplotlib

    manifest = Manifest.open(args.table)
    ids = manifest.column("clip_id")
    chosen = np.flatnonzero(ids == args.clip) if args.clip else choose_rows(manifest, args.rows, args.split, args.label)
    if not len(chosen):
        raise PrepError(f"{args.table}: {_why_none(args, ids, manifest)}")
    schema, decisions = pq.read_schema(manifest.path), None
    if "decision" in schema.names:  # of a curated manifest
        decisions = pq.read_table(manifest.path, columns=["decision"]).column(0)
    rows = []
    for number in chosen.tolist():
        clip = manifest.clip(number)
        times_s = even_times(clip, args.frames) if args.every is None else _every(clip, args.every)
        rows.append(read_row(clip, times_s, args.height_px, None if decisions is None else decisions[number].as_py()))
    _save(draw_sheet(rows, title_of(manifest, args.table)), args.out)


def _why_none(args: argparse.Namespace, ids: np.ndarray, manifest: Manifest) -> str:
    """Why no clip was chosen."""
    if not len(ids):
        return "it has no clips"
    if args.clip:
        return f"no clip {args.clip}; its clip_ids are {', '.join(ids[:3])}, ..."
    labels = sorted({text for text in manifest.column("label") if text is not None})
    return f"no clip of this split and class; its classes are {', '.join(labels[:8]) or 'not given'}"


def _every(clip: Clip, every: int) -> list[float]:
    """The times of every N-th frame of a clip."""
    times: list[float] = (
        clip.start_s + (np.arange(0, min(clip.frames_at(clip.fps), MAX_FRAMES), every) + 0.5) / clip.fps
    ).tolist()
    return times


def _quadruplets(args: argparse.Namespace, table: Path) -> None:
    videos = pq.read_table(table).to_pylist()
    manifest = Manifest.open(table.with_name("suite.parquet"))
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
    return contact_sheet(rows, every=args.every or 2, scale=args.scale)


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
