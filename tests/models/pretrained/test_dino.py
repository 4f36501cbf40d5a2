"""DINOv2 and DINOv3: patch tokens are those of transformers, each frame alone, and nothing is silently untrained."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from worldmodel.models.pretrained.dino import DinoFrames
from worldmodel.models.pretrained.layouts import PretrainedError
from worldmodel.models.pretrained.load import load_pretrained
from worldmodel.models.world_model import FrameWise, Layered, SharedContext

SIZE, PATCH, N, D = 32, 8, 16, 24
SIZES = {"hidden_size": D, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": SIZE, "patch_size": PATCH}
KINDS = {
    "Dinov2": ({}, 1),
    "Dinov2WithRegisters": ({"num_register_tokens": 2}, 3),
    "DINOv3ViT": ({"num_register_tokens": 4, "intermediate_size": 48}, 5),
}  # class -> further fields, tokens before the patches


@pytest.fixture(scope="module", params=KINDS)
def saved(request, tmp_path_factory):
    import transformers

    fields, before = KINDS[request.param]
    torch.manual_seed(0)
    config = getattr(transformers, f"{request.param}Config")(**SIZES, **fields)
    theirs = getattr(transformers, f"{request.param}Model")(config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    folder = tmp_path_factory.mktemp(request.param)
    theirs.save_pretrained(folder)
    return theirs, folder, before


def clip(frames: int = 4) -> torch.Tensor:
    return torch.randn(2, frames, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def test_latents_are_the_normed_patch_tokens_of_each_frame(saved):
    theirs, folder, before = saved
    model, frames = load_pretrained(str(folder)), clip()
    expected = theirs(frames.flatten(0, 1)).last_hidden_state[:, before:].unflatten(0, (2, 4))
    torch.testing.assert_close(model.encode(frames), expected, rtol=1e-5, atol=1e-5)
    assert model.latent_shape == (N, D)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    layers = model.layers(frames)
    assert list(layers) == ["patches", "block 1", "block 2", "output"]
    assert {tuple(value.shape) for value in layers.values()} == {(2, 4, N, D)}
    torch.testing.assert_close(layers["output"], expected, rtol=1e-5, atol=1e-5)


def test_a_forecast_is_the_last_latent_from_every_entry_point(saved):
    _, folder, _ = saved
    model, frames = load_pretrained(str(folder)), clip()
    assert isinstance(model, FrameWise)
    assert isinstance(model, Layered)
    latents = model.encode(frames)
    expected = latents[:, 1][:, None].expand(-1, 3, -1, -1)
    torch.testing.assert_close(model.forecast(frames[:, :2], 3), expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(model.forecast_from_latents(latents, [2], 3)[:, 0], expected)
    shared = SharedContext(latents[:1, :2], torch.tensor([0, 0]))
    joined = model.forecast_from_latents(latents[:, 2:], [2, 3], 3, shared)
    assert torch.equal(joined[:, 0, 0], latents[[0, 0], 1])
    assert torch.equal(joined[:, 1, 0], latents[:, 2])
    assert torch.equal(model.forecast_all(frames)[:, 1, :3], expected)


def test_a_missing_layer_is_refused_and_not_left_random(saved, tmp_path: Path):
    _, folder, _ = saved
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    tensors = load_file(folder / "model.safetensors")
    save_file({k: v for k, v in tensors.items() if "layer.1.norm1" not in k}, tmp_path / "model.safetensors")
    with pytest.raises(PretrainedError, match=r"layer\.1\.norm1\.bias is missing"):
        load_pretrained(str(tmp_path))


def test_frames_of_another_size_have_the_positions_that_transformers_gives_them(saved):
    theirs, folder, before = saved
    model, frames = load_pretrained(str(folder)), torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    larger = DinoFrames(theirs.config, size_px=48)
    larger.net = model.net
    expected = theirs(frames).last_hidden_state[:, before:]
    torch.testing.assert_close(larger.encode(frames[None])[0], expected, rtol=1e-5, atol=1e-5)
    assert larger.latent_shape == (36, D)
    with pytest.raises(ValueError, match="frames of 48 x 48 px, but this model was built for 32 px"):
        model.encode(frames[None])
