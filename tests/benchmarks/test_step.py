"""The V-JEPA step equals a frozen reference implementation and that of transformers; exponents of growth."""

import pytest
import torch

from benchmarks.steps.cases import Case, random_clips
from benchmarks.steps.causal_step import build_causal_step, causal_recipe
from benchmarks.steps.contenders import build_step
from benchmarks.steps.growth import exponent
from benchmarks.steps.vjepa2_reference import ReferenceVJEPA2
from worldmodel.data.window_config import WindowConfig
from worldmodel.models.mask_predictor import MaskPredictorConfig
from worldmodel.models.masked import MaskedConfig, MaskedWorldModel
from worldmodel.models.video_encoder import VideoEncoderConfig


def small(tiled: bool = True) -> Case:
    model = MaskedConfig(
        encoder=VideoEncoderConfig(patch_px=8, width=48, depth=3, heads=2),
        predictor=MaskPredictorConfig(width=24, depth=2, heads=2),
        tiled_rotary=tiled,
    )
    return Case("small", model, WindowConfig(frames=8, fps=4, size_px=48), 2)


@pytest.mark.parametrize("tiled", [False, True])
def test_loss_and_gradient_equal_the_reference(tiled: bool):
    case = small(tiled)
    torch.manual_seed(0)
    model, clips = MaskedWorldModel(case.model, case.window), random_clips(case)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    reference = ReferenceVJEPA2(model)
    latents = model(clips.frames, clips.ids, 3)
    ours, theirs = (latents.predicted - latents.target).abs().mean(), reference.loss(clips.frames, clips.visible, clips.masked)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)
    ours.backward()
    theirs.backward()
    expected = {name: parameter.grad for name, parameter in reference.named_parameters()}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            its = expected[name.replace(".blocks.layers.", ".layers.")]
            torch.testing.assert_close(parameter.grad, its.view_as(parameter), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("contender", ["vjepa2", "transformers"])
def test_all_contenders_have_the_losses_of_one_training(contender: str):
    ours, theirs = (build_step(name, small(), "fp32") for name in ("ours", contender))
    for _ in range(3):
        assert ours() == pytest.approx(theirs(), rel=2e-5)


def test_bfloat16_changes_the_loss_little():
    losses = [build_step(name, small(), precision)() for name, precision in (("ours", "fp32"), ("ours", "bf16"))]
    assert losses[1] == pytest.approx(losses[0], rel=2e-3)


def test_the_exponent_of_a_power_law():
    assert exponent({2: 3 * 2**1.5, 4: 3 * 4**1.5, 8: 3 * 8**1.5}) == pytest.approx(1.5)


def test_the_causal_step_trains_at_the_size_that_is_asked_for():
    recipe = causal_recipe(frames=12, size_px=32, width=64)
    step = build_causal_step(recipe, "fp32")
    losses = [step() for _ in range(3)]
    assert losses[2] < losses[0]
    assert (recipe.window.frames, recipe.model.encoder.width, recipe.model.encoder.latent_grid) == (12, 64, 2)
