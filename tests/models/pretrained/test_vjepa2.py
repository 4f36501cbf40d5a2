"""V-JEPA 2 weights give the outputs of the original code; errors name what does not fit."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from published_layers import block, norm, plain_block
from safetensors.torch import load_file, save_file

from worldmodel.models import build_model
from worldmodel.models.blocks.rotary import grid_positions
from worldmodel.models.masked import MaskedWorldModel
from worldmodel.models.pretrained.layouts import PretrainedError, to_ours
from worldmodel.models.pretrained.load import load_pretrained
from worldmodel.models.pretrained.vjepa2 import (
    UNUSED_TABLES,
    encoder_pairs,
    load_huggingface,
    load_original,
    save_huggingface,
    save_original,
)
from worldmodel.models.targets import EmaTarget
from worldmodel.models.video_encoder import VideoEncoder, VideoEncoderConfig

FRAMES, SIZE, PATCH, TOKENS = 8, 32, 8, 16
ARCHITECTURE = {
    "crop_size": SIZE,
    "patch_size": PATCH,
    "frames_per_clip": FRAMES,
    "hidden_size": 48,
    "num_attention_heads": 3,
    "num_hidden_layers": 3,
    "mlp_ratio": 48 / 11,
    "pred_hidden_size": 32,
    "pred_num_attention_heads": 2,
    "pred_num_hidden_layers": 2,
    "pred_num_mask_tokens": 3,
}


def vjepa2(**changed: object):
    """A VJEPA2Model of transformers with random weights, also for mask tokens and biases."""
    from transformers import VJEPA2Config, VJEPA2Model

    torch.manual_seed(0)
    model = VJEPA2Model(VJEPA2Config(**{**ARCHITECTURE, **changed})).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


@pytest.fixture(scope="module")
def theirs():
    return vjepa2()


@pytest.fixture(scope="module")
def folder(theirs, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("vjepa2")
    theirs.save_pretrained(path)
    return path


def clip(frames: int = FRAMES, size: int = SIZE) -> torch.Tensor:
    return torch.randn(2, frames, 3, size, size, generator=torch.Generator().manual_seed(1))


def numbers(*tokens: range) -> list[torch.Tensor]:
    return [torch.tensor(list(some)).expand(2, -1) for some in tokens]


# --- V-JEPA 2 --------------------------------------------------------------------------------------------------------
def test_the_encoder_equals_that_of_transformers(theirs, folder: Path):
    ours = load_huggingface(folder)
    for frames in (FRAMES, 4):
        expected = theirs(clip(frames), skip_predictor=True).last_hidden_state
        torch.testing.assert_close(ours.encoder(clip(frames)), expected, rtol=1e-5, atol=1e-5)
    ours.encoder.tiled_rotary = False  # the weights were not trained with the correct rotation
    assert not torch.allclose(ours.encoder(clip()), theirs(clip(), skip_predictor=True).last_hidden_state, atol=1e-3)


def test_the_predictor_equals_that_of_transformers(theirs, folder: Path):
    ours, frames = load_huggingface(folder), clip()
    here, there = numbers((3, 1, 18, 42, 60), (0, 2, 19, 40, 63, 33))
    encoded = theirs(frames, skip_predictor=True).last_hidden_state
    expected = theirs.predictor(encoded, [here], [there]).last_hidden_state
    positions = grid_positions(FRAMES // 2, SIZE // PATCH, frames.device)
    found = ours.predictor(encoded[:, here[0]], [here], [there], [1], positions)  # transformers uses the second mask token
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_a_forecast_is_their_predictor_on_a_context_encoded_alone(theirs, folder: Path):
    ours, frames = load_pretrained(str(folder)), clip()
    past, future = numbers(range(2 * TOKENS), range(2 * TOKENS, 4 * TOKENS))
    alone = theirs(frames[:, :4], skip_predictor=True).last_hidden_state
    padded = torch.cat((alone, torch.full_like(alone, torch.nan)), dim=1)  # without future frames
    expected = theirs.predictor(padded, [past], [future]).last_hidden_state
    torch.testing.assert_close(ours.forecast(frames[:, :4], 2).flatten(1, 2), expected, rtol=1e-5, atol=1e-5)


def test_the_standard_call_of_transformers_leaks_the_future_and_ours_does_not(theirs, folder: Path):
    ours, before = load_pretrained(str(folder)), clip()
    after = before.clone()
    after[:, 4:] += 1
    past, future = numbers(range(2 * TOKENS), range(2 * TOKENS, 4 * TOKENS))
    leaky = [theirs(x, context_mask=[past], target_mask=[future]).predictor_output.last_hidden_state for x in (before, after)]
    assert not torch.allclose(*leaky)
    assert torch.equal(*(ours.forecast(x[:, :4], 2) for x in (before, after)))


def test_targets_are_layer_normalised(theirs, folder: Path):
    ours, frames = load_pretrained(str(folder)), clip()
    raw = theirs(frames, skip_predictor=True).last_hidden_state
    expected = (raw - raw.mean(-1, keepdim=True)) / raw.std(-1, unbiased=False, keepdim=True)
    torch.testing.assert_close(ours.encode(frames).flatten(1, 2), expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(raw, expected, atol=0.05)


def test_frames_of_another_size_get_the_positions_of_a_model_built_for_it(theirs, folder: Path, tmp_path: Path):
    """The code of transformers computes rows and columns from its configured size, whatever the size of the frames."""
    wide = vjepa2(crop_size=48)
    wide.load_state_dict(theirs.state_dict())
    wide.save_pretrained(tmp_path)
    frames = clip(size=48)
    expected = wide(frames, skip_predictor=True).last_hidden_state
    torch.testing.assert_close(load_huggingface(tmp_path).encoder(frames), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(load_huggingface(folder).encoder(frames), expected, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(theirs(frames, skip_predictor=True).last_hidden_state, expected, atol=1e-3)
    assert torch.equal(
        load_huggingface(folder).forecast(frames[:, :4], 1), load_huggingface(tmp_path).forecast(frames[:, :4], 1)
    )


def test_saving_and_loading_changes_no_bit_and_transformers_opens_the_folder(theirs, folder: Path, tmp_path: Path):
    from transformers import VJEPA2Model

    save_huggingface(load_huggingface(folder), tmp_path)
    before, after = load_file(folder / "model.safetensors"), load_file(tmp_path / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    again, report = VJEPA2Model.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    expected = theirs(clip()).predictor_output.last_hidden_state
    assert torch.equal(again.eval()(clip()).predictor_output.last_hidden_state, expected)
    assert json.loads((tmp_path / "config.json").read_text())["mlp_ratio"] == 48 / 11


def with_teacher(folder: Path) -> MaskedWorldModel:
    """The same architecture with a teacher, all weights random."""
    like = load_huggingface(folder)
    model = build_model(like.config.model_copy(update={"target": EmaTarget()}), like.window)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += torch.randn_like(parameter)
    return model


def test_saving_and_loading_the_original_layout_changes_no_bit(folder: Path, tmp_path: Path):
    torch.manual_seed(0)
    model, other = with_teacher(folder), with_teacher(folder)
    save_original(model, tmp_path / "latest.pt")
    load_original(tmp_path / "latest.pt", other)
    for (name, one), two in zip(model.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(one, two), name


def test_a_model_without_a_teacher_loads_the_released_teacher_as_its_encoder(folder: Path, tmp_path: Path):
    model, plain = with_teacher(folder), load_huggingface(folder)
    save_original(model, tmp_path / "latest.pt")
    load_original(tmp_path / "latest.pt", plain)
    assert torch.equal(plain.encode(clip()), model.encode(clip()))
    save_huggingface(model, tmp_path / "hf")
    assert torch.equal(load_huggingface(tmp_path / "hf").encode(clip()), model.encode(clip()))


def test_fused_rows_of_the_original_are_query_key_value_in_this_order(theirs, folder: Path, tmp_path: Path):
    """The original file is written here with the names of the original code, from the weights of transformers."""
    content: dict[str, dict[str, torch.Tensor]] = {"target_encoder": {}, "predictor": {}}
    for key, value in theirs.state_dict().items():
        module, name = key.split(".", 1)
        section = content["target_encoder" if module == "encoder" else "predictor"]
        blocks, last = ("blocks", "norm") if module == "encoder" else ("predictor_blocks", "predictor_norm")
        name = name.replace("layer.", f"{blocks}.", 1) if name.startswith("layer.") else name
        name = name.replace("layernorm", last).replace("attention.", "attn.")
        name = name.replace("embeddings.patch_embeddings", "patch_embed")
        name = name.replace("embeddings.predictor_embeddings", "predictor_embed")
        name = f"predictor_{name}" if name.startswith("proj") else name
        if name.endswith("mask_tokens"):
            section |= {f"module.backbone.mask_tokens.{i}": token for i, token in enumerate(value)}
        elif "attn.query" in name:
            rows = [theirs.state_dict()[key.replace("query", part)] for part in ("query", "key", "value")]
            section[f"module.backbone.{name.replace('query', 'qkv')}"] = torch.cat(rows)
        elif "attn.key" not in name and "attn.value" not in name:
            section[f"module.backbone.{name}"] = value
    torch.save({**content, "epoch": 3}, tmp_path / "released.pt")
    model = load_huggingface(folder)
    for parameter in model.parameters():
        parameter.data.zero_()
    load_original(tmp_path / "released.pt", model)
    for (name, one), two in zip(model.state_dict().items(), load_huggingface(folder).state_dict().values(), strict=True):
        assert torch.equal(one, two), name


def test_a_table_of_positions_is_refused_unless_it_is_listed_as_unused(folder: Path, tmp_path: Path):
    model = load_huggingface(folder)
    save_original(model, tmp_path / "a.pt")
    content = torch.load(tmp_path / "a.pt", weights_only=True)
    content["target_encoder"]["module.backbone.pos_embed"] = torch.zeros(1, 64, 48)
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(PretrainedError, match="pos_embed is not part of this model"):
        load_original(tmp_path / "a.pt", model)
    load_original(tmp_path / "a.pt", model, unused=UNUSED_TABLES)


class Command:
    """An object that runs code when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


