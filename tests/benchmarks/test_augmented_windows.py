"""The sheet of augmented windows shows what the model is trained on."""

import sys
from pathlib import Path

import numpy as np
import pytest
from made_clips import write_clips
from PIL import Image

from benchmarks import augmented_windows
from worldmodel.files.outputs import ForeignFileError
from worldmodel.recipe import read_recipe

RECIPE = Path(__file__).resolve().parents[2] / "configs" / "transfer.yaml"
PLAIN = (
    "data.make=null",
    "window.frames=12",
    "window.fps=10",
    "model.predictor.horizons=3",
    "data.batch_size=4",
    "data.workers=1",
)


def test_occluders_change_some_frames_and_the_command_writes_a_picture(tmp_path, monkeypatch):
    manifest = f"data.manifest={write_clips(tmp_path / 'data', 12)}"
    rows = {
        probability: augmented_windows.augmented_rows(
            read_recipe(RECIPE, [*PLAIN, manifest, f"augment.occluder_prob={probability}"]), 3
        )
        for probability in (0, 1)
    }
    plain, pasted = (np.stack([row.frames for row in rows[probability]]) for probability in (0, 1))
    assert plain.shape == pasted.shape == (3, 12, 64, 64, 3)
    changed = (plain != pasted).any((2, 3, 4))
    assert changed.any()
    assert not changed.all()
    picture = tmp_path / "sheet.png"
    monkeypatch.setattr(sys, "argv", ["x", str(picture), str(RECIPE), *PLAIN, manifest, "--windows", "2"])
    augmented_windows.main()
    with Image.open(picture) as image:
        assert image.height == 2 * (64 + 3)


def test_a_file_of_the_user_is_not_overwritten(tmp_path, monkeypatch):
    manifest = f"data.manifest={write_clips(tmp_path / 'data', 12)}"
    (tmp_path / "mine.png").write_text("mine")
    monkeypatch.setattr(sys, "argv", ["x", str(tmp_path / "mine.png"), str(RECIPE), *PLAIN, manifest])
    with pytest.raises(ForeignFileError, match="would be overwritten"):
        augmented_windows.main()
    assert (tmp_path / "mine.png").read_text() == "mine"
