"""Trainings whose videos are decoded once and lie in memory, to compare looks of videos and recipes at equal cost.

    python -m benchmarks.transfer_training OUT --manifest data/demo/train.parquet --steps 500 --looks 0.5 [a.b=value ...]

Trains a recipe (by default the demo's), with overrides, on the first videos of the split train, and writes OUT/recipe.yaml
and OUT/model.safetensors for benchmarks.transfer_memory and benchmarks.transfer_scores. --manifest may be given several times,
for example once per world; equally many videos are taken from each. --looks paints this fraction of the videos anew
(data_prep/physics/repainting.py), once per video. --mixed blends each of them with the plain video, by a random share.
--looks-until F shows the plain videos after this fraction of the steps. --init starts from the weights of a run.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from data_prep.physics.repainting import repaint
from eval.subject import open_subject
from worldmodel.config import save_config
from worldmodel.data.augmentation.augment import UNIFORMS_PER_SAMPLE
from worldmodel.data.batch import Batch
from worldmodel.files.outputs import record_outputs
from worldmodel.manifest import Manifest
from worldmodel.models import TrainedModel, build_model
from worldmodel.recipe import Recipe, read_recipe
from worldmodel.training.learner import Learner, Loss
from worldmodel.training.optimizer import build_optimizers, clip_gradients, keep_encoder, lr_ratio_at, set_lr
from worldmodel.training.setup import build_learner
from worldmodel.video.geometry import read_square_frames

RECIPE = Path(__file__).resolve().parent.parent / "configs" / "demo.yaml"


@dataclass(frozen=True)
class Looks:
    """Which training videos are painted anew, how strongly, and for how long."""

    share: float = 0.0  # of the videos
    is_mixed: bool = False  # each one blended with the plain video by a random share
    until: float = 1.0  # fraction of the steps; later, all videos are plain


@dataclass(frozen=True)
class PlainVideos:
    """The plain versions of painted videos."""

    rows: NDArray[np.int64]
    frames: NDArray[np.uint8]  # [rows, T, H, W, 3]

    def restore(self, videos: NDArray[np.uint8]) -> None:
        """Replace the painted videos by the plain ones, in place."""
        videos[self.rows] = self.frames


def read_videos(
    manifests: list[Path], count: int, frames: int, fps: float, size_px: int
) -> tuple[NDArray[np.uint8], list[str]]:
    """`count` videos of the split train, equally many of each manifest: uint8 [V, T, H, W, 3], and their ground truth files."""
    chosen: list[tuple[str, str]] = []
    for index, manifest in enumerate(manifests):
        table = Manifest.open(manifest)
        rows = zip(*(table.column(name) for name in ("path", "truth", "split")), strict=True)
        files = [(table.absolute(path), table.absolute(truth)) for path, truth, split in rows if split == "train"]
        chosen += files[: count * (index + 1) // len(manifests) - count * index // len(manifests)]
    times_s = [frame / fps for frame in range(frames)]
    videos = [read_square_frames(path, size_px, "center_crop", times_s=times_s, folder_fps=fps) for path, _ in chosen]
    return np.stack(videos), [truth for _, truth in chosen]


def paint(videos: NDArray[np.uint8], truths: list[str], looks: Looks, rng: np.random.Generator) -> PlainVideos | None:
    """Paint a fraction of the videos anew, in place. Returns their plain versions if these are shown later."""
    rows = np.flatnonzero(rng.permutation(len(videos)) < looks.share * len(videos))
    plain = PlainVideos(rows, videos[rows]) if looks.until < 1 else None
    for index in rows:
        with np.load(truths[index]) as truth:
            painted = repaint(videos[index], truth["segmentation"], np.random.default_rng(index))
        share = float(np.random.default_rng([int(index), 1]).random()) if looks.is_mixed else 1.0
        videos[index] = mix(videos[index], painted, share)
    return plain


def mix(plain: NDArray[np.uint8], painted: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
    """Blend two videos: the painted one where share is 1, the plain one where it is 0."""
    return (plain + np.float32(share) * (painted.astype(np.float32) - plain) + np.float32(0.5)).astype(np.uint8)


def open_trained(path: Path) -> TrainedModel:
    """The model of a run folder, or of a folder that this benchmark wrote."""
    if not (path / "model.safetensors").exists():
        opened = open_subject(str(path), torch.device("cpu")).model
        assert isinstance(opened, TrainedModel), f"{path}: this benchmark needs a model that was trained here"
        return opened
    recipe = read_recipe(path / "recipe.yaml", [])
    model = build_model(recipe.model, recipe.window)
    model.load_state_dict(load_file(path / "model.safetensors"))
    return model


def train(
    learner: Learner,
    recipe: Recipe,
    videos: NDArray[np.uint8],
    steps: int,
    rng: np.random.Generator,
    after_step: Callable[[int, Loss], None],
) -> None:
    """Train on videos in memory, one window each, and call `after_step` with the number of finished steps and the loss."""
    optimizers, batch_size = build_optimizers(learner, recipe.optim), recipe.data.batch_size
    epochs = steps * batch_size // len(videos) + 1
    order = np.concatenate([rng.permutation(len(videos)) for _ in range(epochs)])
    for step in range(steps):
        ids = np.sort(order[step * batch_size : (step + 1) * batch_size])
        uniforms = torch.from_numpy(rng.random((batch_size, UNIFORMS_PER_SAMPLE), dtype=np.float32))
        batch = Batch(torch.from_numpy(videos[ids]), uniforms, torch.from_numpy(ids), int(rng.integers(2**31)))
        set_lr(optimizers, recipe.optim, lr_ratio_at(step, recipe.optim, steps))
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.train.precision == "bf16"):
            loss = learner(batch)
        loss.total.backward()
        keep_encoder(learner.model.encoder, recipe.optim, step)
        clip_gradients(learner, recipe.optim.clip_norm)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        learner.model.update_teacher(step / max(1, steps - 1))
        after_step(step + 1, loss)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="a.b=value")
    parser.add_argument("--recipe", type=Path, default=RECIPE, help="default: the demo's")
    parser.add_argument("--init", type=Path, metavar="RUN", help="start from these weights")
    parser.add_argument("--manifest", type=Path, action="append", required=True, help="may be given several times")
    parser.add_argument("--videos", type=int, default=4000, help="number of videos, of all manifests together")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--looks", type=float, default=0.0, metavar="F", help="fraction of the videos that are painted anew")
    parser.add_argument("--mixed", action="store_true", help="blend painted and plain video by a random share")
    parser.add_argument("--looks-until", type=float, default=1.0, metavar="F", help="fraction of the steps; then all are plain")
    args = parser.parse_intermixed_args()
    with record_outputs(args.out, ["recipe.yaml", "model.safetensors"], "give another OUT"):
        run(args)


def run(args: argparse.Namespace) -> None:
    """Read the videos, train, and write OUT/recipe.yaml and OUT/model.safetensors."""
    fixed = [f"train.max_steps={args.steps}", "train.precision=fp32", "optim.warmup_steps=50"]
    recipe = read_recipe(args.recipe, [*fixed, *args.overrides])
    window, looks = recipe.window, Looks(args.looks, args.mixed, args.looks_until)
    torch.manual_seed(recipe.seed)
    learner, rng = build_learner(recipe), np.random.default_rng(recipe.seed)
    if args.init:
        learner.model.load_state_dict(open_trained(args.init).state_dict())
    videos, truths = read_videos(args.manifest, args.videos, window.frames, window.fps, window.size_px)
    plain = paint(videos, truths, looks, rng)
    start, last_painted = time.process_time(), round(looks.until * args.steps)

    def after_step(step: int, loss: Loss) -> None:
        if plain is not None and step == last_painted:
            plain.restore(videos)
        if step % 100 == 1 or step == args.steps:
            print(
                f"step {step - 1}, loss {float(loss.total.detach()):.3f}, {time.process_time() - start:.0f} CPU s", flush=True
            )

    train(learner, recipe, videos, args.steps, rng, after_step)
    save_config(recipe, args.out / "recipe.yaml")
    save_file(learner.model.state_dict(), args.out / "model.safetensors")


if __name__ == "__main__":
    main()
