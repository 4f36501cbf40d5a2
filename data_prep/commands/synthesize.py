"""Generate videos of a synthetic physics world.

--train N writes OUT/train.parquet: possible videos for training.
--suite SIZE writes OUT/suite.parquet and OUT/quads.parquet: matched quadruplets of two possible and
two impossible videos. Beside them OUT/calibration.parquet lists possible videos on which error
statistics are fitted.

--world chooses the world: builtin (3-D, objects pass behind occluders), flat (2-D, side view),
lookaway (the built-in world, in which the camera turns away or the light goes out), dynamics (the
built-in world, in which only the order of the frames tells what comes next) or memory (the built-in
world, in which one to four bodies are hidden for 0.5, 1 or 2 s; videos of 4 s).

An interrupted command resumes when it is given again. Videos that were deleted since are generated
again. Several machines share the work with --shard.
"""

from __future__ import annotations

import argparse
import math
import shlex
import time
from pathlib import Path
from typing import Any

from data_prep.errors import PrepError
from data_prep.parallel.workers import add_worker_arguments, open_workers
from data_prep.physics.generation import GenerationConfig, Shard, claim_output, generator_versions, limit_threads
from data_prep.physics.job_plan import SUITE_SIZES, QuadrupletJob
from data_prep.physics.worlds import WORLDS
from worldmodel.files.folder_lock import lock_folder
from worldmodel.process.arguments import finite_number, whole_number
from worldmodel.process.terminal import print_escaped

HELP = "generate videos of a synthetic physics world"
RESUMES = True
SIZE_PX_RANGE = (32, 512)
FRAMES_RANGE = (16, 480)
FPS_RANGE = (4.0, 60.0)
MIN_DURATION_S = 1.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=Path, metavar="OUT", help="the output folder")
    parser.add_argument(
        "--world", type=_world, default="builtin", metavar="NAME", help=f"{', '.join(WORLDS)} (default: builtin)"
    )
    parser.add_argument("--train", type=whole_number(0), default=0, metavar="N", help="number of possible videos for training")
    parser.add_argument(
        "--randomised-looks",
        type=finite_number(0.0, 1.0, expected="a fraction"),
        default=0.0,
        metavar="F",
        help="fraction of the videos for training that are painted anew with random colours and backdrops (default 0)",
    )
    parser.add_argument("--suite", choices=SUITE_SIZES, help="test suite: 2, 60, 100 or 300 occluded quadruplets per property")
    parser.add_argument(
        "--quadruplets", type=whole_number(0), metavar="N", help="another number of occluded quadruplets per property"
    )
    parser.add_argument(
        "--unseen",
        type=whole_number(0),
        metavar="N",
        help="another number of quadruplets per property with held-out shapes, textures and occluders (split ood)",
    )
    parser.add_argument("--properties", metavar="A,B", help="use only some of the properties of the world")
    parser.add_argument(
        "--size-px", type=whole_number(*SIZE_PX_RANGE), metavar="PX", help="height and width (default: 64, full: 128)"
    )
    parser.add_argument(
        "--frames",
        type=whole_number(*FRAMES_RANGE),
        metavar="T",
        help="frames per video (default: 24, full: 48; world memory: 4 s)",
    )
    parser.add_argument(
        "--fps", type=finite_number(*FPS_RANGE, expected="frames a second"), default=12.0, help="frame rate (default 12)"
    )
    parser.add_argument("--seed", type=whole_number(0), default=0, help="seed of all random numbers (default 0)")
    add_worker_arguments(parser)
    parser.add_argument(
        "--shard",
        type=_shard,
        default=(0, 1),
        metavar="R/W",
        help="make only part R of W parts, R from 0 to W-1, so that W machines share the work",
    )
    parser.add_argument("--rank", type=_former_rank, help=argparse.SUPPRESS)


def _world(text: str) -> str:
    if text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text}: --world names a world now; machines share the work with --shard R/{text}")
    if text not in WORLDS:
        raise argparse.ArgumentTypeError(f"{text}: expected one of {', '.join(WORLDS)}")
    return text


def _shard(text: str) -> tuple[int, int]:
    rank, _, count = text.partition("/")
    if not (rank.isdecimal() and count.isdecimal() and int(rank) < int(count)):
        raise argparse.ArgumentTypeError(f"{text}: expected R/W with R from 0 to W-1, such as 0/2 and 1/2 for two machines")
    return int(rank), int(count)


def _former_rank(text: str) -> int:
    raise argparse.ArgumentTypeError(f"{text}: expected --shard R/W instead of --rank R --world W, such as --shard 1/2")


def run(args: argparse.Namespace) -> int:
    """Run the command.

    Raises PrepError for arguments that do not fit together, and for a video that cannot be
    generated.
    """
    configs = _configs(args)
    if args.out.exists() and not args.out.is_dir():
        raise PrepError(f"{args.out} is a file; OUT must be a folder")
    rank, count = args.shard
    lock = ".lock" if count == 1 else f".lock_{rank}_of_{count}"  # machines that share the work write at once
    with lock_folder(args.out, "give another OUT", lock):
        return _synthesize(args, configs)


