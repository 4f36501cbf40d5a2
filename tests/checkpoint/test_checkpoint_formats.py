"""Runs of every checkpoint format can be loaded and resumed to the same losses; damaged ones are refused."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from worldmodel.checkpoint import FORMAT, WHOLE_FORMAT, add_file, find_checkpoint, latest_checkpoint, load_model
from worldmodel.files.log_rows import read_rows
from worldmodel.recipe import Recipe
from worldmodel.rollouts.decoder_fitting import load_decoder

CORPUS = Path(__file__).parents[1] / "corpus" / "checkpoints"
TRAIN = Path(__file__).parents[2] / "worldmodel" / "train.py"
FORMATS = sorted(CORPUS.glob("format-*"))


@pytest.fixture(params=FORMATS, ids=lambda path: path.name)
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    shutil.copytree(request.param, tmp_path / "project")
    return tmp_path / "project" / "run"


@pytest.fixture
def newest(tmp_path: Path) -> Path:
    shutil.copytree(CORPUS / f"format-{WHOLE_FORMAT}", tmp_path / "project")
    return tmp_path / "project" / "run"


def train(run: Path, *arguments: str, threads: int = 1) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TRAIN), str(run / "recipe.yaml"), f"run={run}", *arguments]
    env = os.environ | {"OMP_NUM_THREADS": str(threads), "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=240)


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def check_course(run: Path) -> None:
    """The rows of all steps equal those of the uninterrupted run, up to differences between processors."""
    rows, whole = read_rows(run / "metrics.jsonl"), read_rows(run.parent / "whole.jsonl")
    assert [row["step"] for row in rows] == [row["step"] for row in whole] == list(range(1, 13))
    for row, expected in zip(rows, whole, strict=True):
        assert row["batch_hash"] == expected["batch_hash"]
        assert row["loss"] == pytest.approx(expected["loss"], rel=1e-3)


def written_format(recipe: Recipe) -> int:
    """Whole tensors are written in the format that earlier versions read, too."""
    return FORMAT if recipe.checkpoint.format == "sharded" else WHOLE_FORMAT


def test_the_corpus_has_all_formats():
    assert [path.name for path in FORMATS] == [f"format-{number}" for number in range(1, FORMAT + 1)]
    for number, path in enumerate(FORMATS, 1):
        state = latest_checkpoint(path / "run").folder / "state.json"
        assert json.loads(state.read_text())["format"] == number


def test_a_checkpoint_of_each_format_loads_with_its_decoder_and_accepts_another(run: Path):
    checkpoint = find_checkpoint(run)
    assert (checkpoint.step, latest_checkpoint(run).step) == (4, 8)
    model, recipe = load_model(run)
    decoder = load_decoder(checkpoint, model, recipe, torch.device("cpu"))
    assert decoder is not None
    changed = {name: value + 1 for name, value in decoder.state_dict().items()}
    add_file(checkpoint, "decoder", changed)
    again = find_checkpoint(run)
    assert again.state["format"] == written_format(recipe)
    stored = again.tensors("decoder")
    assert stored.keys() == changed.keys()
    assert all(torch.equal(stored[name], value) for name, value in changed.items())


def test_a_checkpoint_of_each_format_resumes_to_the_losses_of_the_whole_run(run: Path):
    done = train(run, threads=2)
    assert done.returncode == 0, done.stderr
    assert "after step 8" in done.stdout
    check_course(run)
    assert latest_checkpoint(run).state["format"] == written_format(load_model(run)[1])


def test_a_damaged_last_checkpoint_is_skipped_set_aside_and_removed_later(newest: Path):
    flip(newest / "checkpoints" / "00000008" / "optimizer.safetensors")
    (newest / "best.json").write_text(json.dumps({"checkpoint": "00000008", "skill": 0.9}))
    done = train(newest, "train.max_steps=6", "--allow-changed-recipe")
    assert done.returncode == 0, done.stderr
    assert "00000008/optimizer.safetensors is damaged" in done.stdout
    assert "00000008 was renamed to" in done.stdout
    assert "after step 4" in done.stdout
    names = sorted(path.name for path in (newest / "checkpoints").iterdir())
    assert names == ["00000004", "00000006", "damaged-00000008"]
    assert json.loads((newest / "best.json").read_text())["checkpoint"] in names
    assert train(newest, "train.max_steps=9", "--allow-changed-recipe").returncode == 0
    assert not (newest / "checkpoints" / "damaged-00000008").exists()


def test_training_is_refused_where_no_checkpoint_can_be_opened(newest: Path):
    for file in newest.glob("checkpoints/*/model.safetensors"):
        flip(file)
    before = {path: path.read_bytes() for path in newest.rglob("*") if path.is_file() and not path.name.startswith(".")}
    done = train(newest)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("CheckpointError: ")
    for command in ("00000004/model.safetensors is damaged", "00000008/model.safetensors is damaged", "run=FOLDER"):
        assert command in line
    scratch = train(newest, "--from-scratch")
    assert scratch.returncode == 2
    assert "has checkpoints (for example 00000008)" in scratch.stderr
    assert {path: path.read_bytes() for path in before} == before
