"""Make quadruplets for violation of expectation by splicing real videos. No labels are needed.

VIDEOS is a folder, or a manifest of `data_prep index` or `data_prep curate`, also at a URL. Only held-out clips are
used (splits val and test; a folder is split as `data_prep index` splits it by default). In the impossible videos
the outcome is that of another stretch of the same shot (other_stretch), the stretch reversed in time
(time_reversed), a still picture (frozen), or partly mirrored (part_mirrored). Each property is made
twice: occluded, with blank frames between context and outcome, and visible.

`python -m eval voe --model RUN --suite builtin:OUT --out DIR` evaluates a model. Many quadruplets of few videos overlap,
and are then not independent. An interrupted command resumes when it is given again.
"""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path

from data_prep.errors import PrepError
from data_prep.outputs.url_output import uploaded_output
from data_prep.parallel.workers import Workers, add_worker_arguments, open_workers
from data_prep.sources.folder import VIDEOS
from data_prep.splicing.config import SplicingConfig, hidden_frames_at
from data_prep.splicing.generation import claim_output, make_videos, write_tables
from data_prep.splicing.held_out import MIN_VIDEOS, Pools, digest, divide, held_out_clips
from data_prep.splicing.splices import SPLICES
from worldmodel.files.folder_lock import lock_folder
from worldmodel.process.arguments import finite_number, path_or_url, whole_number
from worldmodel.process.terminal import print_escaped

HELP = "make a violation-of-expectation suite by splicing real videos"
RESUMES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "videos", type=path_or_url, metavar="VIDEOS", help="a folder of videos, or a manifest, or the URL of one"
    )
    parser.add_argument("--out", type=path_or_url, required=True, metavar="OUT", help="the output folder")
    parser.add_argument(
        "--quadruplets", type=whole_number(1), default=100, metavar="N", help="per property and visibility (default 100)"
    )
    parser.add_argument("--properties", metavar="A,B", help=f"some of {', '.join(SPLICES)}")
    parser.add_argument("--size-px", type=whole_number(32, 512), default=64, help="height and width (default 64)")
    parser.add_argument("--frames", type=whole_number(12, 480), default=16, help="frames per video (default 16)")
    parser.add_argument("--fps", type=finite_number(1, 60, "frames a second"), default=10.0, help="frame rate (default 10)")
    parser.add_argument("--seed", type=whole_number(0), default=0, help="seed of all random numbers (default 0)")
    add_worker_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command.

    Raises PrepError where VIDEOS does not exist or has no usable held-out clips, where videos are too short for
    the blank of occluded quadruplets, and OutputError.
    """
    if isinstance(args.out, str):
        with uploaded_output(args.out, "data_prep quadruplets", is_file=False) as out:
            return run(argparse.Namespace(**{**vars(args), "out": out}))
    if isinstance(args.videos, Path) and not args.videos.exists():
        raise PrepError(f"{args.videos}: no such folder or manifest")
    if isinstance(args.videos, str) or args.videos.is_file():
        _check_not_video(args.videos)
    if args.out.exists() and not args.out.is_dir():
        raise PrepError(f"{args.out} is a file; OUT must be a folder")
    properties = tuple(dict.fromkeys(args.properties.split(","))) if args.properties else tuple(SPLICES)
    if unknown := [name for name in properties if name not in SPLICES]:
        raise PrepError(f"--properties: {', '.join(unknown)} is not among {', '.join(SPLICES)}")
    _check_duration(args)
    with open_workers(args, reads=[args.videos], writes=args.out) as workers:
        lines = _make_suite(args, properties, workers)
    print_escaped("\n".join(lines))
    return 0


def _check_not_video(videos: Path | str) -> None:
    """Raise PrepError for a single video."""
    if str(videos).lower().endswith(VIDEOS):
        raise PrepError(f"{videos}: a video; give the folder that it is in, or a manifest (.parquet)")


def _check_duration(args: argparse.Namespace) -> None:
    """Raise PrepError where a third of a video is shorter than the blank of occluded quadruplets."""
    hidden = hidden_frames_at(args.fps)
    if args.frames < 3 * hidden:
        raise PrepError(
            f"--frames {args.frames} at --fps {args.fps:g}: {hidden} frames are blank in occluded quadruplets, and context and "
            f"outcome need as many each; give --frames {3 * hidden} or more"
        )


def _make_suite(args: argparse.Namespace, properties: tuple[str, ...], workers: Workers) -> list[str]:
    clips = held_out_clips(args.videos, workers)
    config = SplicingConfig(
        source=digest(clips),
        seed=args.seed,
        size_px=args.size_px,
        frames=args.frames,
        fps=args.fps,
        test=args.quadruplets,
        validation=max(1, args.quadruplets // 5),
        calibration=4 * max(1, args.quadruplets // 2),
        properties=properties,
        hidden_frames=hidden_frames_at(args.fps),
    )
    with lock_folder(args.out, "give another OUT"):
        return _make(args, config, divide(clips, config.duration_s), workers)


def _make(args: argparse.Namespace, config: SplicingConfig, pools: Pools, workers: Workers) -> list[str]:
    claim_output(args.out, config)
    results = make_videos(args.out, config, pools, workers)
    options = f"--quadruplets {config.test} --properties {','.join(config.properties)} --size-px {config.size_px}"
    command = (
        f"python -m data_prep quadruplets {shlex.quote(os.path.basename(args.videos))} {options} "
        f"--frames {config.frames} --fps {config.fps:g} --seed {config.seed}"
    )
    lines = write_tables(args.out, config, results, command)
    if not pools.calibration:
        lines.append(
            f"no clip is long enough to be divided in time, and there are fewer than {MIN_VIDEOS} videos, so there are no "
            "calibration videos and no quadruplets of split val; give --calibration MANIFEST to `eval voe`"
        )
    return lines
