"""Draw the first training windows of a recipe as the model sees them: after augmentation, every second frame.

    python -m benchmarks.augmented_windows OUT.png configs/transfer.yaml augment.occluder_prob=1

Draws at most the windows of the first batch. The data must exist; another file at OUT.png is not overwritten.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from data_prep.physics.contact_sheets import SheetRow, contact_sheet
from worldmodel.data.augmentation.augment import augment
from worldmodel.data.loader import WindowDataset, decode_frame_px, training_batches
from worldmodel.files.atomic import atomic_path
from worldmodel.files.outputs import output_file
from worldmodel.recipe import Recipe, read_recipe


def augmented_rows(recipe: Recipe, count: int) -> list[SheetRow]:
    """The first windows of the training, at most those of its first batch."""
    size = decode_frame_px(recipe.data, recipe.window, recipe.augment.crops)
    windows = WindowDataset(recipe.data, recipe.window, "train", recipe.seed, size)
    batch = next(training_batches(windows, 0, 1))[0].to(torch.device("cpu"))
    assert batch.uniforms is not None
    pixels = augment(batch.frames[:count], batch.uniforms[:count], recipe.window.frame_px, recipe.augment).pixels
    frames = (pixels * 255).round().byte().permute(0, 1, 3, 4, 2).numpy()
    return [SheetRow(window, f"window {number}") for number, window in enumerate(frames, 1)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT.png")
    parser.add_argument("recipe", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="a.b=value")
    parser.add_argument("--windows", type=int, default=6)
    args = parser.parse_args()
    sheet = contact_sheet(augmented_rows(read_recipe(args.recipe, args.overrides), args.windows))
    with output_file(args.out, "give another OUT.png"), atomic_path(args.out) as part:
        sheet.save(part, format="PNG")


if __name__ == "__main__":
    main()
