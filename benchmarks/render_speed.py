"""Speed of the physics renderer: frames per second of CPU time on one core, and the gain of several processes.

    python -m benchmarks.render_speed [--videos 24] [--workers 2]

Scenes are those of training videos (level 1). CPU time is used because other load on the machine hardly changes it. It
includes simulation, shadows, four samples per pixel and the ground truth, but not the writing of files.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from data_prep.parallel.workers import LocalWorkers
from data_prep.physics.generation import GenerationConfig, Shard, claim_output, generator_versions, limit_threads
from data_prep.physics.video_format import VideoFormat
from data_prep.physics.worlds.builtin.possible import SCENARIOS, sample_possible_scene
from data_prep.physics.worlds.builtin.rendering.video import render_video
from worldmodel.process.arguments import whole_number

GOALS = {64: 350, 96: 200, 128: 120}  # frames per second by size in px
FRAMES, FPS = 24, 12.0


def frames_per_s(size_px: int, videos: int) -> float:
    """Frames per second of CPU time over some videos."""
    video_format = VideoFormat(size_px, FRAMES, FPS)
    scenes = [sample_possible_scene(video_format, 0, "speed", index, levels=(1,))[1] for index in range(videos)]
    render_video(scenes[0], video_format)  # excludes the time of imports
    start = time.process_time()
    for scene in scenes:
        render_video(scene, video_format)
    return videos * FRAMES / (time.process_time() - start)


def wall_s(workers: int, videos: int) -> float:
    """Seconds to write some videos to disk with some processes."""
    fields: dict[str, Any] = {"kind": "train", "videos": videos, "seed": 0, "size_px": 64, "frames": FRAMES, "fps": FPS}
    config = GenerationConfig(**fields, **generator_versions("builtin"))
    with tempfile.TemporaryDirectory() as folder:
        claim_output(Path(folder), config)
        start = time.monotonic()
        Shard(Path(folder), config, 0, 1).run(LocalWorkers(workers))
        return time.monotonic() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=whole_number(1), default=24, help="videos per row")
    parser.add_argument("--workers", type=whole_number(0), default=0, help="also compare 1 with N processes (idle machine)")
    args = parser.parse_args()
    limit_threads()
    comment = f"<!-- {len(SCENARIOS)} scenarios, {args.videos} videos per row -->"
    print(f"| px | frames/s on one core | goal |\n|---|---|---|  {comment}")
    for size_px, goal in GOALS.items():
        print(f"| {size_px} | {frames_per_s(size_px, args.videos):.0f} | {goal} |", flush=True)
    if args.workers > 1:
        videos = 8 * args.videos
        one, many = wall_s(1, videos), wall_s(args.workers, videos)
        print(
            f"{videos} videos: {one:.1f} s with one process, {many:.1f} s with {args.workers} ({one / many:.2f} times faster)"
        )


if __name__ == "__main__":
    main()
