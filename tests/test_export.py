"""`python -m worldmodel.export`: what it writes loads as the model, and no file of the user is overwritten."""

from pathlib import Path

import pytest
import torch

from worldmodel.checkpoint import gather_tensors, load_model, save_checkpoint
from worldmodel.export import main
from worldmodel.models.pretrained.load import load_pretrained
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
    recipe = Recipe.model_validate(fields)
    torch.manual_seed(0)
    learner = build_learner(recipe)
    tensors = gather_tensors(learner, build_optimizers(learner, recipe.optim))
    save_checkpoint(run, tensors, {"step": 5, "recipe": recipe.model_dump(mode="json")})
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
        ({"kind": "causal"}, "only models of kind masked can be exported"),
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
    assert "expected hf:FOLDER or vjepa2:FILE" in capsys.readouterr().err
    assert main([str(tmp_path / "none"), "--to", "hf:x"]) == 2
    assert "neither a run folder nor a checkpoint" in capsys.readouterr().err
