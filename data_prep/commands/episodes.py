"""Write a manifest of recorded episodes of another project: one clip per episode, with its actions and states.

    python -m data_prep episodes datasets/pusht --camera observation.image --out data/pusht
    python -m data_prep episodes lift.hdf5 --camera agentview_image --fps 20 --state robot0_eef_pos --out data/lift

A folder is a LeRobotDataset, v2.1 or v3.0; its videos stay where they are. A file is HDF5 in the
layout of stable-worldmodel, robomimic or LIBERO; its pictures are written as videos. OUT has the
manifest episodes.parquet, and signals/ with a table per episode. Episodes that start in the same state
have the same split. If this leaves train, val or test without episodes, because all of them start
alike or there are few, the episodes are split one by one, and the command says so.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from data_prep.episodes import hdf5
from data_prep.episodes.lerobot import LeRobotDataset
from data_prep.episodes.recorded import RecordedEpisode, UnusableEpisode
from data_prep.episodes.splitting import fill_empty_splits
from data_prep.episodes.writing import TIMEOUT_S, ClipWriter, inspect_videos
from data_prep.errors import PrepError
from data_prep.overwrite_checks import check_absent, check_manifest, claim_folder
from data_prep.pool import Failed, run_each
from data_prep.progress import bar
from worldmodel.files.folder_lock import lock_folder
from worldmodel.files.output_mark import writer_of
from worldmodel.manifest import Clip, write_manifest
from worldmodel.process.arguments import finite_number, frame_rate, whole_number
from worldmodel.process.cores import usable_cores
from worldmodel.process.terminal import print_escaped

HELP = "write a manifest of a LeRobotDataset or an HDF5 file: episodes with actions and states"
COMMAND = "data_prep episodes"
MANIFEST = "episodes.parquet"
MAX_LISTED = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "root", type=Path, metavar="DIR_OR_FILE", help="a LeRobotDataset (it has meta/info.json), or an HDF5 file"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the output folder")
    parser.add_argument("--camera", metavar="KEY", help="name of the videos or pictures, where there are several")
    parser.add_argument(
        "--state",
        metavar="KEY[,KEY]",
        help="arrays of an HDF5 file that are the state of a step, one after another, such as ee_pos,gripper_states",
    )
    parser.add_argument("--fps", type=frame_rate, help="steps per second; needed for an HDF5 file, which does not say it")
    parser.add_argument("--name", help="name of the data set, for the column `source` (default: the name of DIR)")
    parser.add_argument("--val", type=finite_number(0, 1, "a fraction"), default=0.1, help="fraction in val (default 0.1)")
    parser.add_argument("--test", type=finite_number(0, 1, "a fraction"), default=0.1, help="fraction in test (default 0.1)")
    parser.add_argument(
        "--workers", type=whole_number(1), default=usable_cores(), help="worker processes (default: one per core)"
    )


def run(args: argparse.Namespace) -> int:
    """Run the command. Raises PrepError for another layout, and where no episode can be used."""
    if args.val + args.test >= 1:
        raise PrepError(f"--val {args.val:g} --test {args.test:g}: expected fractions from 0 with a sum below 1")
    is_file = args.root.is_file()
    if args.state and not is_file:
        raise PrepError("--state is for HDF5 files; the state of a LeRobotDataset is observation.state")
    if args.fps and not is_file:
        raise PrepError("--fps is for HDF5 files; meta/info.json of a LeRobotDataset says the rate")
    source: LeRobotDataset | hdf5.HDF5Settings = _hdf5_settings(args) if is_file else LeRobotDataset(args.root, args.camera)
    check_manifest(args.out / MANIFEST, COMMAND, "give another --out")
    if writer_of(args.out) != f"python -m {COMMAND}":
        check_absent(args.out / "signals", "give another --out")
    claim_folder(args.out, COMMAND)
    with lock_folder(args.out, "give another --out"):
        clips, unusable = _lerobot(args, source) if isinstance(source, LeRobotDataset) else _hdf5(args, source)
        total = len(clips) + len(unusable)
        listed = [f"episode {problem.number}: {problem.detail}" for problem in unusable[:MAX_LISTED]]
        if not clips:
            raise PrepError(f"{args.root}: none of {total} episodes can be used; {'; '.join(listed) or 'it has none'}")
        clips, empty = fill_empty_splits(clips, args.val, args.test)
        config: dict[str, Any] = {"kind": "episodes", "camera": source.camera, "val": args.val, "test": args.test}
        config["layout"] = f"lerobot {source.version}" if isinstance(source, LeRobotDataset) else "hdf5"
        if isinstance(source, hdf5.HDF5Settings) and source.state:
            config["state"] = list(source.state)
        config["split_by"] = "episode" if empty else "start"
        write_manifest(args.out / MANIFEST, clips, command=f"python -m {COMMAND}", config=config)
    counts = ", ".join(f"{sum(clip.split == split for clip in clips)} {split}" for split in ("train", "val", "test"))
    lines = [f"{args.out / MANIFEST}: {len(clips)} of {total} episodes, camera {source.camera}: {counts}", *listed]
    if empty:
        lines.append(
            f"splits are by episode: by the state at the start, {' and '.join(empty)} had none; so episodes of different "
            "splits may start alike"
        )
    if isinstance(source, LeRobotDataset) and source.stated_episodes not in (None, total):
        lines.append(f"meta/info.json says {source.stated_episodes} episodes; the metadata lists {total}")
    if len(unusable) > MAX_LISTED:
        lines.append(f"{len(unusable) - MAX_LISTED} more episodes cannot be used")
    print_escaped("\n".join(lines))
    return 0


def _lerobot(args: argparse.Namespace, dataset: LeRobotDataset) -> tuple[list[Clip], list[UnusableEpisode]]:
    found = (episode.video for episode in dataset.episodes() if isinstance(episode, RecordedEpisode))
    writer = ClipWriter(args.out, _name(args), args.val, args.test, inspect_videos(found, dataset.fps, args.workers))
    return list(writer.clips(dataset.episodes(), len(dataset))), writer.unusable


def _hdf5_settings(args: argparse.Namespace) -> hdf5.HDF5Settings:
    cameras = hdf5.cameras_of(args.root)
    if args.camera is None and len(cameras) != 1:
        raise PrepError(f"{args.root}: has {len(cameras)} arrays of pictures ({', '.join(cameras) or 'none'}); give --camera")
    if args.camera is not None and args.camera not in cameras:
        raise PrepError(f"{args.root}: has no pictures {args.camera}; there are {', '.join(cameras) or 'none'}")
    if args.fps is None:
        raise PrepError(f"{args.root}: an HDF5 file does not say how many steps a second has; give --fps")
    camera, state = args.camera or cameras[0], tuple(args.state.split(",")) if args.state else ()
    hdf5.check_state(args.root, state)
    return hdf5.HDF5Settings(str(args.root.absolute()), camera, args.fps, _name(args), args.val, args.test, state)


def _hdf5(args: argparse.Namespace, settings: hdf5.HDF5Settings) -> tuple[list[Clip], list[UnusableEpisode]]:
    count = hdf5.count_episodes(args.root)
    work = partial(hdf5.write_hdf5_episode, folder=str(args.out), settings=settings)
    clips: list[Clip] = []
    unusable: list[UnusableEpisode] = []
    results = run_each(work, range(count), min(args.workers, max(1, count)), TIMEOUT_S)
    with bar("episodes", count) as progress:
        for number, result in results:
            if isinstance(result, Failed):
                unusable.append(UnusableEpisode(number, result.reason, " ".join(result.detail.split())))
            else:
                row: dict[str, Any] = result
                clips.append(Clip(**row))
            progress.step(ok=not isinstance(result, Failed))
    return clips, unusable


def _name(args: argparse.Namespace) -> str:
    return args.name or args.root.absolute().stem
