"""Tasks of `data_prep` on Ray beside the local pool: CPU time per task, for videos of `synthesize` and for empty tasks.

    python -m benchmarks.ray_pool [--workers 2] [--videos 60] [--rounds 7] [--out FILE.json]

Both run the same tasks in as many processes, in turn. Ray is started once, before the rounds, and the time of that is
printed apart; the processes of Ray itself count with their CPU time. The ratio of CPU times per task is the inverse of the
ratio of throughputs per core where all cores are busy.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks.measure import add_out, cpu_time_s, describe_machine, markdown_table, paired, write_results
from data_prep.parallel.cluster import open_cluster
from data_prep.parallel.workers import LocalWorkers, Workers
from data_prep.physics.generation import limit_threads
from data_prep.physics.job_plan import train_jobs
from data_prep.physics.jobs import run_job
from data_prep.physics.video_format import VideoFormat
from worldmodel.process.arguments import whole_number

EMPTY_TASKS = 1000
VIDEO = VideoFormat(64, 24, 12.0)


def synthesize(workers: Workers, videos: int, folder: Path, numbers: itertools.count[int]) -> None:
    """Generate videos for training into a new folder."""
    out = folder / str(next(numbers))
    out.mkdir()
    for _ in workers.run_each(partial(run_job, folder=str(out), video=VIDEO), train_jobs(videos, 0, "builtin", 0.0), 600.0):
        pass


def count(workers: Workers) -> None:
    """Run tasks that do nothing."""
    for _ in workers.run_each(abs, range(EMPTY_TASKS), 600.0):
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=whole_number(1), default=2, help="processes (default 2)")
    parser.add_argument("--videos", type=whole_number(1), default=60, help="videos per run (default 60)")
    parser.add_argument("--rounds", type=whole_number(1), default=7, help="runs of each pool (default 7)")
    add_out(parser)
    args = parser.parse_args()
    limit_threads()
    # As for `python -m data_prep`, local child processes do not import the main module.
    main_module = sys.modules["__main__"]
    main_module.__spec__ = None
    vars(main_module).pop("__file__", None)
    machine = describe_machine(("ray", "av", "numpy", "mujoco"))
    local, numbers = LocalWorkers(args.workers), itertools.count()
    with tempfile.TemporaryDirectory() as folder:
        start_s, start_cpu_s = time.monotonic(), cpu_time_s()
        with open_cluster(None, args.workers, [], folder) as on_ray:
            count(on_ray)
            start_s, start_cpu_s = time.monotonic() - start_s, cpu_time_s() - start_cpu_s
            pools: dict[str, Workers] = {"local": local, "ray": on_ray}
            make = partial(synthesize, videos=args.videos, folder=Path(folder), numbers=numbers)
            videos = paired({name: partial(make, pool) for name, pool in pools.items()}, args.rounds)
            empty = paired({name: partial(count, pool) for name, pool in pools.items()}, args.rounds)
    rows = []
    for name, result, tasks in (("a video", videos, args.videos), ("an empty task", empty, EMPTY_TASKS)):
        times = [f"{1e3 * result.cpu_s(who) / tasks:.1f}" for who in pools]
        rows.append([name, *times, result.ratio("ray", "local"), result.wall_ratio("ray", "local")])
    headers = ["task", "local, ms of CPU", "ray, ms of CPU", "ray / local, CPU", "ray / local, wall"]
    print(f"{machine.line()}\n\n{markdown_table(headers, rows)}")
    print(f"\nRay and its workers were ready after {start_s:.1f} s and {start_cpu_s:.1f} s of CPU time.")
    results = {"videos": videos.as_json("local"), "empty": empty.as_json("local"), "start_s": start_s}
    write_results(args.out, machine, {"workers": args.workers, "videos_per_run": args.videos, **results})


if __name__ == "__main__":
    main()
