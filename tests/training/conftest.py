"""A small set of videos, a small recipe, and training runs."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import forked
import launch
import numpy as np
import pytest
import yaml

from worldmodel.manifest import Clip, write_manifest
from worldmodel.video import inspect_video, write_video

TRAIN = Path(__file__).resolve().parents[2] / "worldmodel" / "train.py"
FPS, FRAMES, SIZE_PX = 12, 14, 32


def ball(seed: int) -> np.ndarray:
    """A disc that moves in a straight line and enters again on the other side: uint8 [14, 32, 32, 3]."""
    rng = np.random.default_rng(seed)
    start, speed, colour = rng.uniform(0, SIZE_PX, 2), rng.uniform(-2, 2, 2), rng.integers(90, 256, 3)
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX]
    frames = np.full((FRAMES, SIZE_PX, SIZE_PX, 3), 40, np.uint8)
    for t, frame in enumerate(frames):
        cy, cx = (start + t * speed) % SIZE_PX
        frame[(y - cy) ** 2 + (x - cx) ** 2 < 36] = colour
    return frames


def write_videos(folder: Path, count: int) -> Path:
    """Write `count` videos, a fifth of them held out, and their manifest. Returns its path."""
    clips = []
    for number in range(count):
        path = folder / f"{number:03d}.mp4"
        write_video(path, ball(number), FPS)
        info = inspect_video(path)
        split = "val" if number % 5 == 4 else "train"
        size = (info.width, info.height, info.rotation, info.codec)
        name, span = f"{number:016d}", (0.0, info.duration_s)
        clips.append(Clip(name, str(path), None, *span, info.fps, info.frames, *size, split, None, None, "balls", name))
    write_manifest(folder / "videos.parquet", clips, command="test", config={})
    return folder / "videos.parquet"


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_videos(tmp_path_factory.mktemp("videos"), 30)


RECIPE = {
    "data": {"batch_size": 8, "workers": 0},
    "window": {"frames": 12, "fps": FPS, "size_px": SIZE_PX},
    "augment": {"brightness": 0.1},
    "model": {
        "kind": "causal",
        "encoder": {"patch_px": 8, "width": 16, "depth": 1, "heads": 2, "latent_dim": 8, "head_width": 32},
        "predictor": {"width": 16, "depth": 1, "heads": 2, "horizons": 4},
        "rollout_steps": 2,
    },
    "optim": {"warmup_steps": 2},
    "train": {"max_steps": 20, "log_every": 1},
    "health": {"every": 5, "windows": 6},
    "checkpoint": {"every": 5, "keep": 10},
    "decoder": {"max_steps": 0, "windows": 8, "batch_size": 8, "net": {"size_px": 16, "width": 4}},
}


@dataclass(frozen=True)
class Trainer:
    """Runs of one recipe file; overrides are dotted."""

    recipe: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def command(self, run: Path, *overrides: str, ranks: int = 1, flags: tuple[str, ...] = ()) -> list[str]:
        launcher = [sys.executable]
        if ranks > 1:
            launcher += ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks)]
        return [*launcher, str(TRAIN), str(self.recipe), f"run={run}", *overrides, *flags]

    def start(self, run: Path, *overrides: str, **options: object) -> subprocess.Popen[str]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        # always on the CPU: two ranks do not fit on every machine's GPUs
        one_thread = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        process = subprocess.Popen(self.command(run, *overrides, **options), **pipes, start_new_session=True, env=one_thread)
        self.started.append(process)
        return process

    def kill_all(self) -> None:
        """Processes that a failed test left. torchrun starts each rank in a separate session."""
        launch.kill_marked(os.environ[launch.MARK])
        for process in self.started:
            process.communicate()

    def __call__(self, run: Path, *overrides: str, **options: object) -> subprocess.CompletedProcess[str]:
        if set(options) <= {"flags"}:  # one rank that is not killed
            return forked.run("worldmodel.train", self.command(run, *overrides, **options)[2:])
        process = self.start(run, *overrides, **options)
        out, err = process.communicate(timeout=240)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def killed(self, run: Path, *overrides: str, after: int, **options: object) -> None:
        """Start, and kill -9 the whole group as soon as this number of steps is logged."""
        process = self.start(run, *overrides, **options)
        deadline = time.monotonic() + 120
        while len(rows(run)) < after and process.poll() is None:
            assert time.monotonic() < deadline, "no progress"
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert process.returncode, "it had ended before it could be killed"


def trainer_in(folder: Path, videos: Path) -> Trainer:
    recipe = folder / "small.yaml"
    recipe.write_text(yaml.safe_dump({**RECIPE, "data": {**RECIPE["data"], "manifest": str(videos)}}))
    return Trainer(recipe)


@pytest.fixture
def trainer(videos: Path, tmp_path: Path) -> Iterator[Trainer]:
    found = trainer_in(tmp_path, videos)
    yield found
    found.kill_all()


@pytest.fixture(scope="session")
def many_videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough videos that what is learnt generalises."""
    return write_videos(tmp_path_factory.mktemp("many_videos"), 300)


@pytest.fixture(scope="session")
def train_once(videos: Path) -> Callable[..., Path]:
    """A finished run, for tests that do not change it."""

    def train(folder: Path, *overrides: str) -> Path:
        done = trainer_in(folder, videos)(folder / "run", *overrides)
        assert done.returncode == 0, done.stderr
        return folder / "run"

    return train


def rows(run: Path, name: str = "metrics") -> list[dict]:
    path = run / f"{name}.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


@pytest.fixture
def read_rows() -> Callable[..., list[dict]]:
    return rows
