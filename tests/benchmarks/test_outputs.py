"""Benchmarks overwrite no file of the user."""

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import transfer_training
from benchmarks.transfer_scaling import draw
from benchmarks.transfer_scores import Scores
from worldmodel.files.outputs import ForeignFileError

CURVE = {"videos": {100: {"flat": {"permanence": Scores.of_surprise(np.array([[0.0, 0.0, 1.0, 1.0]]))}}}}


def test_a_figure_replaces_only_its_own_earlier_version(tmp_path: Path) -> None:
    mine = tmp_path / "holiday.png"
    mine.write_bytes(b"mine")
    with pytest.raises(ForeignFileError, match="give another FIGURE"):
        draw(CURVE, mine, "steps")
    assert mine.read_bytes() == b"mine"
    for _ in range(2):
        draw(CURVE, tmp_path / "curve.png", "steps")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_a_training_is_refused_before_its_videos_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "recipe.yaml").write_text("mine")
    monkeypatch.setattr(sys, "argv", ["transfer_training", str(tmp_path), "--manifest", str(tmp_path / "missing.parquet")])
    with pytest.raises(ForeignFileError, match=r"recipe\.yaml"):
        transfer_training.main()
    assert (tmp_path / "recipe.yaml").read_text() == "mine"
