"""A calibration in the run folder is used without the videos, only for the weights and the protocol that it was made for."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from data_prep.__main__ import main as data_prep
from eval.subject import Subject
from eval.voe.scorers import Fit
from eval.voe.surprise.calibration import Calibration
from eval.voe.surprise.stored_calibration import CalibrationFolder
from eval.voe.surprise.whitening import ErrorKey, ErrorMoments, Whitening
from worldmodel.checkpoint import Checkpoint, save_checkpoint
from worldmodel.config import load_config
from worldmodel.manifest import Clip
from worldmodel.models import build_model
from worldmodel.recipe import Recipe

ROOT = Path(__file__).parents[3]
INPUTS = {"weights": "00", "plan": {"fps": 12.0}}
RECIPE = """
window: {frames: 24, fps: 12, size_px: 64}
model:
  kind: causal
  encoder: {patch_px: 16, width: 16, depth: 1, heads: 2, latent_dim: 8, head_width: 16, latent_grid: 2}
  predictor: {width: 24, depth: 1, heads: 2, horizons: 8}
  rollout_steps: 0
"""


def calibration() -> Calibration:
    moments = ErrorMoments.empty(horizon=2, tokens=1, dim=3)
    moments.add([torch.randn(5, 2, 4, 3, generator=torch.Generator().manual_seed(0))])
    return Calibration(
        {
            ErrorKey("locked", "model"): Whitening.fit(moments),
            ErrorKey("sliding", "model", Fit(per_token=True)): Whitening.fit(moments),
        },
        control_slope=0.25,
        notes=("one video is left out",),
    )


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    """A run of which only the folder is used."""
    (tmp_path / "run" / "checkpoints" / "00000001").mkdir(parents=True)
    return Subject("run", "run", None, None, 1, Checkpoint(tmp_path / "run" / "checkpoints" / "00000001", {}))


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    size = {"frames": 12, "width": 16, "height": 16, "rotation": 0, "codec": "h264"}
    named = {"split": "val", "label": None, "truth": None, "source": "", "content_hash": ""}
    paths = [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    for path in paths:
        path.touch()
    return [Clip(path.stem, str(path), None, start_s=0.0, stop_s=1.0, fps=12.0, **size, **named) for path in paths]


def test_a_stored_calibration_is_found_without_the_videos(subject, clips):
    here = CalibrationFolder.of(subject, "m.parquet", clips)
    assert not here.instead
    here.store(INPUTS, calibration())
    for clip in clips:
        os.unlink(clip.path)
    for missing in (CalibrationFolder.of(subject, "m.parquet", clips), CalibrationFolder.of(subject, None, [])):
        assert missing.instead
        assert (missing.manifest, list(missing.clips)) == ("m.parquet", clips)
        found = missing.find(INPUTS)
        assert (found.control_slope, found.notes) == (0.25, ("one video is left out",))
        for name, fit in calibration().whitening.items():
            assert (found.whitening[name].videos, found.whitening[name].shrinkage) == (fit.videos, fit.shrinkage)
            for part in ("mean", "whiten", "scale"):
                assert np.array_equal(getattr(found.whitening[name], part), getattr(fit, part))
                assert getattr(found.whitening[name], part).stride() == getattr(fit, part).stride()  # sums in equal order


def test_other_weights_and_another_protocol_find_nothing(subject, clips):
    here = CalibrationFolder.of(subject, "m.parquet", clips)
    here.store(INPUTS, calibration())
    assert here.find({**INPUTS, "weights": "01"}) is None
    assert here.find({**INPUTS, "plan": {"fps": 24.0}}) is None


def test_a_calibration_without_some_of_its_videos_is_not_stored(subject, clips):
    here = CalibrationFolder.of(subject, "m.parquet", clips)
    os.unlink(clips[0].path)
    here.store(INPUTS, calibration())
    assert not here.folder.exists()


def test_a_model_that_is_no_run_has_no_folder(clips):
    assert CalibrationFolder.of(Subject("hf:x", "x", None, None), "m.parquet", clips) is None


@pytest.mark.slow
def test_a_run_without_its_data_gets_the_same_numbers(tmp_path: Path):
    """The suite has no possible videos of its own. Untrained networks are calibrated on the run's videos too."""
    suite, project = tmp_path / "suite", tmp_path / "project"
    options = ["--suite", "nano", "--properties", "permanence", "--workers", "1"]
    assert data_prep(["synthesize", str(suite), *options]) == 0
    (suite / "recipe.yaml").write_text(RECIPE)
    shutil.copytree(suite, project)
    (suite / "calibration.parquet").unlink()
    recipe = load_config(Recipe, suite / "recipe.yaml", [f"data.manifest={project / 'calibration.parquet'}"])
    torch.manual_seed(0)
    model = build_model(recipe.model, recipe.window)
    save_checkpoint(
        tmp_path / "run", {"model": model.state_dict()}, {"step": 1, "samples": 0, "recipe": recipe.model_dump(mode="json")}
    )
    protocols = []
    for out in ("beside", "alone"):
        command = [sys.executable, "-m", "eval", "voe", "--suite", f"builtin:{suite}", "--untrained-seeds", "1"]
        command += ["--model", str(tmp_path / "run"), "--out", str(tmp_path / out)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(tmp_path / f"cache of {out}")}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert ("calibration.parquet: no such manifest" in done.stderr) == (out == "alone")
        protocols.append(json.loads((tmp_path / out / "protocol.json").read_text()))
        shutil.rmtree(project, ignore_errors=True)
    assert protocols[0]["whitening"] == protocols[1]["whitening"]
    assert protocols[0]["whitening"]["videos"] > 1
    for name in ("traces.parquet", "scores.csv"):
        assert (tmp_path / "beside" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


@pytest.mark.parametrize("about", [{}, {"fits": 3, "notes": []}, {"fits": {"a": {}}, "notes": [], "control_slope": 0.0}])
def test_a_calibration_file_with_unexpected_content_is_ignored_with_a_warning(tmp_path: Path, capsys, about: dict):
    folder = CalibrationFolder(tmp_path, "val.parquet", [], False)
    np.savez(folder._file(INPUTS), about=np.array(json.dumps(about)))
    assert folder.find(INPUTS) is None
    assert "does not hold a calibration" in capsys.readouterr().err


@pytest.mark.parametrize("about", [{"clips": []}, {"clips": 3, "manifest": "val.parquet"}, {"manifest": "val.parquet"}])
def test_a_stored_list_of_videos_with_unexpected_content_is_ignored_with_a_warning(
    subject: Subject, tmp_path: Path, capsys, about: dict
):
    folder = tmp_path / "run" / "reference"
    folder.mkdir()
    np.savez(folder / "clips-0.npz", about=np.array(json.dumps(about)))
    assert CalibrationFolder.of(subject, None, []) is None
    assert "a stored list of videos is ignored" in capsys.readouterr().err
