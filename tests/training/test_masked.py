"""The masked family uses the same training loop, on one process or several, and the same rollout."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from worldmodel.checkpoint import load_model
from worldmodel.config import ConfigError, parse_config
from worldmodel.models.masked import MaskedWorldModel
from worldmodel.models.pretrained.layouts import PretrainedError
from worldmodel.models.pretrained.vjepa2 import save_huggingface
from worldmodel.models.world_model import ReachError
from worldmodel.recipe import Recipe
from worldmodel.training.teacher import with_teacher

MODEL = (
    "model={kind: masked, encoder: {patch_px: 8, tubelet_size: 2, width: 24, depth: 1, heads: 2}, "
    "predictor: {width: 24, depth: 1, heads: 2}, "
    "masks: [{blocks: 2, area: 0.3}, {blocks: 0, visible_time_fraction: [0.3, 0.7]}], target: {kind: ema, momentum: 0.9}}"
)
CHANGED = ("--allow-changed-recipe",)
L1 = "objectives={forecast: {kind: forecast, distance: l1}, spread: {kind: vicreg}}"


@pytest.mark.slow
@pytest.mark.parametrize(("ranks", "parallel"), [(2, "ddp"), (2, "fsdp2")])
def test_ranks_and_micro_batches_give_the_masks_and_the_loss_of_one_process(
    trainer, read_rows, tmp_path: Path, ranks: int, parallel: str
):
    short = (MODEL, L1, "train.max_steps=6")
    for name, count, more in (("one", 1, ()), ("many", ranks, (f"train.parallel={parallel}", "train.grad_accum_steps=2"))):
        done = trainer(tmp_path / name, *short, *more, ranks=count)
        assert done.returncode == 0, done.stderr
    for one, many in zip(read_rows(tmp_path / "one"), read_rows(tmp_path / "many"), strict=True):
        assert one["batch_hash"] == many["batch_hash"]
        assert many["loss"] == pytest.approx(one["loss"], rel=1e-4)


def test_a_masked_model_learns_to_predict_and_a_rollout_uses_it(trainer, read_rows, tmp_path: Path):
    from worldmodel.rollout import main

    run = tmp_path / "run"
    done = trainer(run, MODEL, L1, "train.max_steps=40", "optim.lr=3e-3", "health.every=20", "checkpoint.every=20")
    assert done.returncode == 0, done.stderr
    filled_in = [row["loss/forecast/direct"] for row in read_rows(run)]
    assert sum(filled_in[-5:]) < 0.9 * sum(filled_in[:5])
    assert {"skill", "skill/0.167", "skill/0.833"} <= read_rows(run, "health")[-1].keys()
    assert main([str(run), "--count", "1"]) == 0
    assert (run / "rollouts" / "held_out_0.mp4").stat().st_size > 0


def test_pixel_targets_need_no_anti_collapse_objective(trainer, read_rows, tmp_path: Path):
    pixels = (
        MODEL,
        "model.target={kind: pixels}",
        "model.distance=l2",
        "objectives={forecast: {kind: forecast, distance: l2}}",
    )
    done = trainer(tmp_path / "run", *pixels, "train.max_steps=40", "optim.lr=3e-3")
    assert done.returncode == 0, done.stderr
    losses = [row["loss"] for row in read_rows(tmp_path / "run")]
    assert sum(losses[-5:]) < 0.97 * sum(losses[:5])
    assert not list((tmp_path / "run").glob("checkpoints/*/ema.safetensors"))


def test_a_student_of_a_frozen_autoencoder_no_longer_needs_the_teachers_run(trainer, tmp_path: Path):
    """SALT (Li et al. 2025): a teacher that predicts masked pixels, then a student that predicts the teacher's latents."""
    short = (MODEL, "train.max_steps=3", "health.every=3", "checkpoint.every=3")
    first, run = tmp_path / "first", tmp_path / "student"
    pixels = ("model.target={kind: pixels}", "model.distance=l2", "objectives={forecast: {kind: forecast}}")
    assert trainer(first, *short, *pixels).returncode == 0
    student = (*short, L1.replace(", spread: {kind: vicreg}", ""), f"model.target={{kind: frozen, run: {first}}}")
    done = trainer(run, *student, "model.encoder.depth=2")  # of another depth, but as wide
    assert done.returncode == 0, done.stderr
    assert "against collapse: targets of a teacher (frozen)" in done.stdout

    theirs = load_file(first / "checkpoints" / "00000003" / "model.safetensors")
    shutil.rmtree(first)
    model, _ = load_model(run)
    stored = model.teacher.state_dict()
    assert len(stored) > 8
    assert all(torch.equal(stored[name], theirs[f"encoder.{name}"]) for name in stored)
    assert (model.teacher.config.depth, model.encoder.config.depth) == (1, 2)
    frames = torch.randn(2, 4, 3, 32, 32)
    assert not torch.equal(model.encode(frames)[:, :1], model.forecast(frames[:, :2], 1))
    assert torch.equal(model.rollout(frames[:, :2], 3), model.forecast(frames[:, :2], 3))  # latents that cannot be fed back
    with pytest.raises(ReachError, match="this model's window has 12; give a shorter context"):
        model.rollout(torch.randn(1, 10, 3, 32, 32), 2)
    tiled = MaskedWorldModel(model.config.model_copy(update={"tiled_rotary": True}), model.window)
    with pytest.raises(PretrainedError, match="are two different encoders"):
        save_huggingface(tiled, tmp_path / "hf")

    done = trainer(run, *short, L1.replace(", spread: {kind: vicreg}", ""), "model.encoder.depth=2", flags=CHANGED)
    assert done.returncode != 0
    assert f"the teacher of this run is frozen, of {first}, that of the recipe is" in done.stderr


def test_a_teacher_of_the_other_family_is_refused(trainer, tmp_path: Path):
    assert trainer(tmp_path / "causal", "train.max_steps=3", "health.every=3", "checkpoint.every=3").returncode == 0
    fields = json.loads((tmp_path / "causal" / "checkpoints" / "00000003" / "state.json").read_text())["recipe"]
    fields["model"] = {
        "kind": "masked",
        "encoder": {"patch_px": 8},
        "target": {"kind": "frozen", "run": str(tmp_path / "causal")},
    }
    fields["objectives"] = {"forecast": {"kind": "forecast", "distance": "l1"}}
    with pytest.raises(ConfigError, match="is a causal model; a masked model needs a teacher of its own kind"):
        with_teacher(parse_config(Recipe, fields, "x.yaml"), None)
