"""`python -m worldmodel.export`: what it writes loads as the model, and no file of the user is overwritten."""

import json
import sys
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from worldmodel.checkpoint import CheckpointError, gather_tensors, load_model, save_checkpoint
from worldmodel.export import main
from worldmodel.models.pretrained.load import load_pretrained
from worldmodel.models.weights_hash import weights_hash
from worldmodel.recipe import Recipe
from worldmodel.training.optimizer import build_optimizers
from worldmodel.training.setup import build_learner

MASKED = {
    "kind": "masked",
    "encoder": {"patch_px": 8, "width": 24, "depth": 1, "heads": 2},
    "predictor": {"width": 24, "depth": 1, "heads": 2},
    "tiled_rotary": True,
}


def save_run(run: Path, model: dict) -> Path:
    """A run folder with one checkpoint of an untrained model."""
    forecast = {"kind": "forecast", "distance": "l1" if model["kind"] == "masked" else "l2"}
    fields = {"model": model, "window": {"frames": 16, "size_px": 32}, "objectives": {"forecast": forecast}}
    recipe = Recipe.model_validate({**fields, "init_from": "runs/before" if "lora" in model else None})
    torch.manual_seed(0)
    learner = build_learner(recipe)
    for name, value in learner.named_parameters():
        if name.endswith("parametrizations.weight.0.up"):
            torch.nn.init.normal_(value, std=0.1)
    tensors = gather_tensors(learner, build_optimizers(learner, recipe.optim))
    machine = {"run_folder": "/home/someone/runs/x", "machine": {"cores": 2}}
    save_checkpoint(run, tensors, {"step": 5, "recipe": recipe.model_dump(mode="json"), **machine})
    return run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return save_run(tmp_path / "run", MASKED)


def test_the_huggingface_export_encodes_and_forecasts_as_the_model(run: Path, tmp_path: Path):
    assert main([str(run), "--to", f"hf:{tmp_path / 'hf'}"]) == 0
    ours, theirs = load_model(run)[0], load_pretrained(str(tmp_path / "hf"))
    frames = torch.randn(2, 16, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    assert torch.equal(theirs.encode(frames), ours.encode(frames))  # targets come from the teacher
    assert {path.name for path in (tmp_path / "hf").iterdir()} >= {"config.json", "model.safetensors"}


def test_the_export_in_the_original_layout_has_its_three_sections(run: Path, tmp_path: Path):
    assert main([str(run), "--to", f"vjepa2:{tmp_path / 'model.pt'}"]) == 0
    assert torch.load(tmp_path / "model.pt", weights_only=True).keys() == {"encoder", "predictor", "target_encoder"}


@pytest.mark.parametrize(("layout", "name"), [("hf:", "out/config.json"), ("vjepa2:", "out")])
def test_a_file_of_the_user_is_not_overwritten_but_an_earlier_export_is(run, tmp_path, capsys, layout: str, name: str):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("{}")
    assert main([str(run), "--to", f"{layout}{tmp_path / 'out'}"]) == 2
    assert "was not written by this command" in capsys.readouterr().err
    assert (tmp_path / name).read_text() == "{}"
    (tmp_path / name).unlink()
    for _ in range(2):
        assert main([str(run), "--to", f"{layout}{tmp_path / 'out'}"]) == 0


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"kind": "causal"}, "only models of kind masked fit this layout"),
        ({**MASKED, "tiled_rotary": False}, "need a model with tiled_rotary true"),
    ],
)
def test_a_model_that_the_layout_cannot_hold_is_refused_and_nothing_is_left(tmp_path, capsys, model: dict, message: str):
    run = save_run(tmp_path / "run", model)
    assert main([str(run), "--to", f"hf:{tmp_path / 'hf'}"]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "hf").exists()


