"""Time and memory of a large manifest, in fresh processes: `python -m benchmarks.manifest_scale [--rows 1000000]`.

Prints the memory of the imports of training, the time and memory of opening the manifest, the time of 256 samples, and the
memory of a process that only reads clips (a data worker), also with the indexes of shards. The manifest names files; then
members of shards with tables of signals; with --url, the second one is also opened there, without and with a cached copy.
Times are CPU time, which other programs hardly change.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from worldmodel.manifest import Clip, write_manifest
from worldmodel.storage.members import member_name
from worldmodel.storage.shard_index import Member, write_index
from worldmodel.storage.transfer import upload

MAIN = """
import resource, statistics, sys, time
import numpy as np, psutil
from worldmodel.data.loader import DataConfig, open_windows
from worldmodel.data.window_config import WindowConfig

def mib():
    return psutil.Process().memory_info().rss / 2**20

def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

print(f"imports of the data loader: {mib():.0f} MiB")
before, cpu, wall = mib(), time.process_time(), time.perf_counter()
train, val = open_windows(DataConfig(manifest=sys.argv[1]), WindowConfig(), 0, False)
cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
print(f"opened for training: {len(train):,} + {len(val):,} windows in {cpu:.2f} s of CPU time ({wall:.2f} s of wall time)")
print(f"memory: {mib():.0f} MiB, {mib() - before:.0f} of them for the manifest, at most {peak_mib():.0f}")
times = []
for batch in range(40):
    start = time.process_time()
    train.samples(np.arange(256) + 256 * batch)
    times.append(1e3 * (time.process_time() - start))
print(f"256 samples: {statistics.median(times):.1f} ms of CPU, at best {min(times):.1f}")
"""

IMPORTS = """
import importlib, sys, psutil
importlib.import_module(sys.argv[1])
print(f"import {sys.argv[1]}: {psutil.Process().memory_info().rss / 2**20:.0f} MiB")
"""

WORKER = """
import sys, psutil
import worldmodel.data.worker
from pathlib import Path
from worldmodel.storage.shard_index import read_index
indexes = [read_index(Path(sys.argv[1])) for _ in range(int(sys.argv[2]))]
print(f"a worker with the indexes of {len(indexes)} shards of {len(indexes[0]):,} members: ", end="")
print(f"{psutil.Process().memory_info().rss / 2**20:.0f} MiB")
"""

IMPORTED = ("numpy", "torch", "pyarrow.parquet", "worldmodel.manifest", "worldmodel.data.worker", "worldmodel.train")


SHARD_CLIPS = 640  # of 400 kB, in a shard of 256 MB
HELD_INDEXES = 64  # that a worker keeps in memory
SMALL_MEMBERS = 20_000  # videos of 12 kB and tables, in a shard of 256 MB


def clips(rows: int, in_shards: bool) -> Iterator[Clip]:
    """Clips of a large action recognition data set: several hundred folders, random names, one clip in twenty held out."""
    rng = random.Random(0)
    for number in range(rows):
        content = hashlib.sha256(str(number).encode()).hexdigest()
        label, stop_s, fps = number * 31 % 700, round(rng.uniform(2, 20), 3), rng.choice((24.0, 25.0, 29.97, 30.0))
        path, member, signals = f"kinetics/train/class_{label:03d}/{content[20:31]}_{number % 1000:06d}.mp4", None, None
        if in_shards:
            path, member = f"shard-{number // SHARD_CLIPS:06d}.tar", f"{content[:32]}.mp4"
            signals = member_name(path, f"{content[32:]}.parquet")
        yield Clip(
            content[:16], path, member, 0.0, stop_s, fps, int(stop_s * fps), 340, 256, 0, "h264",
            "val" if rng.random() < 0.05 else "train", f"class {label}", None, "kinetics", content, "packets", signals,
        )  # fmt: skip


def write_small_members(path: Path) -> None:
    """The index of a shard of many small members."""
    names = (hashlib.sha256(str(number).encode()).hexdigest()[:32] + ".mp4" for number in range(SMALL_MEMBERS))
    members = [Member(name, 12_288 * number, 12_000, (bytes(32),)) for number, name in enumerate(names)]
    write_index(path, members, 12_288 * SMALL_MEMBERS, {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--url", help="folder in object storage, such as s3://bucket/folder, to which the manifest is written")
    args = parser.parse_args()
    for name in IMPORTED:
        subprocess.run([sys.executable, "-c", IMPORTS, name], check=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("files", "shards"):
            path = Path(folder) / f"{name}.parquet"
            write_manifest(path, clips(args.rows, name == "shards"), command="benchmark", config={})
            print(f"{args.rows:,} clips in {name}: {path.stat().st_size / 2**20:.0f} MiB", flush=True)
            subprocess.run([sys.executable, "-c", MAIN, str(path)], check=True)
        if args.url:
            url = f"{args.url}/manifest.parquet"
            upload(path, url)
            for name in ("not in the cache", "in the cache"):
                print(f"at {url}, {name}:", flush=True)
                environment = {**os.environ, "WORLDMODEL_CACHE_DIR": f"{folder}/cache"}
                subprocess.run([sys.executable, "-c", MAIN, url], check=True, env=environment)
        write_small_members(Path(folder) / "index")
        subprocess.run([sys.executable, "-c", WORKER, f"{folder}/index", str(HELD_INDEXES)], check=True)


if __name__ == "__main__":
    main()
