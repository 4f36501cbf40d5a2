"""V-JEPA 2.1: levels and predictions equal those of a plain second implementation, also for images and rectangles."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from published_layers import block, layer, norm, plain_block
from torch import Tensor

from worldmodel.models.mask_predictor import MaskPredictorConfig
from worldmodel.models.pretrained.layouts import PretrainedError
from worldmodel.models.pretrained.vjepa2_1 import VJEPA21, load_vjepa2_1
from worldmodel.models.video_encoder import VideoEncoderConfig

WIDTH, HEADS, PATCH, NARROW, FEATURES, ROWS, COLUMNS = 24, 2, 8, 36, 96, 2, 3
LAST = 256 / PATCH - 1


def model(levels_in: int = 4, depth: int = 1) -> VJEPA21:
    encoder = VideoEncoderConfig(patch_px=PATCH, tubelet_size=2, width=WIDTH, depth=4, heads=HEADS)
    predictor = MaskPredictorConfig(width=NARROW, depth=depth, heads=3, mask_tokens=2)
    return VJEPA21(encoder, predictor, FEATURES, levels=(0, 1, 2, 3), levels_in=levels_in)


def released(file: Path, section: str, levels_in: int = 4) -> dict[str, dict[str, Tensor]]:
    torch.manual_seed(0)
    encoder = {
        "patch_embed.proj.weight": 0.1 * torch.randn(WIDTH, 3, 2, PATCH, PATCH),
        "patch_embed.proj.bias": torch.randn(WIDTH),
        "patch_embed_img.proj.weight": 0.1 * torch.randn(WIDTH, 3, 1, PATCH, PATCH),
        "patch_embed_img.proj.bias": torch.randn(WIDTH),
        "video_mod_embed": torch.randn(1, 1, WIDTH),
        "img_mod_embed": torch.randn(1, 1, WIDTH),
        **{key: value for i in range(4) for key, value in block(WIDTH, f"blocks.{i}").items()},
        **{key: value for i in range(4) for key, value in norm(WIDTH, f"norms_block.{i}").items()},
    }
    deep = {**layer(WIDTH, 4 * WIDTH, "predictor_embed.0"), **layer(NARROW, WIDTH, "predictor_embed.2")}
    predictor = {
        **(deep if levels_in == 4 else layer(NARROW, WIDTH, "predictor_embed")),
        **{f"mask_tokens.{i}": torch.randn(1, 1, NARROW) for i in range(2)},
        "video_mod_embed": torch.randn(1, 1, NARROW),
        "img_mod_embed": torch.randn(1, 1, NARROW),
        **block(NARROW, "predictor_blocks.0"),
        **norm(NARROW, "predictor_norm"),
        **layer(FEATURES, NARROW, "predictor_proj"),
        **layer(FEATURES, NARROW, "predictor_proj_context"),
    }
    content = {section: encoder, "predictor": predictor}
    torch.save({name: {f"module.backbone.{k}": v for k, v in part.items()} for name, part in content.items()}, file)
    return content


def positions(steps: int) -> list[tuple[float, float, float]]:
    """Rows and columns end at those of a square of 256 px, whatever the size; time is not scaled."""
    return [
        (t, r * LAST / (ROWS - 1), c * LAST / (COLUMNS - 1)) for t in range(steps) for r in range(ROWS) for c in range(COLUMNS)
    ]


def linear(w: dict[str, Tensor], x: Tensor, name: str) -> Tensor:
    return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])


def normed(w: dict[str, Tensor], x: Tensor, name: str) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], 1e-6)


@pytest.mark.parametrize(("frames", "kind"), [(4, "video"), (1, "img")])
def test_the_levels_of_videos_and_images_equal_a_plain_implementation(tmp_path: Path, frames: int, kind: str):
    w = released(tmp_path / "a.pt", "target_encoder")["target_encoder"]
    ours = model().eval()
    load_vjepa2_1(tmp_path / "a.pt", ours, "target_encoder")
    clip = torch.randn(1, frames, 3, ROWS * PATCH, COLUMNS * PATCH)
    layer_name = "patch_embed.proj" if kind == "video" else "patch_embed_img.proj"
    kernel = w[f"{layer_name}.weight"]
    x = F.conv3d(clip.transpose(1, 2), kernel, w[f"{layer_name}.bias"], stride=kernel.shape[2:])[0].flatten(1).T
    x = x + w[f"{kind}_mod_embed"][0]
    for i, level in enumerate(ours.encoder(clip)):
        x = plain_block(w, f"blocks.{i}", x, HEADS, positions(max(1, frames // 2)), tiled=False)
        torch.testing.assert_close(level[0], normed(w, x, f"norms_block.{i}"), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("levels_in", [1, 4])
@pytest.mark.parametrize(("steps", "kind"), [(2, "video"), (1, "video"), (1, "img")])
def test_predictions_of_videos_and_images_equal_a_plain_implementation(tmp_path: Path, levels_in: int, steps: int, kind: str):
    w = released(tmp_path / "a.pt", "ema_encoder", levels_in)["predictor"]
    ours = model(levels_in).eval()
    load_vjepa2_1(tmp_path / "a.pt", ours, "ema_encoder")
    shown, hidden = [0, 3, 5], [steps * ROWS * COLUMNS - 2, 1]
    context, is_image = torch.randn(1, 3, levels_in * WIDTH), kind == "img"
    found = ours.predictor(context, torch.tensor([shown]), torch.tensor([hidden]), steps, (ROWS, COLUMNS), is_image=is_image)
    x = context[0]
    x = (
        linear(w, F.gelu(linear(w, x, "predictor_embed.0")), "predictor_embed.2")
        if levels_in == 4
        else linear(w, x, "predictor_embed")
    )
    x = torch.cat((x, w["mask_tokens.1"][0].expand(2, -1))) + w[f"{kind}_mod_embed"][0]
    places = [positions(steps)[i] for i in shown + hidden]
    x = normed(w, plain_block(w, "predictor_blocks.0", x, 3, places, tiled=False), "predictor_norm")
    torch.testing.assert_close(found[0][0], linear(w, x[3:], "predictor_proj"), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found[1][0], linear(w, x[:3], "predictor_proj_context"), rtol=1e-5, atol=1e-5)


def test_an_image_of_several_steps_is_refused():
    with pytest.raises(ValueError, match="an image has 1 step of tokens, and steps is 2"):
        model().predictor(torch.zeros(1, 1, 4 * WIDTH), *2 * [torch.zeros(1, 1).long()], 2, (ROWS, COLUMNS), is_image=True)


def test_visible_tokens_alone_keep_their_positions(tmp_path: Path):
    """All tokens in another order give the same outputs in that order."""
    released(tmp_path / "a.pt", "target_encoder")
    ours = model().eval()
    load_vjepa2_1(tmp_path / "a.pt", ours, "target_encoder")
    clip, order = torch.randn(1, 4, 3, 16, 24), torch.randperm(12)[None]
    torch.testing.assert_close(ours.encoder(clip, order)[-1], ours.encoder(clip)[-1][:, order[0]], rtol=1e-5, atol=1e-5)


def test_a_config_with_more_predictor_blocks_than_the_file_is_refused(tmp_path: Path):
    """vjepa2 #149 and PR 150: the published config says 24 blocks, the file has 12."""
    released(tmp_path / "a.pt", "ema_encoder")
    with pytest.raises(PretrainedError, match=r"'predictor' do not fit: predictor_blocks\.1\.\S+ is missing"):
        load_vjepa2_1(tmp_path / "a.pt", model(depth=2), "ema_encoder")
