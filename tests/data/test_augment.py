"""Each part of the augmentation does what its name says, equally to all frames of a window, and nothing at strength 0."""

import math

import pytest
import torch

from worldmodel.data.augmentation.augment import UNIFORMS_PER_SAMPLE, AugmentConfig, augment
from worldmodel.models.pixels import to_float

OFF = {"crop_area_min": 1.0, "crop_aspect_max": 1.0, "hflip_prob": 0.0}


def frames(batch: int = 3, steps: int = 4, size: int = 16) -> torch.Tensor:
    return torch.randint(0, 256, (batch, steps, size, size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def as_bytes(pixels: torch.Tensor) -> torch.Tensor:
    """[B, T, 3, H, W] in [0, 1] -> uint8 [B, T, H, W, 3]."""
    return (pixels * 255).round().byte().permute(0, 1, 3, 4, 2)


def uniforms(batch: int = 3) -> torch.Tensor:
    return torch.rand(batch, UNIFORMS_PER_SAMPLE, generator=torch.Generator().manual_seed(1))


def augmented_pixels(
    given: torch.Tensor, numbers: torch.Tensor | None, size_px: int | tuple[int, int], config: AugmentConfig
) -> torch.Tensor:
    return augment(given, numbers, size_px, config).pixels


def test_strength_zero_changes_no_pixel():
    assert torch.equal(augmented_pixels(frames(), uniforms(), 16, AugmentConfig(**OFF)), to_float(frames()))


def test_without_random_numbers_only_the_size_changes():
    strong = AugmentConfig(crop_area_min=0.2, brightness=0.5, hue=0.5, blur_px=2)
    assert torch.equal(augmented_pixels(frames(), None, 16, strong), to_float(frames()))
    assert augmented_pixels(frames(size=20), None, 16, strong).shape[-2:] == (16, 16)


def test_a_window_does_not_depend_on_the_batch_it_is_in():
    config = AugmentConfig(
        crop_area_min=0.3, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, blur_px=1.0, occluder_prob=0.7
    )
    together = augmented_pixels(frames(), uniforms(), 12, config)
    alone = torch.cat([augmented_pixels(frames()[i : i + 1], uniforms()[i : i + 1], 12, config) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


def test_all_frames_of_a_window_are_augmented_equally():
    still = frames(steps=1).expand(-1, 5, -1, -1, -1)
    config = AugmentConfig(
        crop_area_min=0.3, hflip_prob=0.5, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2, blur_px=1.0
    )
    augmented = augmented_pixels(still, uniforms(), 12, config)
    torch.testing.assert_close(augmented, augmented[:, :1].expand_as(augmented))


def test_the_crop_is_the_box_of_the_random_numbers():
    """A ramp over the width shows which part remains: a quarter of the area, at the right edge."""
    ramp = as_bytes(torch.linspace(0, 1, 64).expand(1, 1, 3, 64, 64))
    numbers = torch.zeros(1, UNIFORMS_PER_SAMPLE)
    numbers[0, :4] = torch.tensor([0.0, 0.5, 1.0, 0.0])  # smallest area, square, right edge, top edge
    augmented = augmented_pixels(ramp, numbers, 32, AugmentConfig(**OFF | {"crop_area_min": 0.25}))
    assert augmented[0, 0, 0, 0, 0].item() == pytest.approx(0.5, abs=0.02)
    assert augmented[0, 0, 0, 0, -1].item() == pytest.approx(1.0, abs=0.02)


def test_the_given_fraction_of_windows_is_mirrored():
    numbers = torch.rand(4000, UNIFORMS_PER_SAMPLE, generator=torch.Generator().manual_seed(2))
    tiny = torch.tensor([0.0, 1.0]).expand(4000, 1, 3, 2, 2)
    augmented = augmented_pixels(as_bytes(tiny), numbers, 2, AugmentConfig(**OFF | {"hflip_prob": 0.3}))
    flipped = augmented[:, 0, 0, 0, 0] == 1
    assert flipped.float().mean().item() == pytest.approx(0.3, abs=0.03)
    assert torch.equal(augmented[flipped], tiny.flip(-1)[flipped])


def test_colour_worked_by_hand():
    grey = torch.full((1, 1, 3, 2, 2), 0.6)
    most = torch.ones(1, UNIFORMS_PER_SAMPLE)
    augmented = lambda picture, numbers, **part: augmented_pixels(as_bytes(picture), numbers, 2, AugmentConfig(**OFF, **part))  # noqa: E731
    assert torch.allclose(augmented(grey, most, brightness=0.2), grey * 1.2, atol=1e-6)
    assert torch.allclose(augmented(grey, most, contrast=0.5), grey, atol=1e-6)
    assert torch.allclose(augmented(grey, most, saturation=0.5), grey, atol=1e-6)
    half = torch.tensor([0.2, 0.6]).expand(1, 1, 3, 2, 2)  # mean 0.4
    assert torch.allclose(augmented(half, most, contrast=0.5), torch.tensor([0.1, 0.7]).expand_as(half), atol=1e-6)
    red = torch.tensor([0.8, 0.2, 0.2]).view(1, 1, 3, 1, 1).expand(1, 1, 3, 2, 2)
    luma = 0.2 + 0.6 * 0.299
    paler = luma + (red - luma) * 0.5
    assert torch.allclose(augmented(red, torch.zeros(1, UNIFORMS_PER_SAMPLE), saturation=0.5), paler, atol=1e-6)
    third = torch.full((1, UNIFORMS_PER_SAMPLE), 5 / 6)  # (2 * 5/6 - 1) * 0.5: a third of a turn
    assert torch.allclose(augmented(red, third, hue=0.5)[0, 0, :, 0, 0], torch.tensor([0.2, 0.8, 0.2]), atol=1e-5)


def test_blur_keeps_the_mean_and_spreads_a_point_like_a_gaussian():
    point = torch.zeros(1, 1, 3, 33, 33)
    point[..., 16, 16] = 1
    most = torch.ones(1, UNIFORMS_PER_SAMPLE)
    augmented = augmented_pixels(as_bytes(point), most, 33, AugmentConfig(**OFF, blur_px=2.0))[0, 0, 0]
    assert augmented.sum().item() == pytest.approx(1.0, abs=1e-4)
    assert (augmented[16, 18] / augmented[16, 16]).item() == pytest.approx(math.exp(-0.5), abs=1e-3)
