"""Pasted occluders: what they hide, when, and that nothing else changes."""

import pytest
import torch

from worldmodel.data.augmentation.augment import PICTURE_UNIFORMS, UNIFORMS_PER_SAMPLE, AugmentConfig, augment
from worldmodel.data.augmentation.occluders import OCCLUDER_UNIFORMS, paste_occluders

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
    return (paste_occluders(given, numbers(values), 1.0, whole) != given).any(2)[0]


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
    colours = lambda pattern: paste_occluders(given, numbers({PATTERN: pattern, **corners}), 1.0, 1.0)[0, 5].flatten(1)  # noqa: E731
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
    assert torch.equal(*(paste_occluders(it, drawn, 1.0, 0.5)[:, :9] for it in (given, other)))


def test_the_given_fraction_of_windows_is_changed():
    given = frames(1).expand(2000, -1, -1, -1, -1)[:, :, :, :2, :2].contiguous()
    drawn = torch.rand(2000, OCCLUDER_UNIFORMS, generator=torch.Generator().manual_seed(2))
    changed = (paste_occluders(given, drawn, 0.3, 1.0) != given).flatten(1).any(1).float().mean().item()
    always = (paste_occluders(given, drawn, 1.0, 1.0) != given).flatten(1).any(1).float().mean().item()
    assert changed == pytest.approx(0.3 * always, abs=0.03)
    assert always > 0.6  # the others lie before the window


def test_the_augmentation_pastes_them_and_the_other_numbers_stay_in_place():
    pixels = (frames(4) * 255).byte().permute(0, 1, 3, 4, 2)
    drawn = torch.rand(4, UNIFORMS_PER_SAMPLE, generator=torch.Generator().manual_seed(3))
    off = AugmentConfig(crop_area_min=1, crop_aspect_max=1, hflip_prob=0.5)
    plain = augment(pixels, drawn, SIDE, off)
    pasted = augment(pixels, drawn, SIDE, off.model_copy(update={"occluder_prob": 1.0}))
    assert torch.equal(pasted, paste_occluders(plain, drawn[:, PICTURE_UNIFORMS:], 1.0, off.occluder_whole))
    assert not off.model_copy(update={"occluder_prob": 0.1}).repeats
