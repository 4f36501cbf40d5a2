"""A checkpoint is complete or absent, and loading is strict."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
import torch

import worldmodel.checkpoint.write
from worldmodel import checkpoint as checkpoints
from worldmodel.checkpoint import CheckpointError, NewerFormatError, write_state
from worldmodel.files.outputs import sha256_of
from worldmodel.models import build_model
from worldmodel.recipe import Recipe
from worldmodel.training.optimizer import OptimConfig, build_optimizers
from worldmodel.training.setup import build_learner

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
    """A run with checkpoints after step 1 and 2."""
    torch.manual_seed(0)
    learner = build_learner(RECIPE)
    optimizers = build_optimizers(learner, OptimConfig(kind=request.param))
    for update in (1, 2):
        for p in learner.parameters():
            p.grad = torch.randn_like(p) if p.requires_grad else None
        for optimizer in optimizers:
            optimizer.step()
        checkpoints.save_checkpoint(tmp_path, checkpoints.gather_tensors(learner, optimizers), state_of(update))
    return tmp_path, learner, optimizers


def state_of(update: int, skill: float | None = None) -> checkpoints.State:
    return {"step": update, "samples": update, "skill": skill, "recipe": RECIPE.model_dump(mode="json")}


def save(run: Path, *skills: float | None) -> None:
    """Tiny checkpoints of step 1, 2, ... with these skills."""
    for update, skill in enumerate(skills, 1):
        checkpoints.save_checkpoint(run, {"model": {"a": torch.full((3,), float(update))}}, state_of(update, skill))


def flip(file: Path, byte: int = -1, bit: int = 0) -> None:
    content = bytearray(file.read_bytes())
    content[byte] ^= 1 << bit
    file.write_bytes(content)


def names(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def test_a_restored_run_continues_bit_for_bit(saved):
    run, learner, optimizers = saved
    torch.manual_seed(9)
    other = build_learner(RECIPE)
    other_optimizers = build_optimizers(other, OptimConfig(kind="muon" if len(optimizers) == 2 else "adamw"))
    checkpoints.restore_checkpoint(other, other_optimizers, checkpoints.latest_checkpoint(run))
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
def test_a_damaged_checkpoint_is_skipped_for_the_last_intact_one(saved, damage: str):
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
        flip(last / "model.safetensors")
    warnings: list[str] = []
    assert checkpoints.latest_checkpoint(run, warn=warnings.append).step == 1
    assert len(warnings) == 1
    assert "00000002" in warnings[0]


def test_a_folder_half_written_by_a_kill_is_not_a_checkpoint(saved):
    run = saved[0]
    shutil.copytree(run / "checkpoints" / "00000002", run / "checkpoints" / ".00000003.part")
    assert checkpoints.latest_checkpoint(run).step == 2


def test_a_full_disk_keeps_the_last_checkpoint_and_leaves_no_temporary_files(saved, monkeypatch: pytest.MonkeyPatch):
    run, learner, optimizers = saved

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(worldmodel.checkpoint.write, "save_file", full)
    with pytest.raises(CheckpointError, match=r"No space left.*last intact checkpoint is .*00000002. Free disk space"):
        checkpoints.save_checkpoint(run, checkpoints.gather_tensors(learner, optimizers), state_of(3))
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["00000001", "00000002"]


# --- none can be opened ----------------------------------------------------------------------------------------------
def test_where_none_can_be_opened_each_is_named_with_its_problem_and_nothing_is_removed(tmp_path: Path):
    save(tmp_path, None, None, None)
    folder = tmp_path / "checkpoints"
    flip(folder / "00000001" / "model.safetensors")
    (folder / "00000002" / "state.json").unlink()
    flip(folder / "00000003" / "state.json", 40)
    for find in (checkpoints.latest_checkpoint, checkpoints.find_checkpoint):
        with pytest.raises(CheckpointError) as raised:
            find(tmp_path)
        (line,) = str(raised.value).splitlines()
        assert "00000001/model.safetensors is damaged" in line
        assert "00000002 has no state.json" in line
        assert "00000003/state.json is damaged" in line
        assert "run=FOLDER" in line
    assert names(tmp_path) == ["00000001", "00000002", "00000003"]


def test_a_later_checkpoint_of_a_newer_version_is_not_skipped(tmp_path: Path):
    save(tmp_path, 0.1, 0.2)
    write_state(tmp_path / "checkpoints" / "00000002", {**checkpoints.latest_checkpoint(tmp_path).state, "format": 99})
    for find in (checkpoints.latest_checkpoint, checkpoints.find_checkpoint):
        refusal = rf"00000002 was written by a newer version .*format 99, .* up to {checkpoints.FORMAT}\); update"
        with pytest.raises(NewerFormatError, match=refusal):
            find(tmp_path)
    assert checkpoints.find_checkpoint(tmp_path / "checkpoints" / "00000001").step == 1


def test_damaged_later_ones_are_set_aside_and_removed_when_the_run_has_passed_them(tmp_path: Path):
    save(tmp_path, None, None, None)
    flip(tmp_path / "checkpoints" / "00000003" / "model.safetensors")
    checkpoints.set_aside_later(tmp_path, 1)
    assert names(tmp_path) == ["00000001", "damaged-00000002", "damaged-00000003"]
    checkpoints.save_checkpoint(tmp_path, {}, state_of(2))
    checkpoints.prune(tmp_path, keep=3, step=2)
    assert names(tmp_path) == ["00000001", "00000002", "damaged-00000003"]
    assert checkpoints.latest_checkpoint(tmp_path).step == 2


def test_pruning_leaves_checkpoints_that_the_run_has_not_reached(tmp_path: Path):
    save(tmp_path, None, None, None)
    checkpoints.prune(tmp_path, keep=1, step=2)
    assert names(tmp_path) == ["00000002", "00000003"]


def test_from_scratch_is_refused_where_there_are_checkpoints(tmp_path: Path):
    checkpoints.refuse_existing_checkpoints(tmp_path)
    save(tmp_path, None)
    checkpoints.set_aside_later(tmp_path, 0)
    with pytest.raises(CheckpointError, match=r"for example damaged-00000001.*Give another run=FOLDER"):
        checkpoints.refuse_existing_checkpoints(tmp_path)


# --- the best --------------------------------------------------------------------------------------------------------
def noted(run: Path) -> dict | None:
    file = run / "best.json"
    return json.loads(file.read_text()) if file.exists() else None


def test_the_best_checkpoint_is_kept_and_selected(tmp_path: Path):
    save(tmp_path, 0.5, 0.4, 0.5, None)
    checkpoints.write_best(tmp_path)
    checkpoints.prune(tmp_path, keep=1, step=4)
    assert names(tmp_path) == ["00000001", "00000004"]  # the earlier of two equal ones
    assert checkpoints.find_checkpoint(tmp_path).step == 1
    assert checkpoints.find_checkpoint(tmp_path / "checkpoints" / "00000004").step == 4


def test_a_best_checkpoint_that_was_set_aside_or_deleted_no_longer_counts(tmp_path: Path, capsys):
    save(tmp_path, 0.3, 0.4, 0.9)
    checkpoints.write_best(tmp_path)
    assert noted(tmp_path) == {"checkpoint": "00000003", "skill": 0.9}
    checkpoints.set_aside_later(tmp_path, 2)  # training resumes from an earlier one
    assert checkpoints.find_checkpoint(tmp_path).step == 2
    assert "best.json names checkpoint 00000003" in capsys.readouterr().err
    checkpoints.write_best(tmp_path)
    assert noted(tmp_path) == {"checkpoint": "00000002", "skill": 0.4}
    checkpoints.save_checkpoint(tmp_path, {}, state_of(3, 0.5))
    checkpoints.write_best(tmp_path)
    assert noted(tmp_path)["checkpoint"] == "00000003"  # less than the removed 0.9
    shutil.rmtree(tmp_path / "checkpoints" / "00000003")
    assert checkpoints.find_checkpoint(tmp_path).step == 2
    assert "00000003" in capsys.readouterr().err
    for update in (1, 2):
        shutil.rmtree(tmp_path / "checkpoints" / f"0000000{update}")
    checkpoints.write_best(tmp_path)
    assert noted(tmp_path) is None


def test_a_damaged_best_checkpoint_is_replaced_by_the_next_best_and_named(tmp_path: Path, capsys):
    save(tmp_path, 0.3, 0.9, 0.4, 0.2)
    checkpoints.write_best(tmp_path)
    flip(tmp_path / "checkpoints" / "00000002" / "model.safetensors")
    assert checkpoints.find_checkpoint(tmp_path).step == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert "00000002/model.safetensors is damaged" in line
    assert "using checkpoint 00000003 instead" in line


def test_no_flipped_bit_of_best_json_selects_another_checkpoint(tmp_path: Path):
    save(tmp_path, 0.3, 0.9, 0.4)
    checkpoints.write_best(tmp_path)
    content = (tmp_path / "best.json").read_bytes()
    for byte in range(len(content)):
        for bit in range(0, 8, 3):
            flip(tmp_path / "best.json", byte, bit)
            assert checkpoints.find_checkpoint(tmp_path).step == 2
            (tmp_path / "best.json").write_bytes(content)
    (tmp_path / "best.json").write_bytes(b"[" * 100_000)
    checkpoints.write_best(tmp_path)
    assert (tmp_path / "best.json").read_bytes() == content


# --- adding a decoder ------------------------------------------------------------------------------------------------
def test_a_decoder_that_cannot_be_written_keeps_the_previous_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    save(tmp_path, None)
    checkpoint = checkpoints.add_file(checkpoints.latest_checkpoint(tmp_path), "decoder", {"a": torch.zeros(3)})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for function in ("save_file", "write_state"):
        with monkeypatch.context() as patched:
            patched.setattr(worldmodel.checkpoint.write, function, full)
            with pytest.raises(CheckpointError, match="the checkpoint itself is intact"):
                checkpoints.add_file(checkpoint, "decoder", {"a": torch.ones(3)})
        assert torch.equal(checkpoints.latest_checkpoint(tmp_path).tensors("decoder")["a"], torch.zeros(3))


def test_replacing_a_decoder_removes_the_old_file_and_temporary_files_of_killed_writers(tmp_path: Path):
    save(tmp_path, None)
    opened = checkpoints.latest_checkpoint(tmp_path)
    rest = opened.folder / ".decoder.1-00000000@00000000.part"
    rest.mkdir()
    (rest / ".tmpAbCdEf").write_bytes(b"half")
    os.utime(rest, (0, 0))
    for value in (1.0, 2.0, 2.0):
        checkpoint = checkpoints.add_file(opened, "decoder", {"a": torch.full((3,), value)})
    found = checkpoints.open_checkpoint(opened.folder)
    assert found == checkpoint
    assert found.tensors("decoder")["a"].tolist() == [2.0] * 3
    assert found.tensors("model")["a"].tolist() == [1.0] * 3
    decoder, model, state = sorted(path.name for path in opened.folder.iterdir())
    assert (model, state) == ("model.safetensors", "state.json")
    assert decoder.startswith("decoder-")


# --- loading ---------------------------------------------------------------------------------------------------------
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
        checkpoints.load_into(model, checkpoints.model_tensors(checkpoints.latest_checkpoint(run)), run)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path):
    with pytest.raises(CheckpointError, match="neither a run folder nor a checkpoint"):
        checkpoints.load_model(tmp_path)


def test_a_run_without_a_checkpoint_says_when_the_first_is_written(tmp_path: Path):
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(CheckpointError, match=r"no complete checkpoint yet; the first is written at step checkpoint\.every"):
        checkpoints.load_model(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"\x08", b"\xff" * 64, (8).to_bytes(8, "little") + b"[[[[[[[[", (1 << 62).to_bytes(8, "little") + b"{}"]
)
def test_an_invalid_file_with_the_right_digest_is_reported_in_one_line(tmp_path: Path, content: bytes):
    save(tmp_path, None)
    opened = checkpoints.latest_checkpoint(tmp_path)
    file = opened.folder / "model.safetensors"
    file.write_bytes(content)
    write_state(opened.folder, {**opened.state, "sha256": {file.name: sha256_of(file)}})
    with pytest.raises(CheckpointError, match=r"model\.safetensors cannot be loaded") as raised:
        checkpoints.load_model(tmp_path)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("change", ["shape", "type", "name", "missing"])
def test_an_optimizer_that_does_not_fit_is_refused(saved, change: str):
    run, learner, optimizers = saved
    tensors = checkpoints.gather_tensors(learner, optimizers)
    key = next(key for key in tensors["optimizer"] if not key.endswith("step"))
    value = tensors["optimizer"].pop(key)
    changed = {"shape": (key, value[..., None]), "type": (key, value.double()), "name": (f"x{key}", value)}
    tensors["optimizer"] |= dict([changed[change]]) if change in changed else {}
    checkpoints.save_checkpoint(run, tensors, state_of(3))
    with pytest.raises(CheckpointError, match=re.escape(key)):
        checkpoints.restore_checkpoint(learner, optimizers, checkpoints.latest_checkpoint(run))
