"""Soak test of training: a tiny recipe, killed at random and started again, until its last update.

    python benchmarks/soak.py --out runs/soak [--updates 20000] [--kills 25] [--figure docs/soak.png]

Two runs of one recipe: `whole` is left alone, `killed` is sent SIGKILL after updates that are drawn from --seed, to its main
process or to its whole process group, and started again. Of both, memory (RSS) and open file descriptors are recorded once a
second, for the main process and its data workers. OUT gets soak.json: the samples, the kills, the slopes of memory and of
descriptors over updates with 95 % intervals, and whether the last checkpoints of both runs are equal to the last bit. The exit
code is 1 where they are not, or where processes of a killed run did not end.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import matplotlib
import numpy as np
import psutil

from worldmodel.files.atomic import write_json
from worldmodel.manifest import Clip, write_manifest
from worldmodel.video import probe, write_video

TRAIN = Path(__file__).resolve().parents[1] / "worldmodel" / "train.py"
FPS, FRAMES, SIZE_PX, VIDEOS = 12, 14, 16, 30
SAMPLE_S = 1.0  # from one reading of memory to the next
SETTLED = 0.02  # share of all updates that a process makes before its memory counts: caches fill at first
ORPHANS_S = 60.0  # until when the workers of a killed main process must have ended
CHUNKS = 20  # that are left out one by one for the intervals
SERIES = ("main_mb", "worker_mb", "main_files", "worker_files")


@dataclass(frozen=True)
class Sample:
    """One reading of a run. Memory in MB (RSS), of the workers their mean; life: how often the run had been started."""

    life: int
    update: int
    seconds: float
    main_mb: float
    worker_mb: float
    main_files: int
    worker_files: float
    workers: int


@dataclass(frozen=True)
class Kill:
    update: int  # the last one logged
    group: bool  # the whole process group, not the main process alone
    orphans: int  # processes that had not ended after ORPHANS_S


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a folder that does not exist yet")
    parser.add_argument("--updates", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="of the kills")
    parser.add_argument("--figure", type=Path, help="a picture of memory and descriptors over updates")
    args = parser.parse_args()
    args.out.mkdir(parents=True)
    recipe = write_recipe(args.out, args.updates, args.workers)
    chance = np.random.default_rng(args.seed)
    due = np.sort(chance.integers(args.updates // 20, args.updates * 19 // 20, args.kills)).tolist()
    print(f"{args.updates} updates left alone", flush=True)
    whole, _ = train(recipe, args.out / "whole", [], chance)
    print(f"{args.updates} updates with {args.kills} kills", flush=True)
    killed, kills = train(recipe, args.out / "killed", due, chance)
    summary = {
        "updates": args.updates,
        "kills": len(kills),
        "kills_of_the_group": sum(kill.group for kill in kills),
        "orphans": sum(kill.orphans for kill in kills),
        "equal": digests(args.out / "whole") == digests(args.out / "killed"),
        "updates_per_s": args.updates / whole[-1].seconds,
        "per_1000_updates": {
            name: {series: slope(samples, series, args.updates) for series in SERIES}
            for name, samples in (("whole", whole), ("killed", killed))
        },
    }
    samples = {"whole": [asdict(it) for it in whole], "killed": [asdict(it) for it in killed]}
    write_json(args.out / "soak.json", {**summary, "killed_at": [asdict(kill) for kill in kills], "samples": samples})
    print(json.dumps(summary, indent=1))
    if args.figure is not None:
        draw(args.figure, whole, killed, kills, summary["per_1000_updates"])
    return 0 if summary["equal"] and not summary["orphans"] and len(kills) == args.kills else 1


# --- the recipe ------------------------------------------------------------------------------------------------------
def write_recipe(out: Path, updates: int, workers: int) -> Path:
    """Small videos, their manifest, and the recipe. Rows, health checks and checkpoints are as many whatever `updates` is."""
    clips = []
    for number in range(VIDEOS):
        path = out / "videos" / f"{number:03d}.mp4"
        path.parent.mkdir(exist_ok=True)
        write_video(path, ball(number), FPS)
        info = probe(path)
        split, name = "val" if number % 5 == 4 else "train", f"{number:016d}"
        size, span = (info.width, info.height, info.rotation, info.codec), (0.0, info.duration_s)
        clips.append(Clip(name, str(path), None, *span, info.fps, info.frames, *size, split, None, None, "balls", name))
    write_manifest(out / "videos.parquet", clips, command="benchmarks/soak.py", config={})
    recipe = {
        "data": {"manifest": str((out / "videos.parquet").absolute()), "batch_size": 4, "workers": workers},
        "window": {"frames": 8, "fps": FPS, "size_px": SIZE_PX},
        "model": {
            "kind": "causal",
            "encoder": {"patch_px": 8, "width": 8, "depth": 1, "heads": 2, "latent_dim": 4, "head_width": 8},
            "predictor": {"width": 8, "depth": 1, "heads": 2, "horizons": 4},
            "rollout_steps": 1,
            "rollout_context": 2,
        },
        "optim": {"warmup_steps": min(100, updates // 10)},
        "train": {"max_steps": updates, "log_every": max(1, updates // 1000), "precision": "fp32"},
        "health": {"every": max(1, updates // 200), "windows": 4},
        "checkpoint": {"every": max(1, updates // 200), "keep": 2},
        "decoder": {"max_steps": 0},
    }
    path = out / "soak.yaml"
    write_json(path, recipe)  # JSON is YAML
    return path


def ball(seed: int) -> np.ndarray:
    """A disc that flies straight: uint8 [14, 16, 16, 3]."""
    chance = np.random.default_rng(seed)
    start, speed, colour = chance.uniform(0, SIZE_PX, 2), chance.uniform(-2, 2, 2), chance.integers(90, 256, 3)
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX]
    frames = np.full((FRAMES, SIZE_PX, SIZE_PX, 3), 40, np.uint8)
    for t, frame in enumerate(frames):
        cy, cx = (start + t * speed) % SIZE_PX
        frame[(y - cy) ** 2 + (x - cx) ** 2 < 16] = colour
    return frames


# --- a run -----------------------------------------------------------------------------------------------------------
def train(recipe: Path, run: Path, due: Sequence[int], chance: np.random.Generator) -> tuple[list[Sample], list[Kill]]:
    """Start the run again and again, until it ends by itself. It is killed once it has logged the updates of `due`."""
    samples: list[Sample] = []
    kills: list[Kill] = []
    began, life = time.monotonic(), 0
    while True:
        command = [sys.executable, str(TRAIN), str(recipe), f"run={run}"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        with (run.with_suffix(".log")).open("a") as said:
            process = subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True, env=environment)
        try:
            target = due[len(kills)] if len(kills) < len(due) else None
            watched = watch(process, run, life, began, target, samples.append)
            if watched is None:
                break
            time.sleep(chance.uniform(0, 0.05))  # so that it falls anywhere, also into the writing of a checkpoint
            kills.append(kill(process, watched, group=bool(chance.integers(2))))
            print(f"killed at update {kills[-1].update}", flush=True)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        life += 1
    if process.returncode:
        raise SystemExit(f"training ended with {process.returncode}; see {run.with_suffix('.log')}")
    return samples, kills


def watch(
    process: subprocess.Popen[bytes], run: Path, life: int, began: float, due: int | None, add: Callable[[Sample], None]
) -> int | None:
    """Read memory once a second; the last update once that reaches `due`, None where the process ended by itself."""
    following = 0.0
    while process.poll() is None:
        done = last_update(run)
        if done >= (due if due is not None else sys.maxsize):
            return done
        if time.monotonic() >= following and (sample := read(process.pid, life, done, time.monotonic() - began)):
            add(sample)
            following = time.monotonic() + SAMPLE_S
        time.sleep(0.02)
    return None


def read(pid: int, life: int, update: int, seconds: float) -> Sample | None:
    """None where a process ends while it is looked at, or no worker runs yet."""
    try:
        process = psutil.Process(pid)
        workers = [it for it in process.children() if "resource_tracker" not in " ".join(it.cmdline())]
        if not workers or not update:
            return None
        memory, files = [it.memory_info().rss / 1e6 for it in workers], [it.num_fds() for it in workers]
        mean_mb, mean_files = float(np.mean(memory)), float(np.mean(files))
        main_mb = process.memory_info().rss / 1e6
        return Sample(life, update, seconds, main_mb, mean_mb, process.num_fds(), mean_files, len(workers))
    except psutil.Error:
        return None


def kill(process: subprocess.Popen[bytes], update: int, group: bool) -> Kill:
    """Kill the main process or its group, and wait for those that it started."""
    started = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    if group:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()
    _, left = psutil.wait_procs(started, timeout=ORPHANS_S)
    for orphan in left:
        orphan.kill()
    return Kill(update, group, len(left))


def last_update(run: Path) -> int:
    """The last one that a run has logged."""
    try:
        with (run / "metrics.jsonl").open("rb") as rows:
            rows.seek(max(0, rows.seek(0, os.SEEK_END) - 4096))
            lines = rows.read().split(b"\n")[:-1]
        return int(json.loads(lines[-1])["step"])
    except (OSError, ValueError, IndexError, KeyError):
        return 0


def digests(run: Path) -> dict[str, str]:
    """SHA-256 of the files of the last checkpoint."""
    last = max(run.glob("checkpoints/*/state.json"))
    state = json.loads(last.read_text(encoding="utf-8"))
    return {**state["sha256"], "step": str(state["step"])}


# --- slopes and figure -----------------------------------------------------------------------------------------------
def slope(samples: Sequence[Sample], series: str, updates: int) -> dict[str, float | None]:
    """Change a 1,000 updates within the lives of processes, and the half width of its 95 % interval (jackknife over chunks).

    Samples of the first updates of a life are left out. None where too few are left.
    """
    begins: dict[int, int] = {}
    for it in samples:
        begins.setdefault(it.life, it.update)
    settled = [it for it in samples if it.update >= begins[it.life] + SETTLED * updates]
    chunks = [list(map(int, chunk)) for chunk in np.array_split(np.arange(len(settled)), CHUNKS)]
    without = [[it for place, it in enumerate(settled) if place not in set(chunk)] for chunk in chunks]
    fitted = [_slope(some, series) for some in (settled, *without)]
    if len(settled) < 2 * CHUNKS or any(it is None for it in fitted):
        return {"slope": None, "interval": None, "samples": len(settled)}
    each = np.array(fitted[1:], float)
    error = np.sqrt((CHUNKS - 1) / CHUNKS * ((each - each.mean()) ** 2).sum())
    return {"slope": fitted[0], "interval": float(1.96 * error), "samples": len(settled)}


def _slope(samples: Iterable[Sample], series: str) -> float | None:
    """Least squares with an intercept for each life."""
    lives: dict[int, list[tuple[float, float]]] = {}
    for it in samples:
        lives.setdefault(it.life, []).append((it.update / 1000, getattr(it, series)))
    centred = [np.array(points) - np.mean(points, axis=0) for points in lives.values()]
    if not centred:
        return None
    x, y = np.concatenate(centred).T
    spread = float((x**2).sum())
    return float((x * y).sum() / spread) if spread > 0 else None


def draw(figure: Path, whole: list[Sample], killed: list[Sample], kills: list[Kill], slopes: dict) -> None:
    """Memory above, descriptors below; kills are dotted lines."""
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    drawn, (memory, files) = plt.subplots(2, 1, figsize=(9, 6), sharex=True, layout="constrained")
    for axes, kind, unit in ((memory, "mb", "MB"), (files, "files", "")):
        for who, colour in (("main", "tab:blue"), ("worker", "tab:orange")):
            series = f"{who}_{kind}"
            for name, samples, style in (("undisturbed", whole, "-"), ("killed", killed, ".")):
                measured = slopes["whole" if name == "undisturbed" else "killed"][series]
                text = f"{who}, {name}"
                if measured["slope"] is not None:
                    text += f": {measured['slope']:+.3f} ± {measured['interval']:.3f} {unit} per 1,000 updates"
                values = [getattr(it, series) for it in samples]
                axes.plot([it.update for it in samples], values, style, ms=2, lw=1, color=colour, label=text, alpha=0.8)
        for place, it in enumerate(kills):
            axes.axvline(it.update, color="grey", lw=0.5, ls=":", label="SIGKILL" if place == 0 else None)
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=7, loc="lower right")
    memory.set_ylabel("resident memory (MB)")
    files.set_ylabel("open file descriptors")
    files.set_xlabel("step")
    drawn.savefig(figure, dpi=130)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except FileExistsError as error:
        sys.exit(f"{error.filename} exists already; give another --out")
