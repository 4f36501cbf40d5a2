"""Draw contact sheets: of clips of any manifest, or of the four films of quadruplets of the physics world.

python -m data_prep show OUT/train.parquet --rows 24 --out train.png       the first clips
python -m data_prep show OUT/train.parquet --clip 3f2a... --out clip.png   one clip
python -m data_prep show OUT/quads.parquet --quad shape-occluded-test-0000 --out quad.png
python -m data_prep show OUT/quads.parquet --out sheets/                   a sheet a property, each template once
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
from data_prep.existing import check_no_link
from data_prep.physics.rendering.contact_sheets import Row, sheet
from worldmodel.files.atomic import replacing
from worldmodel.files.file_names import file_name_for
from worldmodel.files.output_mark import mark_output
from worldmodel.manifest import Clip, Manifest
from worldmodel.process.arguments import count
from worldmodel.process.terminal import say
from worldmodel.video import read_frames

HELP = "draw a contact sheet of clips or of quadruplets"
MOST_FRAMES = 240
COMMAND = "data_prep show"  # stands in every sheet, so that no other picture is overwritten


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("table", type=Path, metavar="TABLE.parquet", help="a manifest, or the quads.parquet of a suite")
    parser.add_argument("--out", type=Path, required=True, metavar="PNG", help="a .png; for all properties, a folder")
    parser.add_argument("--clip", help="only this clip_id")
    parser.add_argument("--quad", help="only this quad_id")
    parser.add_argument("--rows", type=count(1), default=12, help="how many clips of a manifest (default 12)")
    parser.add_argument("--every", type=count(1), default=2, help="show every N-th frame (default 2)")
    parser.add_argument("--scale", type=count(1), default=1, help="enlarge so many times (default 1)")


def run(args: argparse.Namespace) -> int:
    """Raises PrepError when the table or what is asked for is not there."""
    if not args.table.is_file():
        raise PrepError(f"{args.table}: no such table; make films with `python -m data_prep synthesize OUT --suite nano`")
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
        some = f"no clip {args.clip}; its clip_ids are {', '.join(ids[:3])}, ..." if len(ids) else "no clips in it"
        raise PrepError(f"{args.table}: {some}")
    rows = []
    for number in chosen:
        clip = manifest.clip(int(number))
        rows.append(Row(_frames(clip), f"{clip.split}\n{clip.label or clip.clip_id}"))
    _save(sheet(rows, every=args.every, scale=args.scale), args.out)


def _quadruplets(args: argparse.Namespace) -> None:
    films = pq.read_table(args.table).to_pylist()
    manifest = Manifest.open(args.table.with_name("suite.parquet"))
    place = {name: row for row, name in enumerate(manifest.column("clip_id"))}
    quads: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for film in films:
        quads[film["quad_id"]].append(film)
    if args.quad:
        if args.quad not in quads:
            raise PrepError(f"{args.table}: no quadruplet {args.quad}; there are {', '.join(list(quads)[:3])}, ...")
        _save(_sheet_of([quads[args.quad]], manifest, place, args), args.out)
        return
    first: dict[str, dict[tuple[str, str], list[dict[str, Any]]]] = defaultdict(dict)
    for quad in quads.values():
        first[quad[0]["property"]].setdefault((quad[0]["visibility"], quad[0]["template"]), quad)
    for property_, templates in first.items():
        _save(_sheet_of(list(templates.values()), manifest, place, args), args.out / file_name_for(property_, ".png"))


def _sheet_of(
    quads: list[list[dict[str, Any]]], manifest: Manifest, place: dict[str, int], args: argparse.Namespace
) -> Image.Image:
    rows = []
    for quad in quads:
        for film in quad:
            kind = "possible" if film["possible"] else "IMPOSSIBLE"
            words = f"{film['template']}\n({film['context_id']}, {film['outcome_id']}) {kind}"
            marks = () if film["possible"] else (film["reveal"],)
            rows.append(Row(_frames(manifest.clip(place[film["clip_id"]])), words, marks))
    return sheet(rows, every=args.every, scale=args.scale)


def _frames(clip: Clip) -> np.ndarray:
    times = clip.start_s + (np.arange(min(clip.frames, MOST_FRAMES)) + 0.5) / clip.fps
    return read_frames(clip.path, times_s=times, member=clip.member, timing=clip.timing)


def _save(picture: Image.Image, path: Path) -> None:
    """Write a sheet. Raises PrepError for a file that is no sheet, OutputError where it cannot be written."""
    check_no_link(path, "choose another --out")
    if path.exists() and not _is_sheet(path):
        raise PrepError(f"{path}: exists, and is not a sheet of this command; it is not overwritten; choose another --out")
    mark_output(path.parent, f"python -m {COMMAND}")
    said = PngInfo()
    said.add_text("Software", COMMAND)
    with replacing(path) as part:
        picture.save(part, format="PNG", optimize=True, pnginfo=said)
    say(path)


def _is_sheet(path: Path) -> bool:
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            return picture.info.get("Software") == COMMAND
    except OSError:
        return False
