"""The loader reads what the crop of a clip leaves, in this process and in workers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_clips import FPS, FRAMES, SIZE_PX, windows_of, write_clips

from worldmodel.data.loader import training_batches
from worldmodel.manifest import Manifest, write_manifest
from worldmodel.video import write_video

LETTERBOX = "0 0.25 1 0.75"


@pytest.fixture
def manifest(tmp_path) -> Path:
    """Videos of bright noise between black borders, and their manifest, in which the borders are cropped."""
    path = write_clips(tmp_path, 4)
    table = Manifest.open(path)
    clips = [replace(table.clip(row), crop=LETTERBOX) for row in range(len(table))]
    for number, clip in enumerate(clips):
        frames = np.random.default_rng(number).integers(128, 256, (FRAMES, 2 * SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
        frames[:, : SIZE_PX // 2] = frames[:, -SIZE_PX // 2 :] = 0
        write_video(clip.path, frames, FPS, lossless=True)
    write_manifest(path, clips, command="test", config={})
    return path


@pytest.mark.parametrize("pixel_format", ["rgb24", "yuv420p"])
@pytest.mark.parametrize("workers", [0, 1])
def test_no_pixel_of_a_batch_is_from_outside_the_crop(manifest, workers, pixel_format):
    for (batch,) in training_batches(windows_of(manifest, workers=workers, pixel_format=pixel_format), 0, 2):
        frames = batch.frames if batch.planes is None else batch.planes.to_rgb(batch.ids.device)
        assert tuple(frames.shape[2:4]) == (SIZE_PX, SIZE_PX)
        assert int(frames.min()) > 90  # the noise is 128 to 255; the chroma is shared by four pixels
