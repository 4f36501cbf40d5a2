"""Soak test of training: a tiny recipe is killed at random times and restarted until its last training step.

    python -m benchmarks.soak --out runs/soak [--steps 20000] [--kills 25] [--figure docs/soak.png]

Two runs use one recipe. `whole` is not disturbed. `killed` is sent SIGKILL after random training steps (--seed), to its main
process or to its whole process group, and is started again. Memory (RSS) and open file descriptors of the main process and
its data workers are recorded once a second. OUT gets soak.json: the samples, the kills, the slopes of memory and descriptors
over training steps with 95 % intervals, and whether the last checkpoints of both runs are equal to the last bit. The exit
code is 1 if they are not, or if processes of a killed run did not end.
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
from worldmodel.video import inspect_video, write_video

TRAIN = Path(__file__).resolve().parents[1] / "worldmodel" / "train.py"
FPS, FRAMES, SIZE_PX, VIDEOS = 12, 14, 16, 30
SAMPLE_S = 1.0  # between two samples of memory
WARM_UP_FRACTION = 0.02  # of all steps; samples of a process before that are ignored, since caches fill at first
ORPHANS_S = 60.0  # within which the workers of a killed main process must end
CHUNKS = 20  # of the samples, left out one by one for the intervals (jackknife)
SERIES = ("main_mb", "worker_mb", "main_files", "worker_files")


@dataclass(frozen=True)
class Sample:
    """One sample of a run. Memory is RSS in MB; workers are averaged; restarts: how often the run was restarted before."""

    restarts: int
    step: int
    seconds: float
    main_mb: float
    worker_mb: float
    main_files: int
    worker_files: float
    workers: int


@dataclass(frozen=True)
class Kill:
    step: int  # the last logged one
    group: bool  # the whole process group was killed, not only the main process
    orphans: int  # processes that had not ended after ORPHANS_S


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a folder that does not exist yet")
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="of the kills")
    parser.add_argument("--figure", type=Path, help="figure of memory and descriptors over training steps")
    args = parser.parse_args()
    args.out.mkdir(parents=True)
    recipe = write_recipe(args.out, args.steps, args.workers)
    rng = np.random.default_rng(args.seed)
    due = np.sort(rng.integers(args.steps // 20, args.steps * 19 // 20, args.kills)).tolist()
    print(f"{args.steps} steps without kills", flush=True)
    whole, _ = train(recipe, args.out / "whole", [], rng)
    print(f"{args.steps} steps with {args.kills} kills", flush=True)
    killed, kills = train(recipe, args.out / "killed", due, rng)
    summary = {
        "steps": args.steps,
        "kills": len(kills),
        "kills_of_the_group": sum(kill.group for kill in kills),
        "orphans": sum(kill.orphans for kill in kills),
        "equal": digests(args.out / "whole") == digests(args.out / "killed"),
        "steps_per_s": args.steps / whole[-1].seconds,
        "per_1000_steps": {
            name: {series: slope(samples, series, args.steps) for series in SERIES}
            for name, samples in (("whole", whole), ("killed", killed))
        },
    }
    samples = {"whole": [asdict(it) for it in whole], "killed": [asdict(it) for it in killed]}
    write_json(args.out / "soak.json", {**summary, "killed_at": [asdict(kill) for kill in kills], "samples": samples})
    print(json.dumps(summary, indent=1))
    if args.figure is not None:
        draw_figure(args.figure, whole, killed, kills, summary["per_1000_steps"])
    return 0 if summary["equal"] and not summary["orphans"] and len(kills) == args.kills else 1


# --- the recipe ------------------------------------------------------------------------------------------------------
def write_recipe(out: Path, steps: int, workers: int) -> Path:
    """Write small videos, their manifest and the recipe. The number of log rows and checkpoints does not depend on `steps`."""
    clips = []
    for number in range(VIDEOS):
        path = out / "videos" / f"{number:03d}.mp4"
        path.parent.mkdir(exist_ok=True)
        write_video(path, ball(number), FPS)
        info = inspect_video(path)
        split, name = "val" if number % 5 == 4 else "train", f"{number:016d}"
        clips.append(
            Clip(
                name, str(path), None, 0.0, info.duration_s, info.fps, info.frames, info.width, info.height, info.rotation,
                info.codec, split, None, None, "balls", name,
            )
        )  # fmt: skip
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
        "optim": {"warmup_steps": min(100, steps // 10)},
        "train": {"max_steps": steps, "log_every": max(1, steps // 1000), "precision": "fp32"},
        "health": {"every": max(1, steps // 200), "windows": 4},
        "checkpoint": {"every": max(1, steps // 200), "keep": 2},
        "decoder": {"max_steps": 0},
    }
    path = out / "soak.yaml"
    write_json(path, recipe)  # JSON is YAML
    return path


def ball(seed: int) -> np.ndarray:
    """A disc on a straight path: uint8 [14, 16, 16, 3]."""
    rng = np.random.default_rng(seed)
    start, speed, colour = rng.uniform(0, SIZE_PX, 2), rng.uniform(-2, 2, 2), rng.integers(90, 256, 3)
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX]
    frames = np.full((FRAMES, SIZE_PX, SIZE_PX, 3), 40, np.uint8)
    for t, frame in enumerate(frames):
        cy, cx = (start + t * speed) % SIZE_PX
        frame[(y - cy) ** 2 + (x - cx) ** 2 < 16] = colour
    return frames


# --- a run -----------------------------------------------------------------------------------------------------------
def train(recipe: Path, run: Path, due: Sequence[int], rng: np.random.Generator) -> tuple[list[Sample], list[Kill]]:
    """Start the run and restart it until it ends by itself. It is killed after it has logged each of the steps `due`."""
    samples: list[Sample] = []
    kills: list[Kill] = []
    start, restarts = time.monotonic(), 0
    while True:
        command = [sys.executable, str(TRAIN), str(recipe), f"run={run}"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        with (run.with_suffix(".log")).open("a") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env=environment)
        try:
            target = due[len(kills)] if len(kills) < len(due) else None
            reached = sample_until(process, run, restarts, start, target, samples.append)
            if reached is None:
                break
            time.sleep(rng.uniform(0, 0.05))  # so that the kill may happen at any time, also while a checkpoint is written
            kills.append(kill(process, reached, group=bool(rng.integers(2))))
            print(f"killed at step {kills[-1].step}", flush=True)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        restarts += 1
    if process.returncode:
        raise SystemExit(f"training ended with {process.returncode}; see {run.with_suffix('.log')}")
    return samples, kills


def sample_until(
    process: subprocess.Popen[bytes], run: Path, restarts: int, start: float, due: int | None, add: Callable[[Sample], None]
) -> int | None:
    """Sample memory once a second. Return the last step once it reaches `due`, or None if the process ended by itself."""
    next_sample = 0.0
    while process.poll() is None:
        done = last_step(run)
        if done >= (due if due is not None else sys.maxsize):
            return done
        if time.monotonic() >= next_sample and (sample := sample_run(process.pid, restarts, done, time.monotonic() - start)):
            add(sample)
            next_sample = time.monotonic() + SAMPLE_S
        time.sleep(0.02)
    return None


def sample_run(pid: int, restarts: int, step: int, seconds: float) -> Sample | None:
    """Sample a run; None if a process ends meanwhile, or if no worker runs yet."""
    try:
        process = psutil.Process(pid)
        workers = [it for it in process.children() if "resource_tracker" not in " ".join(it.cmdline())]
        if not workers or not step:
            return None
        memory, files = [it.memory_info().rss / 1e6 for it in workers], [it.num_fds() for it in workers]
        mean_mb, mean_files = float(np.mean(memory)), float(np.mean(files))
        main_mb = process.memory_info().rss / 1e6
        return Sample(restarts, step, seconds, main_mb, mean_mb, process.num_fds(), mean_files, len(workers))
    except psutil.Error:
        return None


def kill(process: subprocess.Popen[bytes], step: int, group: bool) -> Kill:
    """Kill the main process or its group, and wait for the processes that it started."""
    started = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    if group:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()
    _, left = psutil.wait_procs(started, timeout=ORPHANS_S)
    for orphan in left:
        orphan.kill()
    return Kill(step, group, len(left))


def last_step(run: Path) -> int:
    """The last training step that a run has logged."""
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
def slope(samples: Sequence[Sample], series: str, steps: int) -> dict[str, float | None]:
    """Change per 1,000 steps within processes, and the half width of its 95 % interval (jackknife over chunks).

    Samples of the first steps of each process are left out. None if too few are left.
    """
    starts: dict[int, int] = {}
    for it in samples:
        starts.setdefault(it.restarts, it.step)
    settled = [it for it in samples if it.step >= starts[it.restarts] + WARM_UP_FRACTION * steps]
    chunks = [list(map(int, chunk)) for chunk in np.array_split(np.arange(len(settled)), CHUNKS)]
    without = [[it for index, it in enumerate(settled) if index not in set(chunk)] for chunk in chunks]
    fitted = [_fit_slope(subset, series) for subset in (settled, *without)]
    if len(settled) < 2 * CHUNKS or any(it is None for it in fitted):
        return {"slope": None, "interval": None, "samples": len(settled)}
    each = np.array(fitted[1:], float)
    error = np.sqrt((CHUNKS - 1) / CHUNKS * ((each - each.mean()) ** 2).sum())
    return {"slope": fitted[0], "interval": float(1.96 * error), "samples": len(settled)}


def _fit_slope(samples: Iterable[Sample], series: str) -> float | None:
    """Least-squares slope with an intercept for each process."""
    processes: dict[int, list[tuple[float, float]]] = {}
    for it in samples:
        processes.setdefault(it.restarts, []).append((it.step / 1000, getattr(it, series)))
    centred = [np.array(points) - np.mean(points, axis=0) for points in processes.values()]
    if not centred:
        return None
    x, y = np.concatenate(centred).T
    spread = float((x**2).sum())
    return float((x * y).sum() / spread) if spread > 0 else None


def draw_figure(figure: Path, whole: list[Sample], killed: list[Sample], kills: list[Kill], slopes: dict) -> None:
    """Plot memory (above) and descriptors (below); kills are dotted lines."""
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    drawn, (memory, files) = plt.subplots(2, 1, figsize=(9, 6), sharex=True, layout="constrained")
    for axes, kind, unit in ((memory, "mb", "MB"), (files, "files", "")):
        for process, colour in (("main", "tab:blue"), ("worker", "tab:orange")):
            series = f"{process}_{kind}"
            for name, samples, style in (("undisturbed", whole, "-"), ("killed", killed, ".")):
                measured = slopes["whole" if name == "undisturbed" else "killed"][series]
                text = f"{process}, {name}"
                if measured["slope"] is not None:
                    text += f": {measured['slope']:+.3f} ± {measured['interval']:.3f} {unit} per 1,000 steps"
                values = [getattr(it, series) for it in samples]
                axes.plot([it.step for it in samples], values, style, ms=2, lw=1, color=colour, label=text, alpha=0.8)
        for number, it in enumerate(kills):
            axes.axvline(it.step, color="grey", lw=0.5, ls=":", label="SIGKILL" if number == 0 else None)
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
