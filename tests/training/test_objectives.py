"""Objectives and frozen teachers in whole runs."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from worldmodel.checkpoint import find_checkpoint, load_model, restore_weights
from worldmodel.config import ConfigError, parse_config
from worldmodel.recipe import Recipe
from worldmodel.training.setup import build_learner
from worldmodel.training.teacher import load_teacher, with_teacher

FAST = ("train.max_steps=5", "checkpoint.every=5", "health.every=5")
ALL = (
    "objectives={forecast: {kind: forecast}, a: {kind: vicreg}, b: {kind: barlow}, c: {kind: info_nce}, "
    "d: {kind: sigreg, directions: 16}, e: {kind: visreg, directions: 16}, f: {kind: straightening}, "
    "g: {kind: temporal_similarity}}"
)
ALONE = "objectives={forecast: {kind: forecast}}"


@pytest.mark.slow
def test_all_objectives_together_train_on_two_ranks_and_micro_batches_as_on_one_process(trainer, read_rows, tmp_path: Path):
    assert trainer(tmp_path / "one", *FAST, ALL).returncode == 0
    done = trainer(tmp_path / "two", *FAST, ALL, "train.grad_accum_steps=2", ranks=2)
    assert done.returncode == 0, done.stderr
    for one, two in zip(read_rows(tmp_path / "one"), read_rows(tmp_path / "two"), strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-4)
    assert "verdict" in read_rows(tmp_path / "two", "health")[-1]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory, train_once) -> Path:
    return train_once(tmp_path_factory.mktemp("teacher"), *FAST)


def encoder_of(run: Path) -> dict[str, torch.Tensor]:
    weights = load_file(run / "checkpoints" / "00000005" / "model.safetensors")
    return {name.removeprefix("encoder."): value for name, value in weights.items() if name.startswith("encoder.")}


def test_a_frozen_teacher_does_not_change_and_its_run_is_not_needed_again(trainer, teacher: Path, tmp_path: Path):
    gone, run = shutil.copytree(teacher, tmp_path / "gone"), tmp_path / "student"
    recipe = (*FAST, ALONE, f"model.target={{kind: frozen, run: {gone}}}", "model.encoder.width=8")
    done = trainer(run, *recipe)
    assert done.returncode == 0, done.stderr
    assert "against collapse: targets of a teacher (frozen)" in done.stdout
    shutil.rmtree(gone)
    done = trainer(run, *recipe, "train.max_steps=8", flags=("--allow-changed-recipe",))
    assert done.returncode == 0, done.stderr

    stored, theirs = load_file(run / "checkpoints" / "00000008" / "ema.safetensors"), encoder_of(teacher)
    assert stored.keys() == theirs.keys()
    assert all(torch.equal(stored[name], theirs[name]) for name in stored)
    model, recipe = load_model(run)
    assert recipe.model.target.encoder.width == model.teacher.config.width == 16
    assert model.encoder.config.width == 8


def student(teacher: Path, **changes: dict) -> Recipe:
    """A recipe with a frozen teacher and the sizes of the teacher."""
    data = json.loads((teacher / "checkpoints" / "00000005" / "state.json").read_text())["recipe"]
    data["model"]["target"] = {"kind": "frozen", "run": str(teacher)}
    for part, fields in changes.items():
        data[part] = {**data[part], **fields}
    return parse_config(Recipe, data, "x.yaml")


def test_init_from_does_not_change_the_frozen_teacher(teacher: Path):
    learner = build_learner(with_teacher(student(teacher), None))
    load_teacher(learner.model, student(teacher))
    with torch.no_grad():
        learner.model.teacher.position.zero_()
    restore_weights(learner, find_checkpoint(teacher), skip_files=("objectives", "ema"))
    assert not learner.model.teacher.position.any()
    assert torch.equal(learner.model.encoder.position, encoder_of(teacher)["position"])


def test_targets_equal_those_of_the_teachers_own_run(teacher: Path):
    model = build_learner(with_teacher(student(teacher), None)).model
    load_teacher(model, student(teacher))
    theirs, _ = load_model(teacher)
    frames = torch.randn(2, 4, 3, 32, 32)
    assert torch.equal(model.encode(frames), theirs.encode(frames))
    assert not torch.equal(model.encode_context_and_target(frames)[0], theirs.encode(frames))  # the student is fresh


def test_a_teacher_that_is_missing_or_does_not_fit_is_a_one_line_error(teacher: Path, tmp_path: Path):
    def refused(recipe: Recipe) -> str:
        with pytest.raises(ConfigError) as caught:
            with_teacher(recipe, None)
        (line,) = caught.value.problems
        return line

    model = student(teacher).model_dump(mode="json")["model"]
    nowhere = {"target": {"kind": "frozen", "run": str(tmp_path / "nowhere")}}
    assert "nowhere is neither a run folder nor a checkpoint" in refused(student(teacher, model=nowhere))
    narrow = {"encoder": {**model["encoder"], "latent_dim": 4}}
    assert "model.encoder.latent_dim is 4, the frozen teacher has 8" in refused(student(teacher, model=narrow))
    assert "window.size_px is 64, that of model.target.run" in refused(student(teacher, window={"size_px": 64}))
    assert "model.normalise_latents is True" in refused(student(teacher, model={"normalise_latents": True}))
    other = {"target": {"kind": "frozen", "run": str(teacher), "encoder": {"latent_dim": 8}}}
    assert "remove it, training fills it in" in refused(student(teacher, model=other))
