"""VideoMAE predicts pixels of the future from the past: its own loss, no leak, and predictions that are not constant."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from worldmodel.models.pretrained.layouts import PretrainedError
from worldmodel.models.pretrained.load import load_pretrained

FRAMES, SIZE, TOKENS, PATCH = 8, 32, 4, 16
ARCHITECTURE = {
    "image_size": SIZE,
    "num_frames": FRAMES,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "decoder_num_attention_heads": 2,
    "decoder_hidden_size": 24,
    "decoder_num_hidden_layers": 1,
    "decoder_intermediate_size": 48,
}


@pytest.fixture(scope="module")
def theirs():
    from transformers import VideoMAEConfig, VideoMAEForPreTraining

    torch.manual_seed(0)
    model = VideoMAEForPreTraining(VideoMAEConfig(**ARCHITECTURE)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


@pytest.fixture(scope="module")
def folder(theirs, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("videomae")
    theirs.save_pretrained(path)
    return path


def clip(frames: int = FRAMES) -> torch.Tensor:
    return torch.randn(2, frames, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def test_the_distance_of_forecast_and_target_is_their_loss(theirs, folder: Path):
    model, frames = load_pretrained(str(folder)), clip()
    future = (torch.arange(4 * TOKENS) >= 2 * TOKENS).expand(2, -1)
    expected = theirs(frames, bool_masked_pos=future).loss
    found = model.distance(model.forecast(frames[:, :4], 2), model.encode(frames)[:, 2:]).mean()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_predictions_differ_between_tokens_time_steps_clips_and_features(folder: Path):
    """A version of the published protocol set them to zero, and so the baseline that all models were compared with."""
    forecast = load_pretrained(str(folder)).forecast(clip(4), 2)
    assert forecast.shape == (2, 2, TOKENS, 2 * 3 * PATCH**2)
    for axis in range(4):
        assert (forecast.amax(axis) - forecast.amin(axis)).max() > 1e-2


def test_a_forecast_depends_on_its_context_and_not_on_the_number_of_steps(folder: Path):
    model, frames = load_pretrained(str(folder)), clip(4)
    assert not torch.allclose(model.forecast(frames, 1), model.forecast(frames.flip(1), 1))
    torch.testing.assert_close(model.forecast(frames, 2)[:, :1], model.forecast(frames, 1))
    with pytest.raises(ValueError, match="are 10 frames, but this model's window has 8"):
        model.forecast(clip(6), 2)


def test_a_target_depends_on_its_own_frames_only(folder: Path):
    model, before = load_pretrained(str(folder)), clip()
    after = before.clone()
    after[:, 4:] += torch.randn(1)
    assert model.target_scope == "past"
    assert torch.equal(model.encode(before)[:, :2], model.encode(after)[:, :2])


def test_a_rollout_goes_beyond_the_window(folder: Path):
    rolled_out = load_pretrained(str(folder)).rollout(clip(4), 7)
    assert rolled_out.shape == (2, 7, TOKENS, 1536)
    assert rolled_out.isfinite().all()


def test_a_decoder_that_is_not_complete_is_refused(folder: Path, tmp_path: Path):
    shutil.copytree(folder, tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in tensors.items() if name != "decoder.norm.weight"}
    save_file(kept, tmp_path / "model" / "model.safetensors")
    with pytest.raises(PretrainedError, match=r"decoder\.norm\.weight is missing"):
        load_pretrained(str(tmp_path / "model"))


def test_the_architecture_is_the_same_wherever_the_folder_lies(folder: Path, tmp_path: Path):
    """It is part of keys of caches, and of recipes that are exported."""
    other = load_pretrained(str(shutil.copytree(folder, tmp_path / "secret-project")))
    assert other.architecture == load_pretrained(str(folder)).architecture
    assert "secret-project" not in str(other.architecture)


def test_a_reinitialised_model_has_the_same_architecture_and_other_weights(folder: Path):
    model = load_pretrained(str(folder))
    fresh = model.reinitialised()
    assert fresh.architecture == model.architecture
    assert not torch.equal(fresh.net.decoder.head.weight, model.net.decoder.head.weight)


@pytest.mark.parametrize(
    ("key", "value"), [("hidden_size", "abc"), ("hidden_size", 10**12), ("num_frames", 0), ("image_size", None)]
)
def test_an_impossible_value_is_a_one_line_error_that_names_the_file(folder: Path, tmp_path: Path, key: str, value: object):
    shutil.copytree(folder, tmp_path / "model")
    config = tmp_path / "model" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), key: value}))
    with pytest.raises(PretrainedError, match=re.escape(str(config))) as error:
        load_pretrained(str(tmp_path / "model"))
    assert "\n" not in str(error.value)


def test_an_index_cannot_name_files_outside_the_folder(folder: Path, tmp_path: Path):
    shutil.copytree(folder, tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    weights.rename(tmp_path / "x.safetensors")
    shutil.copy(tmp_path / "x.safetensors", tmp_path / "model" / "part.safetensors")
    index = tmp_path / "model" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"decoder.norm.bias": "../x.safetensors"}}))
    with pytest.raises(PretrainedError, match=re.escape(str(index))):
        load_pretrained(str(tmp_path / "model"))
