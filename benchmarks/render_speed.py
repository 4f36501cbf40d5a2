"""How fast the physics world is filmed: frames a second of CPU time on one core, and what two workers gain.

    python benchmarks/render_speed.py [--films 24] [--workers 2]

Scenes are those of the films to learn from (level 1). Time is CPU time, so other load on the machine matters little;
it counts simulation, casting, soft shadows, four samples a pixel, and the truth, and not the writing of files.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from data_prep.physics.generation import Production, Shard, claim, single_threaded, versions
from data_prep.physics.possible import ACTS, draw_lawful
from data_prep.physics.rendering.clip import shoot
from data_prep.physics.scenes import Format
from worldmodel.process.arguments import count

GOALS = {64: 350, 96: 200, 128: 120}


def frames_per_s(size_px: int, films: int) -> float:
    """Frames a second of CPU time over so many films of 24 frames."""
    film = Format(size_px, 24, 12.0)
    scenes = [draw_lawful(film, 0, "speed", index, levels=(1,))[1] for index in range(films)]
    shoot(scenes[0], film)  # the first film pays for imports
    began = time.process_time()
    for scene in scenes:
        shoot(scene, film)
    return films * film.frames / (time.process_time() - began)


def wall_s(workers: int, films: int) -> float:
    """Seconds that so many films take, written to disk, with so many processes."""
    production = Production(kind="train", films=films, seed=0, size_px=64, frames=24, fps=12.0, **versions())
    with tempfile.TemporaryDirectory() as folder:
        claim(Path(folder), production)
        began = time.monotonic()
        Shard(Path(folder), production, 0, 1).run(workers)
        return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=count(1), default=24)
    parser.add_argument("--workers", type=count(0), default=0, help="also measure the gain of so many processes (idle machine)")
    args = parser.parse_args()
    single_threaded()
    print(f"| px | frames/s on one core | goal |\n|---|---|---|  <!-- {len(ACTS)} acts, {args.films} films a row -->")
    for size_px, goal in GOALS.items():
        print(f"| {size_px} | {frames_per_s(size_px, args.films):.0f} | {goal} |", flush=True)
    if args.workers > 1:
        one, many = wall_s(1, 8 * args.films), wall_s(args.workers, 8 * args.films)
        print(f"{8 * args.films} films: {one:.1f} s by one process, {many:.1f} s by {args.workers} ({one / many:.2f} times)")


if __name__ == "__main__":
    main()
