"""Make films of the built-in physics world: lawful ones to learn from (--train N), matched ones to be measured on (--suite).

OUT/train.parquet holds lawful films; OUT/suite.parquet and OUT/quads.parquet the matched quadruplets, with lawful films
beside them in OUT/lawful.parquet. The same command again goes on where it stopped; several machines share the work with
--rank and --world.
"""

from __future__ import annotations

import argparse
import shlex
import time
from pathlib import Path

from data_prep.errors import PrepError
from data_prep.physics.generation import Production, Shard, claim, single_threaded, versions
from data_prep.physics.suite import BY_NAME, PROPERTIES, SIZES
from worldmodel.files.folder_lock import hold_folder
from worldmodel.process.arguments import count, number
from worldmodel.process.cores import usable_cores
from worldmodel.process.terminal import say

HELP = "make films of the built-in physics world"
RESUMES = True
PX = (32, 512)
FRAMES = (16, 480)
FPS = (4.0, 60.0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder to fill")
    parser.add_argument("--train", type=count(0), default=0, metavar="N", help="so many lawful films to learn from")
    parser.add_argument("--suite", choices=SIZES, help="matched quadruplets: 2, 100 or 300 a property to be tested on")
    parser.add_argument("--quadruplets", type=count(1), metavar="N", help="another number of quadruplets a property")
    parser.add_argument("--properties", metavar="A,B", help=f"only these of {','.join(BY_NAME)}")
    parser.add_argument("--size-px", type=count(*PX), metavar="PX", help="height and width (default: 64, full: 128)")
    parser.add_argument("--frames", type=count(*FRAMES), metavar="T", help="frames a film (default: 24, full: 48)")
    parser.add_argument("--fps", type=number(*FPS, what="frames a second"), default=12.0, help="frames a second (default 12)")
    parser.add_argument("--seed", type=count(0), default=0, help="another seed, other films (default 0)")
    parser.add_argument("--workers", type=count(1), default=usable_cores(), help="processes (default: one a core)")
    parser.add_argument("--rank", type=count(0), default=0, help="which of --world machines this is, from 0")
    parser.add_argument("--world", type=count(1), default=1, help="how many machines share the work")


def run(args: argparse.Namespace) -> int:
    """Raises PrepError for arguments that make no sense, and where a film cannot be made."""
    productions = _productions(args)
    if args.out.exists() and not args.out.is_dir():
        raise PrepError(f"{args.out} is a file; OUT must be a folder")
    lock = ".lock" if args.world == 1 else f".lock_{args.rank}_of_{args.world}"  # machines that share the work write at once
    with hold_folder(args.out, "give another OUT", lock):
        return _synthesize(args, productions)


def _synthesize(args: argparse.Namespace, productions: list[Production]) -> int:
    command = f"python -m data_prep synthesize {shlex.quote(args.out.name)} " + _said(args)
    single_threaded()
    for production in productions:
        claim(args.out, production)
    for production in productions:
        began = time.monotonic()
        shard = Shard(args.out, production, args.rank, args.world)
        shard.run(args.workers)
        if shard.complete():
            count = shard.publish(production.kind, command)
            say(f"{args.out / production.kind}.parquet: {count} films, {time.monotonic() - began:.0f} s")
        else:
            say(f"{production.kind}: shard {args.rank} of {args.world} is done; the last to finish writes the table")
    return 0


def _productions(args: argparse.Namespace) -> list[Production]:
    """What is asked for, checked."""
    if not args.train and not args.suite:
        raise PrepError("nothing to make; say --train 3000, or --suite nano (or mini, or full), or both")
    if not 0 <= args.rank < args.world:
        raise PrepError(f"--rank {args.rank} of --world {args.world}: ranks go from 0 to {args.world - 1}")
    names = tuple(args.properties.split(",")) if args.properties else tuple(p.name for p in PROPERTIES)
    if unknown := [name for name in names if name not in BY_NAME]:
        raise PrepError(f"--properties: {', '.join(unknown)} is not among {', '.join(BY_NAME)}")
    productions = []
    if args.train:
        productions.append(Production(kind="train", films=args.train, **_picture(args, 64, 24)))
    if args.suite:
        size = SIZES[args.suite]
        picture = _picture(args, size.size_px, size.frames)
        scale = 1.0 if args.quadruplets is None else args.quadruplets / size.occluded
        counts = {
            "occluded": args.quadruplets or size.occluded,
            "visible": round(size.visible * scale),
            "validation": round(size.validation * scale),
            "unseen": round(size.unseen * scale),
        }
        productions.append(Production(kind="suite", levels=size.levels, properties=names, **counts, **picture))
        productions.append(Production(kind="lawful", levels=size.levels, films=size.lawful, **picture))
    return productions


def _picture(args: argparse.Namespace, size_px: int, frames: int) -> dict:
    size_px = size_px if args.size_px is None else args.size_px
    frames = frames if args.frames is None else args.frames
    if frames / args.fps < 1.2:
        raise PrepError(f"{frames} frames at {args.fps:g} fps are {frames / args.fps:.2f} s; events need 1.2 s to happen in")
    return {"seed": args.seed, "size_px": size_px, "frames": frames, "fps": args.fps, **versions()}


def _said(args: argparse.Namespace) -> str:
    """The options that determine the films, as they would be typed; how the work was shared does not."""
    names = ("train", "suite", "quadruplets", "properties", "size_px", "frames", "fps", "seed")
    return " ".join(f"--{n.replace('_', '-')} {shlex.quote(str(getattr(args, n)))}" for n in names if getattr(args, n))
