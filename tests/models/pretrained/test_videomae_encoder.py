"""Encoders of VideoMAE and VideoMAE v2: outputs of a plain second implementation and of transformers, strict in all layouts."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from published_layers import block, layer, norm, plain_block
from safetensors.torch import load_file, save_file
from torch import Tensor

from worldmodel.models.pretrained.layouts import PretrainedError
from worldmodel.models.pretrained.load import load_pretrained
from worldmodel.models.pretrained.videomae_encoder import ClipEncoderConfig, sines
from worldmodel.models.pretrained.videomae_files import load_videomae_v2

FRAMES, SIZE, PATCH, WIDTH, HEADS, DEPTH, N = 6, 28, 14, 24, 2, 2, 4  # patches of 14 px, as in the giant model
CONFIG = ClipEncoderConfig(size_px=SIZE, patch_px=PATCH, frames=FRAMES, width=WIDTH, heads=HEADS, depth=DEPTH)
HUB = {
    "model_type": "VideoMAEv2_Base",
    "auto_map": {"AutoModel": "modeling_videomaev2.VideoMAEv2"},
    "model_config": {
        "img_size": SIZE, "patch_size": PATCH, "num_frames": FRAMES, "tubelet_size": 2, "embed_dim": WIDTH, "depth": DEPTH,
        "num_heads": HEADS, "mlp_ratio": 4, "in_chans": 3, "num_classes": 0, "qkv_bias": True, "qk_scale": None,
        "init_values": 0.0, "use_learnable_pos_emb": False, "use_mean_pooling": True, "cos_attn": False, "layer_norm_eps": 1e-6,
    },
}  # fmt: skip


def fine_tuned() -> dict[str, Tensor]:
    """Weights of a distilled or fine-tuned model in the layout of the original code, with its classifier."""
    torch.manual_seed(0)
    weights = {
        "patch_embed.proj.weight": 0.1 * torch.randn(WIDTH, 3, 2, PATCH, PATCH),
        "patch_embed.proj.bias": torch.randn(WIDTH),
        **{key: value for i in range(DEPTH) for key, value in block(WIDTH, f"blocks.{i}").items()},
        **norm(WIDTH, "fc_norm"),
        **layer(7, WIDTH, "head"),
    }
    for i in range(DEPTH):
        bias = weights.pop(f"blocks.{i}.attn.qkv.bias")
        weights |= {f"blocks.{i}.attn.q_bias": bias[:WIDTH].clone(), f"blocks.{i}.attn.v_bias": bias[2 * WIDTH :].clone()}
    return weights


def clip(frames: int = FRAMES) -> Tensor:
    return torch.randn(1, frames, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def plain(w: dict[str, Tensor], frames: Tensor) -> Tensor:
    """The tokens of one clip before the last norm: [1, T, 3, H, W] -> [S, W]."""
    w = dict(w)
    for i in range(DEPTH):
        q, v = w[f"blocks.{i}.attn.q_bias"], w[f"blocks.{i}.attn.v_bias"]
        w[f"blocks.{i}.attn.qkv.bias"] = torch.cat((q, torch.zeros(WIDTH), v))
    x = F.conv3d(frames.transpose(1, 2), w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], stride=(2, PATCH, PATCH))
    x = x[0].flatten(1).T
    places = [[place / 10_000 ** (2 * (j // 2) / WIDTH) for j in range(WIDTH)] for place in range(len(x))]
    x = x + torch.tensor([[torch.tensor(a).sin() if j % 2 == 0 else torch.tensor(a).cos() for j, a in enumerate(row)]
                          for row in places])  # fmt: skip
    for i in range(DEPTH):
        x = plain_block(w, f"blocks.{i}", x, HEADS, [(0.0, 0.0, 0.0)] * len(x), tiled=False)  # positions are not rotary
    return x


def normed(w: dict[str, Tensor], x: Tensor) -> Tensor:
    return F.layer_norm(x, (WIDTH,), w["fc_norm.weight"], w["fc_norm.bias"], 1e-6)


# --- the original code and the hub -----------------------------------------------------------------------------------
@pytest.mark.parametrize("section", ["model", "module", None])
def test_a_fine_tuned_file_gives_the_tokens_of_a_plain_implementation(tmp_path: Path, section: str | None):
    weights = fine_tuned()
    torch.save(weights if section is None else {section: weights, "epoch": 3}, tmp_path / "vit.pth")
    model = load_videomae_v2(tmp_path / "vit.pth", CONFIG)
    for frames in (FRAMES, 2):  # a shorter clip has the first positions
        expected = plain(weights, clip(frames))
        torch.testing.assert_close(model.encode(clip(frames))[0].flatten(0, 1), normed(weights, expected), rtol=1e-5, atol=1e-5)
        pooled = model.encoder.norm(model.encoder.tokens(clip(frames)).mean(1))  # what the released classifiers see
        torch.testing.assert_close(pooled[0], normed(weights, expected.mean(0)), rtol=1e-5, atol=1e-5)
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_a_file_of_pretraining_and_a_folder_of_the_hub_hold_the_same_encoder(tmp_path: Path):
    weights = fine_tuned()
    torch.save({"model": weights}, tmp_path / "fine.pth")
    expected = load_videomae_v2(tmp_path / "fine.pth", CONFIG).encode(clip())
    bare = {name.replace("fc_norm", "norm"): value for name, value in weights.items() if not name.startswith("head")}
    decoder = {"decoder.norm.weight": torch.ones(4), "encoder_to_decoder.weight": torch.ones(4, WIDTH)}
    decoder["mask_token"] = torch.ones(1)
    torch.save({"model": {f"encoder.{k}": v for k, v in bare.items()} | decoder}, tmp_path / "pretrained.pth")
    assert torch.equal(load_videomae_v2(tmp_path / "pretrained.pth", CONFIG).encode(clip()), expected)
    (tmp_path / "config.json").write_text(json.dumps(HUB))
    kept = {f"model.{name}": value for name, value in weights.items() if not name.startswith("head")}
    save_file(kept, tmp_path / "model.safetensors")
    assert torch.equal(load_pretrained(str(tmp_path)).encode(clip()), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("blocks.1.attn.v_bias"), r"blocks\.1\.attn\.v_bias is missing"),
        (lambda w: w.pop("fc_norm.bias"), r"fc_norm\.bias is missing"),
        (lambda w: w.update({"blocks.0.attn.k_bias": torch.ones(WIDTH)}), r"k_bias is not part of this model"),
        (lambda w: w.update({"blocks.2.norm1.weight": torch.ones(WIDTH)}), r"blocks\.2\.norm1\.weight is not part"),
        (lambda w: w.update({"pos_embed": torch.ones(1, 12, WIDTH)}), r"pos_embed is not part of this model"),
        (lambda w: w.update({"blocks.0.attn.qkv.weight": torch.ones(3, WIDTH)}), r"attn\.qkv\.weight is \(3, 24\)"),
    ],
)
def test_every_key_that_does_not_fit_is_named(tmp_path: Path, change, message: str):
    weights = fine_tuned()
    change(weights)
    torch.save({"model": weights}, tmp_path / "vit.pth")
    with pytest.raises(PretrainedError, match=message):
        load_videomae_v2(tmp_path / "vit.pth", CONFIG)


@pytest.mark.parametrize("field", [{"cos_attn": True}, {"init_values": 0.1}, {"use_learnable_pos_emb": True}])
def test_a_variant_that_would_be_computed_otherwise_is_refused(tmp_path: Path, field: dict):
    (tmp_path / "config.json").write_text(json.dumps({**HUB, "model_config": {**HUB["model_config"], **field}}))
    with pytest.raises(PretrainedError, match=f"{next(iter(field))} .* is not supported"):
        load_pretrained(str(tmp_path))


# --- transformers ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("kind", "pooling"), [("Model", True), ("Model", False), ("ForVideoClassification", True)])
@pytest.mark.parametrize("version", [4, 5])
def test_encoders_of_transformers_give_their_outputs(tmp_path: Path, kind: str, pooling: bool, version: int):
    import transformers

    config = transformers.VideoMAEConfig(
        image_size=SIZE, patch_size=PATCH, num_frames=FRAMES, hidden_size=WIDTH, num_hidden_layers=DEPTH,
        num_attention_heads=HEADS, intermediate_size=40, use_mean_pooling=pooling,
    )  # fmt: skip
    torch.manual_seed(0)
    theirs = getattr(transformers, f"VideoMAE{kind}")(config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    theirs.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    for new, old in (("query.bias", "q_bias"), ("value.bias", "v_bias")):  # the older names, or the newer ones
        new, old = (old, new) if version == 5 else (new, old)
        tensors = {name.replace(f"attention.{new}", f"attention.{old}"): value for name, value in tensors.items()}
    save_file(tensors, tmp_path / "model.safetensors")
    expected = getattr(theirs, "videomae", theirs)(clip()).last_hidden_state
    if kind != "Model":
        expected = theirs.fc_norm(expected)
    model = load_pretrained(str(tmp_path))
    torch.testing.assert_close(model.encode(clip()).flatten(1, 2), expected, rtol=1e-5, atol=1e-5)
    assert list(model.layers(clip())) == ["patches", "block 1", "block 2", "output"]


# --- as a world model ------------------------------------------------------------------------------------------------
def test_it_forecasts_that_nothing_changes_and_encodes_long_clips_in_pieces(tmp_path: Path):
    torch.save({"model": fine_tuned()}, tmp_path / "vit.pth")
    model = load_videomae_v2(tmp_path / "vit.pth", CONFIG)
    forecast = model.forecast(clip(4), 1)
    assert torch.equal(forecast[:, 0], model.encode(clip(4))[:, -1])
    assert torch.equal(model.encode(torch.cat((clip(2), clip()), 1))[:, 1:], model.encode(clip()))
    assert model.latent_shape == (N, WIDTH)
    assert model.reinitialised().architecture == model.architecture
    with pytest.raises(ValueError, match="are 8 frames"):
        model.forecast(clip(4), 2)


def test_positions_do_not_depend_on_the_number_of_frames():
    assert torch.equal(sines(12, WIDTH)[:4], sines(4, WIDTH))