def test_a_checkpoint_that_would_run_code_is_refused(folder: Path, tmp_path: Path):
    torch.save({"predictor": {}, "target_encoder": Command(tmp_path / "ran")}, tmp_path / "a.pt")
    with pytest.raises(PretrainedError, match="holds more than tensors"):
        load_original(tmp_path / "a.pt", load_huggingface(folder))
    assert not (tmp_path / "ran").exists()


def test_keys_that_do_not_fit_are_named(folder: Path, tmp_path: Path):
    weights = load_file(folder / "model.safetensors")
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    weights["encoder.layer.9.norm1.weight"] = weights.pop("predictor.layer.1.mlp.fc2.bias")
    weights["predictor.proj.bias"] = torch.zeros(7)
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(PretrainedError) as caught:
        load_huggingface(tmp_path)
    assert "predictor.layer.1.mlp.fc2.bias is missing" in str(caught.value)
    assert "encoder.layer.9.norm1.weight is not part of this model" in str(caught.value)
    assert r"predictor.proj.bias is (7,), this model needs (48,)" in str(caught.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "vjepa2", "layer_norm_eps": 1e-5}, "layer_norm_eps 1e-05 is not supported"),
        ({"model_type": "vjepa2", **ARCHITECTURE}, "no .*safetensors"),
        ({"model_type": "bert"}, "kind 'bert'; known kinds are vjepa2, videomae, dinov2"),
        ({}, "has no field model_type"),
    ],
)
def test_a_folder_that_cannot_be_read_is_refused(config: dict, message: str, tmp_path: Path):
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(PretrainedError, match=message):
        load_pretrained(str(tmp_path))


