"""Outputs equal those of the published modules, on random weights. Skipped unless a checkout of their code is named:

    VJEPA2_CODE=CHECKOUT VIDEOMAE2_CODE=CHECKOUT python -m pytest tests/models/pretrained/test_published_modules.py

The checkouts are github.com/facebookresearch/vjepa2 and github.com/OpenGVLab/VideoMAEv2.
"""

import importlib
import os
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from worldmodel.models.pretrained.videomae_encoder import ClipEncoderConfig
from worldmodel.models.pretrained.videomae_files import load_videomae_v2
from worldmodel.models.pretrained.vjepa2_ac import ActionPredictorConfig, load_vjepa2_ac
from worldmodel.models.video_encoder import VideoEncoderConfig

NORM = partial(nn.LayerNorm, eps=1e-6)


def code(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the modules of a checkout importable. What they need of timm in evaluation is so little that it stands here."""
    if not (folder := os.environ.get(variable)):
        pytest.skip(f"{variable} names no checkout")
    monkeypatch.syspath_prepend(folder)
    layers, registry = ModuleType("timm.models.layers"), ModuleType("timm.models.registry")
    vars(layers).update(drop_path=lambda x, *_: x, to_2tuple=lambda x: (x, x), trunc_normal_=nn.init.trunc_normal_)
    vars(registry).update(register_model=lambda function: function)
    stubs = {"timm": ModuleType("timm"), "timm.models": ModuleType("timm.models")}
    for name, module in {**stubs, "timm.models.layers": layers, "timm.models.registry": registry}.items():
        monkeypatch.setitem(sys.modules, name, module)


def randomised(model: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def sections(**parts: nn.Module) -> dict[str, dict[str, Tensor]]:
    return {name: {f"module.{key}": value for key, value in part.state_dict().items()} for name, part in parts.items()}


@pytest.mark.parametrize("grid", [(2, 2), (2, 3)], ids=["square", "wide"])
def test_vjepa2_ac(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grid: tuple[int, int]):
    code("VJEPA2_CODE", monkeypatch)
    size = {"img_size": (8 * grid[0], 8 * grid[1]), "patch_size": 8, "tubelet_size": 2, "embed_dim": 36, "use_rope": True}
    transformer = importlib.import_module("src.models.vision_transformer").VisionTransformer
    encoder = randomised(transformer(**size, num_frames=4, depth=2, num_heads=3, mlp_ratio=4, qkv_bias=True, norm_layer=NORM))
    build = importlib.import_module("src.models.ac_predictor").vit_ac_predictor
    predictor = randomised(build(**size, num_frames=8, predictor_embed_dim=48, depth=2, num_heads=2))
    torch.save(sections(encoder=encoder, predictor=predictor), tmp_path / "ac.pt")
    ours = load_vjepa2_ac(
        tmp_path / "ac.pt",
        VideoEncoderConfig(patch_px=8, tubelet_size=2, width=36, depth=2, heads=3),
        ActionPredictorConfig(width=48, depth=2, heads=2),
    )
    latents, actions, states = torch.randn(2, 4, grid[0] * grid[1], 36), torch.randn(2, 4, 7), torch.randn(2, 4, 7)
    clip = torch.randn(2, 3, 4, *size["img_size"])
    with torch.no_grad():
        expected = predictor(latents.flatten(1, 2), actions, states).view(latents.shape)
        torch.testing.assert_close(ours.predictor(latents, actions, states, grid), expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(ours.encoder(clip.transpose(1, 2)), encoder(clip), rtol=1e-5, atol=1e-5)


def test_videomae_v2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    code("VIDEOMAE2_CODE", monkeypatch)
    size = {"img_size": 32, "patch_size": 8, "all_frames": 8, "tubelet_size": 2, "qkv_bias": True, "norm_layer": NORM}
    tuned = importlib.import_module("models.modeling_finetune").VisionTransformer
    classifier = randomised(tuned(**size, num_classes=5, embed_dim=48, depth=3, num_heads=4))
    build = importlib.import_module("models.modeling_pretrain").PretrainVisionTransformer
    encoder = {"encoder_embed_dim": 48, "encoder_depth": 3, "encoder_num_heads": 4, "encoder_num_classes": 0}
    decoder = {"decoder_num_classes": 384, "decoder_embed_dim": 24, "decoder_depth": 1, "decoder_num_heads": 2}
    pretrained = randomised(build(**size, **encoder, **decoder))
    torch.save({"module": classifier.state_dict()}, tmp_path / "tuned.pt")
    torch.save({"model": pretrained.state_dict()}, tmp_path / "pretrained.pt")
    config = ClipEncoderConfig(
        size_px=32, patch_px=8, frames=8, tubelet_size=2, width=48, depth=3, heads=4, norm_eps=1e-6, final_norm_eps=1e-6
    )
    clip = torch.randn(2, 3, 8, 32, 32)
    with torch.no_grad():
        ours = load_videomae_v2(tmp_path / "tuned.pt", config).encoder
        pooled = ours.norm(ours.tokens(clip.transpose(1, 2)).mean(1))
        torch.testing.assert_close(pooled, classifier.forward_features(clip), rtol=1e-5, atol=1e-5)
        ours = load_videomae_v2(tmp_path / "pretrained.pt", config).encoder
        expected = pretrained.encoder(clip, torch.zeros(2, 64, dtype=torch.bool))
        torch.testing.assert_close(ours(clip.transpose(1, 2)), expected, rtol=1e-5, atol=1e-5)
