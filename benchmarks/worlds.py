"""Speed of the physics worlds: frames per second of CPU time on one core.

    python -m benchmarks.worlds --out worlds.json

Possible videos of 24 frames are sampled, moved and drawn with their ground truth, as for training, but not written to files.
The worlds take turns, round by round, so that other load on the machine changes their ratios little.
"""

from __future__ import annotations

import argparse
from functools import partial

from benchmarks.measure import add_out, describe_machine, markdown_table, paired, write_results
from data_prep.physics.generation import limit_threads
from data_prep.physics.video_format import VideoFormat
from data_prep.physics.worlds import WORLDS
from worldmodel.process.arguments import whole_number

FRAMES, FPS = 24, 12.0
LEVELS = (1, 2)
GOALS = {("flat", 64): "1500 frames/s", ("lookaway", 64): "at most 1.3 of builtin"}


def draw(world: str, size_px: int, videos: int) -> None:
    """Sample and draw the first training videos of a world."""
    for index in range(videos):
        WORLDS[world].sample_possible_video(VideoFormat(size_px, FRAMES, FPS), 0, "speed", index, levels=LEVELS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=whole_number(1), default=24, help="videos per round and world (default 24)")
    parser.add_argument("--rounds", type=whole_number(1), default=7, help="default 7")
    parser.add_argument("--size-px", type=whole_number(32, 512), nargs="+", default=[64, 128], metavar="PX")
    add_out(parser)
    args = parser.parse_args()
    limit_threads()
    machine = describe_machine(("mujoco", "numpy"))
    rows: list[list[object]] = []
    results: dict[str, object] = {}
    for size_px in args.size_px:
        contenders = {world: partial(draw, world, size_px, args.videos) for world in WORLDS}
        compared = paired(contenders, rounds=args.rounds)
        results[f"{size_px} px"] = compared.as_json("builtin")
        for world in WORLDS:
            frames_per_s = args.videos * FRAMES / compared.cpu_s(world)
            ratio, goal = compared.ratio(world, "builtin"), GOALS.get((world, size_px), "")
            rows.append([world, size_px, f"{frames_per_s:.0f}", ratio, goal])
    print(machine.line())
    print(markdown_table(["world", "px", "frames/s on one core", "CPU time per frame / builtin", "goal"], rows))
    write_results(args.out, machine, {"videos": args.videos, "frames": FRAMES, "sizes": results})


if __name__ == "__main__":
    main()