def test_a_name_that_is_neither_a_folder_nor_a_model_id_is_refused():
    with pytest.raises(PretrainedError, match="not a folder"):
        load_pretrained("runs/nothing/here")


def test_a_model_id_is_downloaded_from_the_hub(folder: Path, monkeypatch: pytest.MonkeyPatch):
    import huggingface_hub

    requested = []
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **_: requested.append(name) or str(folder))
    assert load_pretrained("someone/vjepa2-tiny").latent_shape == (TOKENS, 48)
    assert requested == ["someone/vjepa2-tiny"]


def test_a_reinitialised_model_has_the_same_architecture_and_other_weights(folder: Path):
    model = load_huggingface(folder)
    fresh = model.reinitialised()
    assert fresh.architecture == model.architecture
    assert not torch.equal(fresh.encoder.patch.weight, model.encoder.patch.weight)


# --- positions and blocks --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("frames", "rows", "columns"), [(4, 2, 3), (2, 3, 1)])
def test_positions_of_rectangles_and_of_other_lengths_are_step_row_and_column(frames: int, rows: int, columns: int):
    """A plain second implementation, token by token: positions are not rescaled for another resolution, shape or length."""
    torch.manual_seed(0)
    config = VideoEncoderConfig(patch_px=PATCH, tubelet_size=2, width=24, depth=1, heads=2)
    encoder = VideoEncoder(config, tiled_rotary=True)
    weights = {**block(24, "blocks.0"), **norm(24, "norm")}
    weights |= {"patch_embed.proj.weight": torch.randn(24, 3, 2, PATCH, PATCH), "patch_embed.proj.bias": torch.randn(24)}
    state = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    ours = to_ours(encoder_pairs("encoder", config), weights, state, "")
    encoder.load_state_dict({name.removeprefix("encoder."): value for name, value in ours.items()})
    video = torch.randn(1, frames, 3, rows * PATCH, columns * PATCH)
    kernel, bias = weights["patch_embed.proj.weight"], weights["patch_embed.proj.bias"]
    x = F.conv3d(video.transpose(1, 2), kernel, bias, stride=kernel.shape[2:])[0].flatten(1).T
    places = [(t, r, c) for t in range(frames // 2) for r in range(rows) for c in range(columns)]
    x = plain_block(weights, "blocks.0", x, 2, places, tiled=True)
    expected = F.layer_norm(x, (24,), weights["norm.weight"], weights["norm.bias"], 1e-6)
    torch.testing.assert_close(encoder(video)[0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("part", ["encoder", "predictor"])
def test_a_model_with_more_blocks_than_an_original_file_is_refused(folder: Path, tmp_path: Path, part: str):
    """vjepa2 #149 and PR 150: with strict=False the blocks that the file does not have stay random, unnoticed."""
    model = load_huggingface(folder)
    save_original(model, tmp_path / "released.pt")
    config = getattr(model.config, part)
    deeper = model.config.model_copy(update={part: config.model_copy(update={"depth": config.depth + 1})})
    with pytest.raises(PretrainedError, match=rf"blocks\.{config.depth}\.\S+ is missing"):
        load_original(tmp_path / "released.pt", MaskedWorldModel(deeper, model.window))
    shallower = model.config.model_copy(update={part: config.model_copy(update={"depth": config.depth - 1})})
    with pytest.raises(PretrainedError, match=rf"blocks\.{config.depth - 1}\.\S+ is not part of this model"):
        load_original(tmp_path / "released.pt", MaskedWorldModel(shallower, model.window))
