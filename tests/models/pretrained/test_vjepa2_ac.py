"""V-JEPA 2-AC: the layers of the file give the outputs of a plain second implementation, frame by frame."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from published_layers import block, layer, norm, plain_block
from torch import Tensor

from worldmodel.models.pretrained.layouts import PretrainedError
from worldmodel.models.pretrained.vjepa2_ac import ActionPredictorConfig, load_vjepa2_ac
from worldmodel.models.video_encoder import VideoEncoderConfig

WIDTH, HEADS, DEPTH, LATENT, ACTIONS, ROWS, COLUMNS = 48, 2, 2, 36, 7, 2, 3
ENCODER = VideoEncoderConfig(patch_px=8, tubelet_size=2, width=LATENT, depth=1, heads=3)
PREDICTOR = ActionPredictorConfig(width=WIDTH, depth=DEPTH, heads=HEADS)


def released(file: Path, depth: int = DEPTH) -> dict[str, dict[str, Tensor]]:
    """A file in the layout of the released one, with random weights."""
    torch.manual_seed(0)
    patches = {"patch_embed.proj.weight": 0.1 * torch.randn(LATENT, 3, 2, 8, 8), "patch_embed.proj.bias": torch.randn(LATENT)}
    encoder = {**patches, **block(LATENT, "blocks.0"), **norm(LATENT, "norm")}
    predictor = {
        **layer(WIDTH, LATENT, "predictor_embed"),
        **layer(WIDTH, ACTIONS, "action_encoder"),
        **layer(WIDTH, ACTIONS, "state_encoder"),
        **layer(WIDTH, ACTIONS - 1, "extrinsics_encoder"),
        **{key: value for i in range(depth) for key, value in block(WIDTH, f"predictor_blocks.{i}").items()},
        **norm(WIDTH, "predictor_norm"),
        **layer(LATENT, WIDTH, "predictor_proj"),
    }
    content = {"encoder": encoder, "predictor": predictor}
    torch.save({name: {f"module.{k}": v for k, v in part.items()} for name, part in content.items()} | {"epoch": 3}, file)
    return content


# --- a plain second implementation, one token at a time --------------------------------------------------------------
def plain(w: dict[str, Tensor], latents: Tensor, actions: Tensor, states: Tensor) -> Tensor:
    """The prediction for one clip: [T, N, D], [T, A], [T, A] -> [T, N, D]."""

    def linear(x: Tensor, name: str) -> Tensor:
        return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])

    def normed(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], 1e-6)

    tokens, positions = [], []
    for t in range(len(latents)):
        tokens += [linear(actions[t], "action_encoder"), linear(states[t], "state_encoder")]
        tokens += list(linear(latents[t], "predictor_embed"))
        patches_at = [(t, row, column * ROWS / COLUMNS) for row in range(ROWS) for column in range(COLUMNS)]
        positions += [(t, 0, 0)] * 2 + patches_at  # columns are scaled to rows, as in the published code
    x = torch.stack(tokens)
    for i in range(DEPTH):
        x = plain_block(w, f"predictor_blocks.{i}", x, HEADS, positions, tiled=True, sees=lambda a, b: b[0] <= a[0])
    patches = x.unflatten(0, (len(latents), -1))[:, 2:]
    return linear(normed(patches, "predictor_norm"), "predictor_proj")


def test_the_predictor_equals_a_plain_implementation(tmp_path: Path):
    content = released(tmp_path / "ac.pt")
    model = load_vjepa2_ac(tmp_path / "ac.pt", ENCODER, PREDICTOR)
    latents, actions, states = torch.randn(1, 2, ROWS * COLUMNS, LATENT), torch.randn(1, 2, 7), torch.randn(1, 2, 7)
    expected = plain(content["predictor"], latents[0], actions[0], states[0])
    torch.testing.assert_close(model.predictor(latents, actions, states, (ROWS, COLUMNS))[0], expected, rtol=1e-5, atol=1e-5)


def test_a_frame_is_encoded_alone_and_a_rollout_sees_no_later_action(tmp_path: Path):
    released(tmp_path / "ac.pt")
    model = load_vjepa2_ac(tmp_path / "ac.pt", ENCODER, PREDICTOR)
    frames, actions, states = torch.randn(2, 3, 3, 16, 24), torch.randn(2, 4, 7), torch.randn(2, 4, 7)
    alone = torch.cat([model.encode(frames[:, t : t + 1]) for t in range(3)], dim=1)
    torch.testing.assert_close(model.encode(frames), alone, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(alone.std(-1, unbiased=False), torch.ones(2, 3, 6), rtol=1e-3, atol=1e-3)
    changed = actions.clone()
    changed[:, 3:] += 1
    before, after = (model.rollout(frames[:, :2], given, states) for given in (actions, changed))
    assert before.shape == (2, 3, 6, LATENT)
    assert torch.equal(before[:, :2], after[:, :2])
    assert not torch.allclose(before[:, 2], after[:, 2])


def test_a_file_with_fewer_blocks_than_the_predictor_is_refused(tmp_path: Path):
    released(tmp_path / "ac.pt", depth=1)
    with pytest.raises(PretrainedError, match=r"'predictor' do not fit: predictor_blocks\.1\.\S+ is missing"):
        load_vjepa2_ac(tmp_path / "ac.pt", ENCODER, PREDICTOR)