def test_an_unknown_layout_or_a_missing_run_is_reported(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--to", "onnx:x"])
    assert "expected hf:FOLDER, model:FOLDER or vjepa2:FILE" in capsys.readouterr().err
    assert main([str(tmp_path / "none"), "--to", "hf:x"]) == 2
    assert "neither a run folder nor a checkpoint" in capsys.readouterr().err


def test_transformers_gives_the_outputs_of_the_model(run: Path, tmp_path: Path):
    from transformers import VJEPA2Model

    assert main([str(run), "--to", f"hf:{tmp_path / 'hf'}"]) == 0
    ours, theirs = load_model(run)[0], VJEPA2Model.from_pretrained(tmp_path / "hf").eval()
    frames = torch.randn(2, 16, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    encoded = theirs(frames, skip_predictor=True).last_hidden_state
    torch.testing.assert_close(ours.teacher(frames), encoded, rtol=1e-5, atol=1e-5)
    past, future = (torch.arange(first, last).expand(2, -1) for first, last in ((0, 64), (64, 128)))
    alone = theirs(frames[:, :8], skip_predictor=True).last_hidden_state
    padded = torch.cat((alone, torch.zeros_like(alone)), dim=1)
    predicted = theirs.predictor(padded, [past], [future]).last_hidden_state
    ours.encoder.load_state_dict(ours.teacher.state_dict())  # the published layout has one encoder
    torch.testing.assert_close(ours.forecast(frames[:, :8], 4).flatten(1, 2), predicted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("views", [1, 2])
def test_a_grid_of_two_by_two_tokens_is_exported_and_forecasts_as_the_model(tmp_path: Path, views: int):
    """The published layout names no masks, and the default ones would cover the whole grid."""
    small = {**MASKED, "encoder": {**MASKED["encoder"], "patch_px": 16}, "masks": [{"blocks": 1, "area": 0.25}] * views}
    run = save_run(tmp_path / "run", small)
    assert main([str(run), "--to", f"hf:{tmp_path / 'hf'}"]) == 0
    ours, theirs = load_model(run)[0], load_pretrained(str(tmp_path / "hf"))
    ours.encoder.load_state_dict(ours.teacher.state_dict())  # the published layout has one encoder
    frames = torch.randn(2, 8, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    assert torch.equal(theirs.forecast(frames, 2), ours.forecast(frames, 2))
    assert theirs.latent_shape == (4, 24)
    assert theirs.fps == ours.fps == 12


# --- checkpoints for load_model, model cards and the hub -------------------------------------------------------------
def test_a_checkpoint_export_loads_by_one_line_and_names_no_path_of_this_machine(run: Path, tmp_path: Path, monkeypatch):
    import huggingface_hub

    assert main([str(run), "--to", f"model:{tmp_path / 'out'}"]) == 0
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **_: str(tmp_path / "out"))
    for where in (tmp_path / "out", f"hf:{tmp_path / 'out'}", "hf:someone/model"):
        model, recipe = load_model(where)
        assert all(
            torch.equal(a, b)
            for a, b in zip(model.state_dict().values(), load_model(run)[0].state_dict().values(), strict=True)
        )
    assert (recipe.run, recipe.data.manifest, recipe.data.make) == ("demo", "train.parquet", None)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"model.safetensors", "ema.safetensors", "state.json", "README.md"} <= names
    assert "optimizer.safetensors" not in names
    for name in ("state.json", "README.md"):
        text = (tmp_path / "out" / name).read_text()
        assert "someone" not in text
        assert str(tmp_path) not in text


@pytest.mark.parametrize("layout", ["hf", "model"])
def test_adapters_are_merged_into_the_exported_weights(tmp_path: Path, layout: str):
    run = save_run(tmp_path / "run", {**MASKED, "lora": {"rank": 2}, "target": {"kind": "shared", "stop_gradient": True}})
    ours, target = load_model(run)[0], tmp_path / "out"
    assert main([str(run), "--to", f"{layout}:{target}"]) == 0
    theirs = load_pretrained(str(target)) if layout == "hf" else load_model(target)[0]
    frames = torch.randn(2, 8, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    assert torch.equal(theirs.forecast(frames, 4), ours.forecast(frames, 4))
    assert theirs.config.lora is None
    assert not torch.equal(theirs.encoder.blocks.layers[0].attention.qkv.weight, base_weight(ours))


def base_weight(model) -> torch.Tensor:
    return model.encoder.blocks.layers[0].attention.qkv.parametrizations.weight.original


def test_the_card_has_health_and_scores_of_these_weights_only(run: Path, tmp_path: Path):
    measured = {"advice": "x", "effective_rank": 3.0, "skill/0.5": 0.25, "skill/1.0": None, "skill/2.0": float("nan")}
    rows = [{"step": s, "verdict": v, **measured} for s, v in ((4, "healthy"), (9, "collapsed"))]
    digest = weights_hash(load_model(run)[0])
    (run / "health.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, step, of in (("voe", 5, digest), ("voe_old", 3, digest), ("voe_other", 5, "0" * 16)):
        (run / name).mkdir()
        protocol = {"model": {"step": step, "hash": of}, "suite": {"name": "builtin", "trials": 7}}
        (run / name / "protocol.json").write_text(json.dumps(protocol))
        (run / name / "table.md").write_text(f"table of {name}")
    assert main([str(run), "--to", f"hf:{tmp_path / 'hf'}"]) == 0
    card = (tmp_path / "hf" / "README.md").read_text()
    assert "Verdict at step 4: **healthy**" in card
    assert "table of voe" in card
    assert "table of voe_o" not in card
    assert [line for line in card.splitlines() if "skill/" in line] == ["| forecast skill/0.5 s | 0.250 |"]
    assert "tiled_rotary: true" in card


def test_a_checkpoint_outside_of_a_run_has_no_health_scores_or_name_of_the_folders_above_it(run: Path, tmp_path: Path):
    """It may lie two folders below another run, whose health and name are none of its own."""
    other = tmp_path / "secret-project"
    exported = other / "out" / "mine"
    assert main([str(run), "--to", f"model:{exported}"]) == 0
    for folder in (other, tmp_path):
        row = {"step": 4, "verdict": "collapsed", "advice": "of another run"}
        (folder / "health.jsonl").write_text(json.dumps(row) + "\n")
    protocol = {"model": {"step": 5, "hash": weights_hash(load_model(run)[0])}, "suite": {"name": "x", "trials": 7}}
    for folder in (other / "voe", exported / "voe"):
        folder.mkdir()
        (folder / "protocol.json").write_text(json.dumps(protocol))
        (folder / "table.md").write_text(f"table in {folder.parent.name}")
    for place in (exported, tmp_path / "00000005", tmp_path / "checkpoints" / "mine"):
        place.parent.mkdir(exist_ok=True)
        exported = exported.rename(place)
        assert main([str(place), "--to", f"hf:{tmp_path / 'hf'}"]) == 0
        card = (tmp_path / "hf" / "README.md").read_text()
        assert f"# {place.name}\n" in card
        assert "No health check is known" in card
        assert "secret-project" not in card
        assert "table in mine" in card


class Hub:
    """Records what would be uploaded."""

    calls: ClassVar[list[tuple[str, dict]]] = []

    def create_repo(self, model_id: str, **kwargs: object) -> None:
        self.calls.append((model_id, kwargs))

    def upload_folder(self, **kwargs: object) -> None:
        self.calls.append((str(kwargs["repo_id"]), kwargs))


def test_push_uploads_the_files_of_the_export_and_no_other(run: Path, tmp_path: Path, monkeypatch, capsys):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    assert main([str(run), "--to", f"hf:{tmp_path / 'hf'}", "--push", "someone/tiny", "--private"]) == 0
    (_, created), (name, uploaded) = Hub.calls
    assert (name, created["private"]) == ("someone/tiny", True)
    assert sorted(uploaded["allow_patterns"]) == ["README.md", "config.json", "model.safetensors"]
    assert 'from_pretrained("someone/tiny")' in (tmp_path / "hf" / "README.md").read_text()
    assert "uploaded to https://huggingface.co/someone/tiny" in capsys.readouterr().out


def test_push_without_the_library_says_what_to_install_and_the_export_stays(run: Path, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert main([str(run), "--to", f"model:{tmp_path / 'out'}", "--push", "someone/tiny"]) == 2
    assert "pip install 'worldmodel[hf]'" in capsys.readouterr().err
    assert load_model(tmp_path / "out")[1].run == "demo"


def test_a_folder_with_only_a_pickle_is_refused_with_its_name(tmp_path: Path):
    (tmp_path / "weights.pt").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"weights\.pt and no state\.json.*pickles, which can run code"):
        load_model(tmp_path)
