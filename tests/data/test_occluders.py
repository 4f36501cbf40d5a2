"""Pasted occluders: what they hide, when, and that nothing else changes."""

import itertools

import pytest
import torch

from worldmodel.data.augmentation.augment import PICTURE_UNIFORMS, UNIFORMS_PER_SAMPLE, AugmentConfig, augment
from worldmodel.data.augmentation.occluders import OCCLUDER_UNIFORMS, can_be_forecast, paste_occluders
from worldmodel.data.batch import Batch
from worldmodel.models.latents import Latents
from worldmodel.recipe import Recipe
from worldmodel.training.learner import Learner
from worldmodel.training.setup import build_learner

STEPS, SIDE = 20, 16
CHANCE, KIND, FORM, WIDTH, HEIGHT, X, Y, BEGIN, LENGTH, SLIDE, DIRECTION, PATTERN, ANGLE, PERIOD = range(14)
ALWAYS = {BEGIN: 0.0, LENGTH: 1.0}  # from 0.4 window lengths before the window for one length: frames 0 to 11


def frames(batch: int = 1) -> torch.Tensor:
    return torch.rand(batch, STEPS, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def numbers(values: dict[int, float]) -> torch.Tensor:
    """Those of one window: one half, except the given ones. Plain paint in the colour of the pixel in the middle."""
    given = torch.full((1, OCCLUDER_UNIFORMS), 0.5)
    for index, value in {CHANCE: 0.0, SLIDE: 0.0, PATTERN: 0.9, **values}.items():
        given[0, index] = value
    return given


def hidden(values: dict[int, float], whole: float = 0.0) -> torch.Tensor:
    """The pixels that change, [STEPS, SIDE, SIDE]."""
    given = frames()
    pasted, marked = paste_occluders(given, numbers(values), 1.0, whole)
    changed = (pasted != given).any(2)
    assert not (changed & ~marked).any()
    return changed[0]


def test_a_rectangle_hides_the_pixels_of_its_place_and_no_others():
    """Half sides of 0.1 + 0.4 / 4 = 0.2 of 16 px about the middle: pixels whose centres lie between 4.8 and 11.2."""
    expected = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    expected[5:11, 5:11] = True
    found = hidden({**ALWAYS, WIDTH: 0.25, HEIGHT: 0.25})
    assert torch.equal(found[1:12], expected.expand(11, -1, -1))  # in frame 0 the paint has the colour of the middle pixel
    assert not found[12:].any()


def test_it_is_there_from_its_begin_to_its_end():
    """Begins at -0.4 + 1.15 * 0.5 = 0.175 of 20 frames (after 3.5) and lasts for 0.15 + 0.85 / 2 = 0.575 (until 15)."""
    present = hidden({}).flatten(1).any(1)
    assert present.nonzero().flatten().tolist() == list(range(4, 15))


def test_a_whole_one_hides_every_pixel_for_a_shorter_time():
    """Begins after 3.5 frames and lasts for 0.1 + 0.3 / 2 = 0.25 of 20 frames (until 8.5)."""
    found = hidden({}, whole=1.0)
    assert found[4:9].all()
    assert not found[:4].any()
    assert not found[9:].any()


@pytest.mark.parametrize(("direction", "first"), [(0.0, "right"), (0.6, "left")])
def test_a_slow_one_slides_into_the_picture(direction, first):
    found = hidden({SLIDE: 1.0, DIRECTION: direction})
    columns = found.any(1).float()  # [STEPS, SIDE]
    entering = columns[columns.any(1)][0]
    left, right = entering[: SIDE // 2].sum(), entering[SIDE // 2 :].sum()
    assert (right > left) == (first == "right")
    assert columns.sum(1).max() > entering.sum()


def test_an_ellipse_leaves_the_corners():
    found = hidden({**ALWAYS, FORM: 0.0, WIDTH: 1.0, HEIGHT: 1.0})[0]
    assert found[0, SIDE // 2]
    assert found[SIDE // 2, 0]
    assert not found[0, 0]


def test_paint_has_the_colours_of_two_pixels_of_the_first_frame():
    given, corners = frames(), {14: 0.0, 15: 0.0, 16: 0.99, 17: 0.99}  # the first pixel and the last one
    first, last = given[0, 0, :, 0, 0], given[0, 0, :, -1, -1]
    colours = lambda pattern: paste_occluders(given, numbers({PATTERN: pattern, **corners}), 1.0, 1.0)[0][0, 5].flatten(1)  # noqa: E731
    assert torch.equal(colours(0.9), first[:, None].expand(-1, SIDE * SIDE))  # plain
    stripes = colours(0.1).unique(dim=1)
    torch.testing.assert_close(stripes.sum(1), first + last)
    assert stripes.shape[1] == 2
    shades = colours(0.5)
    assert (shades >= torch.minimum(first, last)[:, None] - 1e-6).all()
    assert (shades <= torch.maximum(first, last)[:, None] + 1e-6).all()
    assert shades.unique(dim=1).shape[1] > 2


def test_no_frame_depends_on_later_ones():
    given, other = frames(64), frames(64)
    other[:, 9:] = 0
    drawn = torch.rand(64, OCCLUDER_UNIFORMS, generator=torch.Generator().manual_seed(1))
    assert torch.equal(*(paste_occluders(it, drawn, 1.0, 0.5)[0][:, :9] for it in (given, other)))


def test_the_given_fraction_of_windows_is_changed():
    given = frames(1).expand(2000, -1, -1, -1, -1)[:, :, :, :2, :2].contiguous()
    drawn = torch.rand(2000, OCCLUDER_UNIFORMS, generator=torch.Generator().manual_seed(2))
    changed = (paste_occluders(given, drawn, 0.3, 1.0)[0] != given).flatten(1).any(1).float().mean().item()
    always = (paste_occluders(given, drawn, 1.0, 1.0)[0] != given).flatten(1).any(1).float().mean().item()
    assert changed == pytest.approx(0.3 * always, abs=0.03)
    assert always > 0.6  # the others lie before the window


def test_the_augmentation_pastes_them_and_the_other_numbers_stay_in_place():
    pixels = (frames(4) * 255).byte().permute(0, 1, 3, 4, 2)
    drawn = torch.rand(4, UNIFORMS_PER_SAMPLE, generator=torch.Generator().manual_seed(3))
    off = AugmentConfig(crop_area_min=1, crop_aspect_max=1, hflip_prob=0.5)
    plain = augment(pixels, drawn, SIDE, off).pixels
    pasted = augment(pixels, drawn, SIDE, off.model_copy(update={"occluder_prob": 1.0}))
    expected = paste_occluders(plain, drawn[:, PICTURE_UNIFORMS:], 1.0, off.occluder_whole)
    assert torch.equal(pasted.pixels, expected[0])
    assert pasted.hidden is not None
    assert torch.equal(pasted.hidden, expected[1])
    assert not off.model_copy(update={"occluder_prob": 0.1}).repeats


def every_forecast(steps: int, tokens: int, horizons: int) -> Latents:
    """A row for each time step, spatial token and horizon 0..K of one clip. Horizon 0 is a token between visible ones."""
    rows = [
        (time, token, horizon)
        for horizon, time, token in itertools.product(range(horizons + 1), range(steps), range(tokens))
        if time >= horizon
    ]
    time, token, horizon = torch.tensor(rows).T
    nothing = torch.zeros(len(rows), 1)
    context = torch.zeros(1, steps, tokens, 1)
    clip, is_rollout = torch.zeros_like(time), torch.zeros(len(rows), dtype=torch.bool)
    return Latents(context, context[..., 0].bool(), nothing, nothing, clip, time, token, horizon, is_rollout)


def test_targets_that_are_newly_covered_cannot_be_forecast():
    """Three steps of two frames and 2 x 2 patches of 2 px. One pixel of patch 1 is hidden from frame 2 to 4, all of it in 3."""
    covered = torch.zeros(1, 6, 4, 4, dtype=torch.bool)
    covered[0, 2:5, 0, 2] = True
    covered[0, 3, :2, 2:] = True
    rows = every_forecast(steps=3, tokens=4, horizons=2)
    refused = ~can_be_forecast(covered, rows)
    found = set(zip(rows.time[refused].tolist(), rows.token[refused].tolist(), rows.horizon[refused].tolist(), strict=True))
    # Step 1 hides 5 of 8 pixels and step 2 hides 1. From step 1 to step 2 the patch comes out again.
    assert found == {(1, 1, 1), (2, 1, 2)}


def test_a_grid_of_tokens_that_is_not_square():
    covered = torch.zeros(1, 2, 4, 8, dtype=torch.bool)
    covered[0, 1, 2:, 6:] = True  # the last of 2 x 4 patches
    rows = every_forecast(steps=2, tokens=8, horizons=1)
    refused = ~can_be_forecast(covered, rows)
    assert rows.token[refused].tolist() == [7]


def causal_learner() -> Learner:
    """Patches do not see each other."""
    encoder = {"depth": 0, "patch_px": 8, "latent_grid": 4, "latent_dim": 8, "tubelet_size": 2}
    model = {"kind": "causal", "encoder": encoder, "predictor": {"horizons": 3}, "rollout_steps": 0}
    augmentation = {"crop_area_min": 1, "crop_aspect_max": 1, "hflip_prob": 0, "occluder_prob": 1, "occluder_whole": 0}
    window = {"frames": 8, "size_px": 32}
    torch.manual_seed(0)
    return build_learner(Recipe.model_validate({"model": model, "augment": augmentation, "window": window}))


def test_the_paint_of_an_occluder_does_not_change_the_loss_of_forecasts_that_could_not_know_it():
    """It appears in the last time step. Then all its targets are left out, and no context shows it."""
    learner = causal_learner()
    frames = torch.randint(0, 256, (1, 8, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    losses = []
    for pixel in (0.1, 0.9):
        drawn = torch.full((1, UNIFORMS_PER_SAMPLE), 0.5)
        drawn[0, PICTURE_UNIFORMS:] = numbers({BEGIN: 0.98, LENGTH: 0.5, 14: pixel})[0]  # from -0.4 + 1.15 * 0.98 = 0.73 on
        hidden = augment(frames, drawn, 32, learner.augmentation).hidden
        assert hidden is not None
        assert hidden.flatten(2).any(2)[0].tolist() == [False] * 6 + [True] * 2
        losses.append(learner(Batch(frames, drawn, torch.arange(1), step_seed=0)).terms["forecast/direct"].item())
    assert losses[0] == losses[1]
