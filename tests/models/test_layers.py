"""`layers` returns the outputs of the layers: each follows from the one before, and the last is what `encode` returns."""

from pathlib import Path

import pytest
import torch
from einops import rearrange

from worldmodel.data.window_config import WindowConfig
from worldmodel.models import build_model
from worldmodel.models.causal import CausalConfig
from worldmodel.models.causal_predictor import PredictorConfig
from worldmodel.models.encoder import EncoderConfig
from worldmodel.models.mask_predictor import MaskPredictorConfig
from worldmodel.models.masked import MaskedConfig, PixelTarget
from worldmodel.models.pretrained.load import load_pretrained
from worldmodel.models.targets import EmaTarget
from worldmodel.models.video_encoder import VideoEncoderConfig
from worldmodel.models.world_model import Layered

WINDOW = WindowConfig(frames=8, fps=6, size_px=16)


def causal(depth: int = 2, **changed):
    torch.manual_seed(0)
    encoder = EncoderConfig(patch_px=4, width=24, depth=depth, heads=2, latent_dim=6, latent_grid=2, tubelet_size=2)
    config = CausalConfig(
        encoder=encoder, predictor=PredictorConfig(width=24, depth=2, heads=2, horizons=2), rollout_steps=0, **changed
    )
    return apart(build_model(config, WINDOW))


def masked(**changed):
    torch.manual_seed(0)
    encoder = VideoEncoderConfig(patch_px=4, width=24, depth=2, heads=2)
    return apart(
        build_model(MaskedConfig(encoder=encoder, predictor=MaskPredictorConfig(width=12, heads=2), **changed), WINDOW)
    )


def apart(model):
    """A teacher that is not the encoder."""
    if model.teacher is not None:
        for parameter in model.teacher.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model.eval()


def clip(frames: int = 8) -> torch.Tensor:
    return torch.randn(3, frames, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("model", [causal(), causal(target=EmaTarget()), masked(), causal(normalise_latents=True)])
def test_the_last_layer_equals_the_targets(model):
    shown = model.layers(clip())
    assert isinstance(model, Layered)
    assert [name for name in shown if "predictor" not in name] == ["patches", "block 1", "block 2", "output"]
    assert torch.equal(shown["output"], model.encode(clip()))
    assert {tokens.shape[:2] for tokens in shown.values()} == {(3, 4)}
    assert not any(tokens.requires_grad for tokens in shown.values())


@pytest.mark.parametrize("model", [causal(), causal(target=EmaTarget())])
def test_each_block_is_applied_to_the_layer_before(model):
    shown, encoder = model.layers(clip()), model.teacher or model.encoder
    after = encoder.blocks.layers[0](rearrange(shown["patches"], "b t n d -> (b t) n d") + encoder.position)
    torch.testing.assert_close(rearrange(shown["block 1"], "b t n d -> (b t) n d"), after)
    after = encoder.blocks.layers[1](after)
    torch.testing.assert_close(rearrange(shown["block 2"], "b t n d -> (b t) n d"), after)


def test_an_encoder_without_blocks_has_the_layers_patches_and_output():
    names = list(causal(depth=0).layers(clip()))
    assert names == ["patches", "output", "predictor block 1", "predictor block 2"]


def test_the_predictor_at_a_step_has_not_seen_later_steps():
    model, other = causal(), clip()
    other[:, 4:] += 1
    before, after = model.layers(clip()), model.layers(other)
    for name in ("predictor block 1", "predictor block 2"):
        torch.testing.assert_close(before[name][:, :2], after[name][:, :2])
        assert not torch.allclose(before[name][:, 2:], after[name][:, 2:])


def test_with_pixel_targets_the_last_layer_is_that_of_the_encoder():
    model = masked(target=PixelTarget())
    shown = model.layers(clip())
    torch.testing.assert_close(shown["output"].flatten(1, 2), model.encoder(clip()))
    assert shown["output"].shape[-1] == 24


def test_no_hook_is_left():
    for model in (causal(), masked()):
        model.layers(clip())
        assert not any(module._forward_hooks for module in model.modules())


def test_the_layers_of_videomae_are_the_hidden_states_of_transformers(tmp_path: Path):
    from transformers import VideoMAEConfig, VideoMAEForPreTraining

    torch.manual_seed(0)
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    decoder = {f"decoder_{name}": value for name, value in sizes.items()}
    config = VideoMAEConfig(image_size=16, patch_size=8, num_frames=8, **sizes, **decoder)
    theirs = VideoMAEForPreTraining(config).eval()
    theirs.save_pretrained(tmp_path)
    model = load_pretrained(str(tmp_path))
    expected = theirs.videomae(clip(), output_hidden_states=True).hidden_states
    shown = model.layers(clip())
    assert list(shown) == ["patches", "block 1", "block 2", "output"]
    for name, hidden in zip(("patches", "block 1", "block 2"), expected, strict=True):
        torch.testing.assert_close(shown[name].flatten(1, 2), hidden)
    # the beginning of a window: missing tokens are masked, not blank
    short = model.layers(clip(4))
    assert short["block 2"].shape == (3, 2, 4, 24)
    assert not torch.allclose(short["block 2"], shown["block 2"][:, :2])


def test_the_layers_of_vjepa2_are_the_hidden_states_of_transformers(tmp_path: Path):
    from transformers import VJEPA2Config, VJEPA2Model

    torch.manual_seed(0)
    sizes = {"hidden_size": 48, "num_attention_heads": 3, "num_hidden_layers": 2, "mlp_ratio": 2.0}
    predictor = {"pred_hidden_size": 32, "pred_num_attention_heads": 2, "pred_num_hidden_layers": 1, "pred_num_mask_tokens": 2}
    theirs = VJEPA2Model(VJEPA2Config(crop_size=16, patch_size=4, frames_per_clip=8, **sizes, **predictor)).eval()
    theirs.save_pretrained(tmp_path)
    shown = load_pretrained(str(tmp_path)).layers(clip())
    hidden = theirs(clip(), skip_predictor=True, output_hidden_states=True).hidden_states
    for name, expected in zip(("patches", "block 1"), hidden, strict=False):
        torch.testing.assert_close(shown[name].flatten(1, 2), expected, rtol=1e-5, atol=1e-5)
