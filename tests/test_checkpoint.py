"""A checkpoint is whole or not there, and loading is strict."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from worldmodel import checkpoint as checkpoints
from worldmodel.checkpoint import CheckpointError
from worldmodel.models import build_model
from worldmodel.optim import OptimConfig, build_optimizers
from worldmodel.recipe import Recipe
from worldmodel.train import build_learner

RECIPE = Recipe.model_validate_json(
    json.dumps(
        {
            "window": {"frames": 6, "size_px": 16},
            "model": {
                "kind": "causal",
                "encoder": {"patch_px": 8, "width": 8, "heads": 2, "latent_dim": 4, "head_width": 8},
                "predictor": {"width": 8, "depth": 1, "heads": 2, "horizons": 2},
                "rollout_steps": 1,
                "rollout_context": 2,
                "target": {"kind": "ema"},
            },
        }
    )
)


@pytest.fixture(params=["adamw", "muon"])
def saved(tmp_path: Path, request: pytest.FixtureRequest):
    """A run with checkpoints after updates 1 and 2."""
    torch.manual_seed(0)
    learner = build_learner(RECIPE)
    optimizers = build_optimizers(learner, OptimConfig(kind=request.param))
    for update in (1, 2):
        for p in learner.parameters():
            p.grad = torch.randn_like(p) if p.requires_grad else None
        for optimizer in optimizers:
            optimizer.step()
        state = {"update": update, "samples": update, "recipe": RECIPE.model_dump(mode="json")}
        checkpoints.save_checkpoint(tmp_path, checkpoints.gather(learner, optimizers), state)
    return tmp_path, learner, optimizers


def test_a_restored_run_goes_on_bit_for_bit(saved):
    run, learner, optimizers = saved
    torch.manual_seed(9)
    other = build_learner(RECIPE)
    other_optimizers = build_optimizers(other, OptimConfig(kind="muon" if len(optimizers) == 2 else "adamw"))
    checkpoints.restore(other, other_optimizers, checkpoints.latest(run))
    for one, its in ((learner, optimizers), (other, other_optimizers)):
        for index, p in enumerate(one.parameters()):
            p.grad = torch.full_like(p, 0.1 * (index + 1)) if p.requires_grad else None
        for optimizer in its:
            optimizer.step()
    for (name, a), b in zip(learner.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_nothing_on_disk_is_a_pickle(saved):
    run = saved[0]
    assert {p.suffix for p in run.rglob("*") if p.is_file()} == {".safetensors", ".json"}


@pytest.mark.parametrize("damage", ["truncated", "missing file", "no state", "half a state", "no digests", "flipped bit"])
def test_a_damaged_checkpoint_is_passed_over_for_the_last_whole_one(saved, damage: str):
    run = saved[0]
    last = run / "checkpoints" / "00000002"
    if damage == "truncated":
        os.truncate(last / "model.safetensors", 100)
    elif damage == "missing file":
        (last / "optimizer.safetensors").unlink()
    elif damage == "no state":
        (last / "state.json").unlink()
    elif damage == "half a state":
        (last / "state.json").write_text((last / "state.json").read_text()[:50])
    elif damage == "no digests":
        (last / "state.json").write_text((last / "state.json").read_text().replace("sha256", "sums"))
    else:
        content = bytearray((last / "model.safetensors").read_bytes())
        content[-1] ^= 1
        (last / "model.safetensors").write_bytes(content)
    said: list[str] = []
    assert checkpoints.latest(run, warn=said.append).update == 1
    assert len(said) == 1
    assert "00000002" in said[0]


def test_a_folder_half_written_by_a_kill_is_not_a_checkpoint(saved):
    run = saved[0]
    shutil.copytree(run / "checkpoints" / "00000002", run / "checkpoints" / ".00000003.part")
    assert checkpoints.latest(run).update == 2


def test_a_full_disk_leaves_the_last_checkpoint_whole_and_no_rest(saved, monkeypatch: pytest.MonkeyPatch):
    run, learner, optimizers = saved

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(CheckpointError, match=r"No space left.*last whole checkpoint is .*00000002. Make room"):
        checkpoints.save_checkpoint(run, checkpoints.gather(learner, optimizers), {"update": 3})
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["00000001", "00000002"]


def test_the_best_checkpoint_is_kept_and_found_first(saved):
    run = saved[0]
    checkpoints.note_best(run, "00000001", 0.5)
    checkpoints.note_best(run, "00000002", 0.4)
    checkpoints.prune(run, keep=1, update=2)
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["00000001", "00000002"]
    assert checkpoints.find_checkpoint(run).update == 1
    assert checkpoints.find_checkpoint(run / "checkpoints" / "00000002").update == 2


def test_damaged_checkpoints_of_a_future_given_up_do_not_push_out_a_whole_one(saved):
    run, learner, optimizers = saved
    os.truncate(run / "checkpoints" / "00000002" / "model.safetensors", 100)
    (run / "checkpoints" / "00000002").rename(run / "checkpoints" / "00000009")
    checkpoints.save_checkpoint(run, checkpoints.gather(learner, optimizers), {"update": 3, "samples": 3})
    checkpoints.prune(run, keep=1, update=3)
    assert [p.name for p in (run / "checkpoints").iterdir()] == ["00000003"]
    assert checkpoints.latest(run).update == 3


def test_a_damaged_best_gives_way_to_the_last_whole_one(saved, capsys):
    run = saved[0]
    checkpoints.note_best(run, "00000001", 0.5)
    os.truncate(run / "checkpoints" / "00000001" / "model.safetensors", 100)
    assert checkpoints.find_checkpoint(run).update == 2
    assert "00000001" in capsys.readouterr().err


def test_a_decoder_that_cannot_be_written_leaves_the_checkpoint_whole(saved, monkeypatch: pytest.MonkeyPatch):
    checkpoint = checkpoints.latest(saved[0])
    checkpoints.add_file(checkpoint, "decoder", {"a": torch.zeros(3)})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(CheckpointError, match="the checkpoint itself is whole"):
        checkpoints.add_file(checkpoint, "decoder", {"a": torch.ones(3)})
    assert torch.equal(checkpoints.latest(saved[0]).tensors("decoder")["a"], torch.zeros(3))


def test_load_model_gives_the_model_that_was_saved(saved):
    run, learner, _ = saved
    model, recipe = checkpoints.load_model(run)
    frames = torch.rand(1, 6, 3, 16, 16)
    assert torch.equal(model.encode(frames), learner.model.encode(frames))
    assert recipe == RECIPE


def test_weights_that_do_not_fit_are_named(saved):
    run = saved[0]
    wider = RECIPE.model_copy(
        update={"model": RECIPE.model.model_copy(update={"encoder": RECIPE.model.encoder.model_copy(update={"depth": 2})})}
    )
    model = build_model(wider.model, wider.window)
    with pytest.raises(CheckpointError, match=r"encoder.blocks.layers.1.* is missing"):
        checkpoints.load_into(model, checkpoints.model_tensors(checkpoints.latest(run)), run)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path):
    with pytest.raises(CheckpointError, match="neither a run folder nor a checkpoint"):
        checkpoints.load_model(tmp_path)


def test_of_a_run_that_has_only_begun_it_is_told_when_it_has_one(tmp_path: Path):
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(CheckpointError, match=r"no whole checkpoint yet; the first is written at update checkpoint\.every"):
        checkpoints.load_model(tmp_path)
