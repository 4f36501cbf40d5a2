"""`init_from: hf:FOLDER`: every published weight is loaded, and a model that differs in one layer is refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from worldmodel.checkpoint import CheckpointError
from worldmodel.config import ConfigError
from worldmodel.recipe import Recipe
from worldmodel.runs.initial_weights import check_initial_weights, load_initial_weights
from worldmodel.runs.run_data import resolve_paths
from worldmodel.training.setup import build_learner

PUBLISHED = {
    "crop_size": 32,
    "patch_size": 8,
    "frames_per_clip": 8,
    "hidden_size": 48,
    "num_attention_heads": 3,
    "num_hidden_layers": 2,
    "pred_hidden_size": 24,
    "pred_num_attention_heads": 2,
    "pred_num_hidden_layers": 2,
    "pred_num_mask_tokens": 3,
}
MODEL = {
    "kind": "masked",
    "tiled_rotary": True,
    "encoder": {"patch_px": 8, "tubelet_size": 2, "width": 48, "depth": 2, "heads": 3},
    "predictor": {"width": 24, "depth": 2, "heads": 2, "mask_tokens": 3},
}


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory):
    from transformers import VJEPA2Config, VJEPA2Model

    torch.manual_seed(0)
    model = VJEPA2Model(VJEPA2Config(**PUBLISHED)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    folder = tmp_path_factory.mktemp("published")
    model.save_pretrained(folder)
    return model, folder


def recipe(folder: Path, model: dict | None = None, **window: object) -> Recipe:
    return Recipe.model_validate(
        {
            "init_from": f"hf:{folder}",
            "model": MODEL if model is None else model,
            "window": {"frames": 8, "fps": 4, "size_px": 32, **window},
            "objectives": {"forecast": {"kind": "forecast", "distance": "l1"}},
            "decoder": {"max_steps": 0},
        }
    )


def test_every_weight_comes_from_the_file_and_the_teacher_starts_as_the_published_encoder(theirs):
    model, folder = theirs
    given = recipe(folder)
    check_initial_weights(given)
    torch.manual_seed(1)
    learner, untrained = build_learner(given), torch.random.get_rng_state()
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    assert load_initial_weights(learner, given) == folder
    assert torch.equal(torch.random.get_rng_state(), untrained)
    assert not [name for name, value in learner.state_dict().items() if torch.equal(value, before[name])]
    clip = torch.randn(2, 8, 3, 32, 32)
    expected = model(clip, skip_predictor=True).last_hidden_state
    for encoder in (learner.model.encoder, learner.model.teacher):
        torch.testing.assert_close(encoder(clip), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("window", [{"size_px": 48}, {"size_px": 24, "width_px": 40}, {"frames": 12}, {"fps": 2.0}])
def test_another_resolution_aspect_ratio_length_or_rate_takes_the_same_weights(theirs, window: dict):
    _, folder = theirs
    given = recipe(folder, **window)
    check_initial_weights(given)
    learner = build_learner(given)
    load_initial_weights(learner, given)
    height, width = given.window.frame_px
    latents = learner.model(torch.randn(2, given.window.frames, 3, height, width), torch.arange(2), 0)
    assert latents.context.shape[1:3] == (given.window.frames // 2, height * width // 64)
    assert latents.predicted.isfinite().all()


def test_a_recipe_with_more_predictor_blocks_than_the_file_is_refused_with_the_setting_that_fits(theirs):
    """vjepa2 #149 and PR 150: a config said 24 predictor blocks, the file had 12, and the rest stayed random, unnoticed."""
    _, folder = theirs
    with pytest.raises(ConfigError) as error:
        check_initial_weights(recipe(folder, {**MODEL, "predictor": {**MODEL["predictor"], "depth": 4, "mask_tokens": None}}))
    assert str(error.value).endswith("set model.predictor.depth=2 model.predictor.mask_tokens=3")
    with pytest.raises(ConfigError, match=r"set model.kind=masked model.tiled_rotary=true model.encoder.patch_px=8"):
        check_initial_weights(Recipe.model_validate({"init_from": f"hf:{folder}"}))


@pytest.mark.parametrize("part", ["predictor.layer.1", "encoder.layer.1"])
def test_a_file_with_fewer_blocks_than_its_config_is_refused(theirs, tmp_path: Path, part: str):
    """The same mistake within the published folder: the config names blocks that the file does not have."""
    _, folder = theirs
    shutil.copytree(folder, tmp_path / "cut")
    tensors = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in tensors.items() if not name.startswith(f"{part}.")}
    save_file(kept, tmp_path / "cut" / "model.safetensors")
    given = recipe(tmp_path / "cut")
    with pytest.raises(CheckpointError, match=rf"{part}\.\S+ is missing"):
        load_initial_weights(build_learner(given), given)


def test_a_folder_of_another_kind_or_none_is_a_config_error(tmp_path: Path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "videomae"}))
    with pytest.raises(ConfigError, match="training starts from vjepa2"):
        check_initial_weights(recipe(tmp_path))
    with pytest.raises(ConfigError, match=r"init_from: .*not a folder"):
        check_initial_weights(recipe(tmp_path / "none"))


def test_a_folder_is_recorded_as_an_absolute_path_and_an_id_as_it_is(theirs, tmp_path: Path, monkeypatch):
    _, folder = theirs
    monkeypatch.chdir(folder.parent)
    assert resolve_paths(recipe(Path(folder.name)), None).init_from == f"hf:{folder}"
    assert resolve_paths(recipe(Path("owner/name")), None).init_from == "hf:owner/name"


def test_adapters_start_on_the_published_weights(theirs):
    model, folder = theirs
    given = recipe(folder, {**MODEL, "lora": {"rank": 2}})
    check_initial_weights(given)
    learner = build_learner(given)
    adapter = learner.model.encoder.blocks.layers[1].attention.qkv.parametrizations.weight[0]
    before = adapter.down.clone()
    load_initial_weights(learner, given)
    assert torch.equal(adapter.down, before)
    clip = torch.randn(2, 8, 3, 32, 32)
    expected = model(clip, skip_predictor=True).last_hidden_state
    for encoder in (learner.model.encoder, learner.model.teacher):
        torch.testing.assert_close(encoder(clip), expected, rtol=1e-5, atol=1e-5)
