"""Draw simple lawful films: coloured balls that bounce under gravity and pass behind a screen. Made to learn from
within minutes; film k is a function of the seed and k alone."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from data_prep.errors import PrepError
from data_prep.examine import content_hash
from data_prep.pool import Failed, run_each
from data_prep.progress import bar
from worldmodel.manifest import Clip, clip_id, write_manifest
from worldmodel.video import write_video

HELP = "draw simple lawful films to train on"
GRAVITY_M_S2 = 2.0  # the picture is 1 m wide
BOUNCE = 0.9  # share of the speed that is left after the floor or a wall
STEPS_PER_FRAME = 16
VAL_EVERY = 10  # every tenth film is held out


@dataclass(frozen=True)
class Look:
    """What all films have in common."""

    size_px: int
    frames: int
    fps: float
    seed: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the films and train.parquet")
    parser.add_argument("--train", type=int, default=300, metavar="N", help="films, a tenth of them val (default 300)")
    parser.add_argument("--size-px", type=int, default=64)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--fps", type=float, default=12.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)


def run(args: argparse.Namespace) -> int:
    """Films that are there already are kept, so a run that was killed goes on where it was."""
    if min(args.train, args.workers) < 1 or args.size_px < 16 or args.frames < 2 or args.fps <= 0 or args.seed < 0:
        raise PrepError("--train and --workers from 1, --size-px from 16, --frames from 2, --fps above 0, --seed from 0")
    look = Look(args.size_px, args.frames, args.fps, args.seed)
    folder = Path(os.path.abspath(args.out)) / f"films_{look.size_px}px_{look.frames}f_{look.fps:g}fps_seed{look.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder.parent / "train.parquet"
    config = asdict(look) | {"films": args.train}
    command = "python -m data_prep synthesize"
    count = write_manifest(manifest, _clips(folder, args.train, look, args.workers), command=command, config=config)
    print(f"{manifest}: {count} films, {count // VAL_EVERY} of them val")
    return 0


def _clips(folder: Path, count: int, look: Look, workers: int) -> Iterator[Clip]:
    with bar("synthesize", count) as progress:
        for number, digest in run_each(partial(_make, folder=folder, look=look), range(count), workers, timeout_s=600):
            if isinstance(digest, Failed):
                raise PrepError(f"film {number}: {digest.detail}")
            progress.step()
            yield Clip(
                clip_id=clip_id(digest, 0.0, look.frames / look.fps),
                path=str(_path(folder, number)),
                member=None,
                start_s=0.0,
                stop_s=look.frames / look.fps,
                fps=look.fps,
                frames=look.frames,
                width=look.size_px,
                height=look.size_px,
                rotation=0,
                codec="h264",
                split="val" if number % VAL_EVERY == VAL_EVERY - 1 else "train",
                label=None,
                truth=None,
                source="drawn",
                content_hash=digest,
            )


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.mp4"


def _make(number: int, folder: Path, look: Look) -> str:
    """Runs in a worker: the film's content hash."""
    path = _path(folder, number)
    if not path.exists():
        write_video(path, draw(np.random.default_rng([look.seed, number]), look), look.fps, lossless=True)
    return content_hash(str(path), None)


def draw(random: np.random.Generator, look: Look) -> np.ndarray:
    """One film, uint8 [T, H, W, 3]."""
    balls = int(random.integers(1, 4))
    radius_m, colour = random.uniform(0.06, 0.14, balls), random.uniform(0.2, 1.0, (balls, 3))
    path_m = fly(random.uniform(0.2, 0.8, (balls, 2)), random.uniform(-0.8, 0.8, (balls, 2)), radius_m, look)
    y, x = (np.mgrid[: look.size_px, : look.size_px] + 0.5) / look.size_px  # metres, y downward
    sky, ground = random.uniform(0.0, 0.5, (2, 3))
    background = sky + (ground - sky) * y[..., None]
    left_m, width_m, top_m = random.uniform(0.2, 0.6), random.uniform(0.15, 0.3), random.uniform(0.2, 0.6)
    screen = _edge(x - left_m, look) * _edge(left_m + width_m - x, look) * _edge(y - top_m, look)
    screen_colour = random.uniform(0.2, 0.9, 3)
    film = np.empty((look.frames, look.size_px, look.size_px, 3), np.uint8)
    for frame, places_m in zip(film, path_m, strict=True):
        image = background
        for (ball_x, ball_y), radius, paint in zip(places_m, radius_m, colour, strict=True):
            disc = _edge(radius - np.hypot(x - ball_x, y - ball_y), look)
            image = image + disc[..., None] * (paint - image)
        image = image + screen[..., None] * (screen_colour - image)
        frame[:] = np.round(255 * image)
    return film


def fly(place_m: np.ndarray, velocity_m_s: np.ndarray, radius_m: np.ndarray, look: Look) -> np.ndarray:
    """Free flight with bounces off the four sides; places and velocities [balls, 2] -> places [T, balls, 2]."""
    step_s, path_m = 1 / look.fps / STEPS_PER_FRAME, np.empty((look.frames, *place_m.shape))
    pull_m_s = np.array([0.0, GRAVITY_M_S2 * step_s])  # speed gained in a step
    low, high = radius_m[:, None], 1 - radius_m[:, None]
    for moment in path_m:
        moment[:] = place_m
        for _ in range(STEPS_PER_FRAME):
            place_m = place_m + (velocity_m_s + pull_m_s / 2) * step_s
            velocity_m_s = velocity_m_s + pull_m_s
            outward = ((place_m < low) & (velocity_m_s < 0)) | ((place_m > high) & (velocity_m_s > 0))
            velocity_m_s = np.where(outward, -BOUNCE * velocity_m_s, velocity_m_s)
            place_m = np.clip(place_m, low, high)
    return path_m


def _edge(inside_m: np.ndarray, look: Look) -> np.ndarray:
    """How much of a pixel is covered, from its centre's distance to the edge: anti-aliasing."""
    return np.clip(inside_m * look.size_px + 0.5, 0, 1)
