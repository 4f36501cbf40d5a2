"""Record episodes of an environment of gymnasium: videos, with actions and states over time.

    python -m data_prep collect --env TwoRooms-v0 --policy random --episodes 1000 --steps 90 --out data/two_rooms

OUT/episodes.parquet is the manifest. Its column `signals` names a table per episode, which also
says what `reset` needs to start the episode again. An episode is a function of the seed and its
number. Episodes that start alike have the same split. An interrupted command resumes when it is
given again; with a larger --episodes it adds to the others.

--policy module:callable is called as callable(environment, rng) at the start of every episode, and
returns a function (observation, info) -> action.
"""

from __future__ import annotations

import argparse
import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from data_prep.environments.collection import MANIFEST, TIMEOUT_S, claim_output, collect, make_folder, write_table
from data_prep.environments.episodes import EpisodeSettings
from data_prep.environments.making import check_environment, description_of, find_policy, make_environment
from data_prep.errors import PrepError
from data_prep.packet_indexing import index_packets
from worldmodel.files.folder_lock import lock_folder
from worldmodel.process.arguments import finite_number, frame_rate, whole_number
from worldmodel.process.cores import usable_cores
from worldmodel.process.terminal import print_escaped

HELP = "record episodes of an environment: videos, actions and states"
RESUMES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--env", required=True, metavar="ID", help="such as TwoRooms-v0, or gym_pusht:gym_pusht/PushT-v0")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the output folder")
    parser.add_argument(
        "--policy", default="random", metavar="NAME", help="random, scripted or module:callable (default: random)"
    )
    parser.add_argument("--episodes", type=whole_number(1), required=True, metavar="N", help="number of episodes")
    parser.add_argument(
        "--steps", type=whole_number(1), metavar="N", help="most steps per episode (default: of the environment)"
    )
    parser.add_argument("--fps", type=frame_rate, help="steps per second (default: render_fps of the environment)")
    parser.add_argument(
        "--env-options", type=_options, default={}, metavar="JSON", help='keyword arguments, such as {"bounce_std_px": 0}'
    )
    parser.add_argument(
        "--split-by", metavar="A,B", help="names of numbers of the first state; episodes that agree in them have one split"
    )
    parser.add_argument("--val", type=finite_number(0, 1, "a fraction"), default=0.1, help="fraction in val (default 0.1)")
    parser.add_argument("--test", type=finite_number(0, 1, "a fraction"), default=0.1, help="fraction in test (default 0.1)")
    parser.add_argument(
        "--packets",
        action="store_true",
        help="also write an index of packets, as `python -m data_prep packets` does, so that training reads faster",
    )
    parser.add_argument("--seed", type=whole_number(0), default=0, help="seed of all random numbers (default 0)")
    parser.add_argument(
        "--workers", type=whole_number(1), default=usable_cores(), help="worker processes (default: one per core)"
    )


def _options(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f'{text}: expected JSON, such as {{"bounce_std_px": 0}} ({error})') from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f'{text}: expected an object, such as {{"bounce_std_px": 0}}')
    return value


def run(args: argparse.Namespace) -> int:
    """Run the command. Raises PrepError for an environment or a policy that cannot be used."""
    settings = _settings(args)
    make_folder(args.out)
    with lock_folder(args.out, "give another --out"):
        claim_output(args.out, settings, _versions(args.env))
        collect(args.out, settings, args.episodes, args.workers)
        command = f"python -m data_prep collect --env {args.env} --policy {args.policy} --episodes {args.episodes}"
        splits = write_table(args.out, settings, args.episodes, command)
        packets = index_packets(args.out / MANIFEST, args.workers, TIMEOUT_S) if args.packets else []
    counts = ", ".join(f"{splits[split]} {split}" for split in ("train", "val", "test"))
    print_escaped(f"{args.out / MANIFEST}: {args.episodes} episodes: {counts}")
    for line in packets:
        print_escaped(line)
    if (args.val and not splits["val"]) or (args.test and not splits["test"]):
        print_escaped("a split is empty: record more episodes, or give a larger --val or --test in another --out")
    return 0


def _settings(args: argparse.Namespace) -> EpisodeSettings:
    if args.val + args.test >= 1:
        raise PrepError(f"--val {args.val:g} --test {args.test:g}: expected fractions from 0 with a sum below 1")
    find_policy(args.policy, args.env)
    environment = make_environment(args.env, args.env_options)
    try:
        check_environment(environment, args.env)
        fps = args.fps or environment.unwrapped.metadata.get("render_fps")
        limit = args.steps or getattr(environment.spec, "max_episode_steps", None)
    finally:
        environment.close()
    if not fps:
        raise PrepError(f"{args.env}: does not say how many steps a second has (render_fps); give --fps")
    if not limit:
        raise PrepError(f"{args.env}: its episodes have no limit; give --steps")
    description = description_of(args.env)
    split_by = tuple(args.split_by.split(",")) if args.split_by else description.split_by
    if unknown := [name for name in split_by if name not in description.state_names]:
        known = ", ".join(description.state_names) or "none: its initial state as a whole decides"
        raise PrepError(f"--split-by {args.split_by}: {unknown[0]} is no name of the state of {args.env}; there are {known}")
    options = tuple(sorted(args.env_options.items()))
    return EpisodeSettings(args.env, options, args.policy, args.seed, float(fps), int(limit), split_by, args.val, args.test)


def _versions(environment_id: str) -> dict[str, str]:
    """Versions of the packages that decide what an episode looks like."""
    of_id = [environment_id.partition(":")[0]] if ":" in environment_id else []
    names = ["gymnasium", "numpy", *of_id, *description_of(environment_id).packages]
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found