def _synthesize(args: argparse.Namespace, configs: list[GenerationConfig]) -> int:
    command = f"python -m data_prep synthesize {shlex.quote(args.out.name)} " + _options(args)
    limit_threads()
    rank, count = args.shard
    for config in configs:
        claim_output(args.out, config)
    with open_workers(args, writes=args.out) as workers:
        for config in configs:
            start = time.monotonic()
            shard = Shard(args.out, config, rank, count)
            shard.run(workers)
            if shard.complete():
                videos = shard.write_tables(command)
                print_escaped(f"{args.out / config.tables[0]}: {videos} videos, {time.monotonic() - start:.0f} s")
            else:
                print_escaped(f"{config.kind}: shard {rank}/{count} is finished; the last shard to finish writes the table")
    return 0


def _configs(args: argparse.Namespace) -> list[GenerationConfig]:
    """The configurations for these arguments.

    Raises PrepError where the arguments do not fit together.
    """
    if not args.train and not args.suite:
        raise PrepError("nothing to generate; give --train 3000, or --suite nano (or mini, or full), or both")
    if args.randomised_looks and not args.train:
        raise PrepError("--randomised-looks is about videos for training; give --train 3000 too, or leave it out")
    for name in ("quadruplets", "unseen", "properties"):
        if getattr(args, name) is not None and not args.suite:
            raise PrepError(f"--{name} is about the videos of a suite; give --suite mini too, or leave it out")
    known = [property_.name for property_ in WORLDS[args.world].properties]
    names = tuple(known) if args.properties is None else tuple(dict.fromkeys(args.properties.split(",")))
    if unknown := [name or "''" for name in names if name not in known]:
        raise PrepError(f"--properties: {', '.join(unknown)} is not among {', '.join(known)} of the world {args.world}")
    if args.suite:
        WORLDS[args.world].check_frame_rate(args.fps, names)
    configs = []
    if args.train:
        looks = {"randomised_looks": args.randomised_looks}
        configs.append(GenerationConfig(kind="train", videos=args.train, **looks, **_shared_fields(args, 64, 24)))
    if args.suite:
        size = SUITE_SIZES[args.suite]
        shared = _shared_fields(args, size.size_px, size.frames)
        scale = 1.0 if args.quadruplets is None else args.quadruplets / size.occluded
        counts = {
            "occluded": size.occluded if args.quadruplets is None else args.quadruplets,
            "visible": round(size.visible * scale),
            "validation": round(size.validation * scale),
            "unseen": round(size.unseen * scale) if args.unseen is None else args.unseen,
        }
        configs.append(GenerationConfig(kind="suite", levels=size.levels, properties=names, **counts, **shared))
        if next(configs[-1].jobs(), None) is None:
            raise PrepError(
                f"--suite {args.suite} has no quadruplets with these options; give --quadruplets 1 or more, or --unseen 1"
            )
        if configs[-1].levels != size.levels:
            listed = " and ".join(map(str, configs[-1].levels))
            print_escaped(f"quadruplets of the world {args.world} have levels {listed} only; others are left out")
        configs.append(GenerationConfig(kind="calibration", levels=size.levels, videos=size.calibration, **shared))
    for config in configs:
        _check_duration(config)
    return configs


def _check_duration(config: GenerationConfig) -> None:
    """Raise PrepError for videos that are too short for what the world shows."""
    world, video = WORLDS[config.world], config.format
    if config.kind == "suite":
        used = [world.property(job.property).templates[job.template] for job in config.jobs() if isinstance(job, QuadrupletJob)]
        longest = max(used, key=lambda template: template.min_duration_s, default=None)
        needed_s, what = (longest.min_duration_s, f"quadruplets {longest.name}") if longest else (0.0, "")
    else:
        needed_s, what = world.min_possible_s, f"{config.kind} videos"
    if video.duration_s < needed_s:
        enough = math.ceil(needed_s * video.fps)
        raise PrepError(
            f"{video.frames} frames at {video.fps:g} fps are {video.duration_s:.2f} s; {what} of the world {config.world} "
            f"need {needed_s:.2f} s; give --frames {enough} or more"
        )


def _shared_fields(args: argparse.Namespace, size_px: int, frames: int) -> dict[str, Any]:
    """Fields that all configurations share; size and frames are the defaults.

    Raises PrepError for too short videos.
    """
    size_px = size_px if args.size_px is None else args.size_px
    if (own_s := WORLDS[args.world].duration_s) is not None:
        frames = round(own_s * args.fps)
    frames = frames if args.frames is None else args.frames
    duration_s = frames / args.fps
    if duration_s < MIN_DURATION_S:
        raise PrepError(f"{frames} frames at {args.fps:g} fps are {duration_s:.2f} s; the events need {MIN_DURATION_S} s")
    return {
        **{"world": args.world, "seed": args.seed, "size_px": size_px, "frames": frames, "fps": args.fps},
        **generator_versions(args.world),
    }


def _options(args: argparse.Namespace) -> str:
    """The options that determine the videos, as on a command line.

    Options that only divide the work are left out.
    """
    names = ("world", "train", "randomised_looks", "suite", "properties", "size_px", "frames", "fps", "seed")
    given = {name: value for name in names if (value := getattr(args, name))}
    counts = {name: value for name in ("quadruplets", "unseen") if (value := getattr(args, name)) is not None}  # 0 is a value
    return " ".join(f"--{n.replace('_', '-')} {shlex.quote(str(value))}" for n, value in (given | counts).items())
